"""The base of quantizers that choose the scale of one task at a time: both methods of the protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from statqat_sim.arrays import left_out
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer.channels import Channels, choose_channels
from statqat_sim.quantizer.described import Described
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.representable import FLOAT32_SCALES, Scales
from statqat_sim.quantizer.task import Task
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat


class Chooser(Described, ABC):
    """A quantizer that fits each channel independently."""

    zero_point: bool = False
    """Whether zero-points are chosen, too; some quantizers have it as an option."""

    @left_out
    @np.errstate(under="ignore")
    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """See `Quantizer.fit`."""
        objective, scales = self._options()
        channels = Channels.of(x, format, channel_axis, objective, scales, self.zero_point)
        return channels.choose(self._choice, format, objective, scales)

    @left_out
    @np.errstate(under="ignore")
    def choose(self, histogram: Histogram, format: NumberFormat) -> Scale:
        """See `StateQuantizer.choose`. Weights and norm are ignored: histograms do not support them."""
        return choose_channels(self._choice, histogram, format, self._options()[1], self.zero_point)

    @abstractmethod
    def _choice(self, task: Task) -> float:
        """The scale of one task, one of `task.scales`."""

    def _options(self) -> tuple[Objective, Scales]:
        """The objective, and the scales to choose from."""
        return SQUARED, FLOAT32_SCALES
