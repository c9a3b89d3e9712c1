"""The task of choosing one scale: data or their histogram, a format, and an objective."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from statqat_sim.histogram import Histogram, Sample, Tail
from statqat_sim.quantizer.levels import Floats, Levels, levels
from statqat_sim.quantizer.measured import Measured, measured
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.representable import FLOAT32_SCALES, Scales
from statqat_sim.quantizer.score import PowerScore, Score
from statqat_sim.spec.number import NumberFormat

MOST_SORTED = 1 << 20
"""The most elements to sort; of more data the histogram is used."""


@dataclass(frozen=True)
class Task:
    """The task of choosing one scale.

    Args:
        format: the format.
        minmax: MinMax's scale, a member of `scales`.
        given: the histogram of the data; None: it is computed from `values` when needed.
        values: the finite data, 1-D; None if only their histogram is known.
        objective: the error to minimize.
        weights: one weight for each value; None: all 1.
        scales: the scales to choose from.
    """

    format: NumberFormat
    minmax: float
    given: Histogram | None = None
    values: NDArray[np.float32] | None = None
    objective: Objective = SQUARED
    weights: Floats | None = None
    scales: Scales = FLOAT32_SCALES

    kinds: ClassVar[tuple[type[Score], type[PowerScore]]] = (Score, PowerScore)
    """The classes of scores: for squared errors, and for other norms."""

    @cached_property
    def levels(self) -> Levels:
        return levels(self.format)

    @cached_property
    def histogram(self) -> Histogram:
        return Histogram.of(self.values) if self.given is None else self.given

    @cached_property
    def coarse(self) -> Score:
        """The plain squared error, from the histogram."""
        return self.kinds[0].of_histogram(self.histogram, self.levels)

    @cached_property
    def score(self) -> Score:
        """The objective at any scale: exact if the data are known and few, weighted, or the norm is not 2."""
        if self.values is None or (self.objective.is_plain and self.is_large):
            return self.coarse
        wide = self.values.astype(np.float64)
        if not self.objective.is_squared:
            return self.kinds[1].of(wide, self.weights, self.levels, self.objective)
        return self.kinds[0].of_values(wide, self.levels, self.weights)

    @property
    def is_large(self) -> bool:
        """Whether the histogram represents the data: they are unknown, or too many to sort."""
        return self.values is None or self.values.size > MOST_SORTED

    @cached_property
    def magnitudes(self) -> Tail:
        """The magnitudes of the finite data, without weights."""
        if self.values is None or self.is_large:
            return self.histogram.folded()
        return Sample.of(np.abs(self.values.astype(np.float64)))

    @property
    def parts(self) -> tuple[Tail, ...]:
        """The data that a format's range must cover: all magnitudes, or those of either side of zero."""
        return (self.magnitudes,)

    @property
    def centred(self) -> NumberFormat:
        """The format with its range centred, as a symmetric prior sees it."""
        return self.format

    def measured(self, scale: float) -> Measured:
        """The measured sums at a scale; without data, only the error, estimated from the histogram."""
        if self.values is None:
            return Measured(float(self.coarse.errors(np.array([scale]))[0]), 0.0, 0.0)
        return self._measured(self.values, scale)

    def _measured(self, values: NDArray[np.float32], scale: float) -> Measured:
        """The sums of data at a scale."""
        return measured(values, self.format, scale, self.objective, self.weights)
