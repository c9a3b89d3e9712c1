"""The task of choosing one scale: data, a format, and an objective; and the error at each scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from statqat_sim.histogram import Histogram, Tail
from statqat_sim.quantizer.affine_minmax import middle
from statqat_sim.quantizer.affine_score import AffinePowerScore, AffineScore
from statqat_sim.quantizer.data import Data, tails
from statqat_sim.quantizer.levels import Levels, affine_levels, levels
from statqat_sim.quantizer.measured import Measured, measured
from statqat_sim.quantizer.objective import Objective
from statqat_sim.quantizer.power_score import PowerScore
from statqat_sim.quantizer.representable import Scales
from statqat_sim.quantizer.score import Score
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import integers


@dataclass(frozen=True, eq=False)
class Task:
    """The task of choosing one scale, and one zero-point if there are any: always the best one for the scale.

    Args:
        data: the finite data, not all zero.
        format: the format.
        minmax: MinMax's scale, a member of `scales`.
        zero_point: MinMax's zero-point; None: zero-points are not chosen.
        objective: the error to minimize; of a histogram the squared error is minimized.
        scales: the scales to choose from.
    """

    data: Data
    format: NumberFormat
    minmax: float
    zero_point: int | None
    objective: Objective
    scales: Scales

    @cached_property
    def levels(self) -> Levels:
        """The steps of the format; with zero-points all that it can have on either side of zero."""
        return levels(self.format) if self.zero_point is None else affine_levels(self.format)

    @cached_property
    def score(self) -> Score:
        """The objective at any scale; estimated if a histogram represents the data, else exact."""
        data, steps = self.data, self.levels
        if self.objective.is_squared or isinstance(data, Histogram):
            squared = Score if self.zero_point is None else AffineScore
            return squared(tails(data, steps.is_folded), steps)
        power = PowerScore if self.zero_point is None else AffinePowerScore
        return power(data.samples(steps.is_folded), steps, data, self.objective)

    @cached_property
    def magnitudes(self) -> Tail:
        """The magnitudes of the data."""
        return self.data.folded()

    @cached_property
    def parts(self) -> tuple[Tail, ...]:
        """The data that a format's range must cover: all magnitudes; with zero-points those of either side of zero."""
        return (self.magnitudes,) if self.zero_point is None else self.data.sides()

    def zero_point_of(self, scale: float) -> int | None:
        """The zero-point of least error: the middle one of several; MinMax's at MinMax's scale; None without any."""
        if self.zero_point is None or scale == self.minmax:
            return self.zero_point
        assert isinstance(self.score, AffineScore | AffinePowerScore)
        low, _ = integers(self.format).range
        fewest, most = self.score.steps_below(np.array([scale]))
        return int(middle(low + fewest, low + most)[0])

    def measured(self, scale: float) -> Measured:
        """The measured sums at a scale; of a histogram only the error, estimated."""
        if isinstance(self.data, Histogram):
            return Measured(float(self.score.errors(np.array([scale]))[0]), 0.0, 0.0)
        return measured(self.data, self.format, scale, self.zero_point_of(scale), self.objective)
