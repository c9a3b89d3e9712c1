"""MinMax: the smallest scale at which no finite value overflows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array, real_array
from statqat_sim.histogram import Histogram, extremes
from statqat_sim.quantizer.base import Scale, reduced_axes, scaled_format
from statqat_sim.quantizer.described import Described
from statqat_sim.quantizer.representable import Scales, scales_of
from statqat_sim.spec.encode import NegativeInput
from statqat_sim.spec.number import NumberFormat

LARGEST = np.float32(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, repr=False)
class MinMax(Described):
    """The smallest float32 scale that puts every finite value inside the range of the format's grid.

    That is max(max x / c_max, min x / c_min), rounded up to float32, so that scale · c_max >= max x and
    scale · c_min <= min x hold exactly; c_max and c_min are `format.max` and `format.min`. A side that the format lacks
    is ignored: values below zero where `format.min >= 0`, unless `negative_input: abs` reflects them. Where float32 has
    no scale large enough (max x / c_max above 3.4e38), it is float32's largest and the extremes are clipped.

    With `scale_format` it is the smallest scale of this number format that is as large.

    >>> import numpy as np, statqat_sim as sqs
    >>> MinMax().fit(np.array([[-3.5, 1.0], [0.5, 0.25]]), sqs.load_format("int4_narrow"), channel_axis=0).value
    array([[0.5       ],
           [0.07142857]], dtype=float32)
    """

    scale_format: NumberFormat | str | None = None

    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """See `Quantizer.fit`."""
        x, format = real_array(x, "x"), scaled_format(format)
        return Scale(minmax_scales(x, format, reduced_axes(x.ndim, channel_axis), scales_of(self.scale_format)))

    def choose(self, histogram: Histogram, format: NumberFormat) -> Scale:
        """See `StateQuantizer.choose`."""
        needed = least_scales(histogram.low, histogram.high, scaled_format(format))
        return Scale(scales_of(self.scale_format).at_least(needed))


def minmax_scales(x: Array, format: NumberFormat, axes: tuple[int, ...], scales: Scales) -> NDArray[np.float32]:
    """The least of these scales at which nothing overflows, with `axes` kept at size 1."""
    low, high = extremes(x, axes)
    return scales.at_least(least_scales(np.expand_dims(low, axes), np.expand_dims(high, axes), format))


def least_scales(low: NDArray[np.float64], high: NDArray[np.float64], format: NumberFormat) -> NDArray[np.float32]:
    """The smallest float32 scales for data between these extremes; 1 for nothing but zeros."""
    if format.min >= 0 and format.encode.negative_input is NegativeInput.ABS:
        high = np.maximum(high, -low)
    needed = np.zeros(high.shape, np.float32)
    if format.max > 0:
        needed = np.maximum(needed, _smallest_scale(high, format.max))
    if format.min < 0:
        needed = np.maximum(needed, _smallest_scale(-low, -format.min))
    return np.where(needed > 0, needed, np.float32(1))


def _smallest_scale(extreme: NDArray[np.float64], limit: float) -> NDArray[np.float32]:
    """The smallest float32 s with s · limit >= extreme exactly; 0 for extreme 0, at most float32's largest.

    Every float32 is a float64, so that none lies between the quotient and its rounding to float64: rounding that to
    the nearest float32 gives s, or the float32 below it, whose product with the limit is then too small.
    """
    with np.errstate(over="ignore", under="ignore"):
        scale = np.minimum((extreme / limit).astype(np.float32), LARGEST)
        above = np.minimum(np.nextafter(scale, np.float32(np.inf)), LARGEST)
        return np.where(_product_is_below(scale, limit, extreme), above, scale)


def _product_is_below(scale: NDArray[np.float32], limit: float, extreme: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether scale · limit < extreme, exactly where they are close.

    `limit` is the sum of 26 and of 27 bits: both products with 24 bits are exact, and so is the difference of
    numbers within a factor of two (Sterbenz).
    """
    mantissa, exponent = math.frexp(limit)
    upper = math.ldexp(math.floor(mantissa * (1 << 26)), exponent - 26)
    wide = scale.astype(np.float64)
    return np.asarray(extreme - wide * upper > wide * (limit - upper))
