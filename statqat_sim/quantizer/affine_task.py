"""One choice of a scale and a zero-point: the zero-point is always the best one for the scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from statqat_sim.histogram import Sample, Tail
from statqat_sim.quantizer.affine_minmax import middle
from statqat_sim.quantizer.affine_score import AffinePowerScore, AffineScore, ZeroPoints, affine_levels
from statqat_sim.quantizer.levels import Levels
from statqat_sim.quantizer.measured import Measured, measured
from statqat_sim.quantizer.score import PowerScore, Score
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import integers, with_any_zero_point, with_zero_point


@dataclass(frozen=True)
class AffineTask(Task):
    """The task of choosing one scale and one zero-point.

    Args:
        zero_point: MinMax's zero-point.
    """

    zero_point: int = 0

    kinds: ClassVar[tuple[type[Score], type[PowerScore]]] = (AffineScore, AffinePowerScore)

    @cached_property
    def levels(self) -> Levels:
        """All steps that the format can have on either side of zero with any zero-point."""
        return affine_levels(self.format)

    @cached_property
    def parts(self) -> tuple[Tail, ...]:
        """The magnitudes of the finite data at and above zero, and below; without weights."""
        if self.values is None or self.is_large:
            return self.histogram.sides()
        wide = self.values.astype(np.float64)
        return Sample.of(wide[wide >= 0]), Sample.of(-wide[wide < 0])

    @property
    def centred(self) -> NumberFormat:
        """The format with zero in the middle of its range."""
        return with_zero_point(self.format, sum(integers(self.format).range) // 2)

    def zero_point_of(self, scale: float) -> int:
        """The zero-point of least error: the middle one of several; MinMax's at MinMax's scale."""
        if scale == self.minmax:
            return self.zero_point
        low, _ = integers(self.format).range
        first, last = cast(ZeroPoints, self.score).serving(np.array([scale]))
        return int(middle(low + first, low + last)[0])

    def _measured(self, values: NDArray[np.float32], scale: float) -> Measured:
        """The sums of data at a scale with its best zero-point."""
        point, wide = self.zero_point_of(scale), with_any_zero_point(self.format)
        low, high = (end - point for end in integers(self.format).range)
        return measured(values, wide, scale, self.objective, self.weights, (low, high))
