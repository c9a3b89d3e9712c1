"""Unscaled: the scale 1, so that quantization is a cast to the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import left_out, real_array
from statqat_sim.histogram import Histogram, lies_elsewhere
from statqat_sim.quantizer.base import checked_histogram, reduced_axes, scaled_format
from statqat_sim.quantizer.described import Described
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True, repr=False)
class Unscaled(Described):
    """The scale 1 for any data: a cast, like torch's `x.bfloat16()`.

    >>> import numpy as np, statqat_sim as sqs
    >>> x, fmt = np.array([1.005, 300.0], np.float32), sqs.load_format("bfloat16")
    >>> sqs.Codec(fmt).fake_quantize(x, scale=Unscaled().fit(x, fmt))
    array([  1.0078125, 300.       ], dtype=float32)
    """

    @left_out
    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """See `Quantizer.fit`."""
        scaled_format(format)
        sizes = x.shape if lies_elsewhere(x) else real_array(x, "x").shape
        axes = reduced_axes(len(sizes), channel_axis)
        return Scale(np.ones([1 if axis in axes else size for axis, size in enumerate(sizes)], np.float32))

    @left_out
    def choose(self, histogram: Histogram, format: NumberFormat) -> Scale:
        """See `StateQuantizer.choose`."""
        scaled_format(format)
        return Scale(np.ones(checked_histogram(histogram).channels, np.float32))
