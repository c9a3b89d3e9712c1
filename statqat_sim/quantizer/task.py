"""One choice of a scale: data or their histogram, a format, and what the scale is to be best at."""

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
"""Elements; so many are sorted, of more the histogram is enough."""


@dataclass(frozen=True)
class Task:
    """What a quantizer chooses one scale for.

    Args:
        format: the format.
        minmax: MinMax's scale, a float32 number: above zero and representable.
        given: the histogram of the data; None: it is made when it is needed.
        values: the finite data themselves, flat; None where only their histogram is there.
        objective: what the scale is to be best at.
        weights: one for each value; None: all 1.
        scales: those that a scale is chosen among.
    """

    format: NumberFormat
    minmax: float
    given: Histogram | None = None
    values: NDArray[np.float32] | None = None
    objective: Objective = SQUARED
    weights: Floats | None = None
    scales: Scales = FLOAT32_SCALES

    kinds: ClassVar[tuple[type[Score], type[PowerScore]]] = (Score, PowerScore)
    """Of scores: of squared errors, and of other norms."""

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
        """The objective at any scale: exact where the data are there and few, or weighted."""
        if self.values is None or (self.objective.is_plain and self.is_large):
            return self.coarse
        wide = self.values.astype(np.float64)
        if not self.objective.is_squared:
            return self.kinds[1].of(wide, self.weights, self.levels, self.objective)
        return self.kinds[0].of_values(wide, self.levels, self.weights)

    @property
    def is_large(self) -> bool:
        """Whether the histogram stands for the data, as nothing else is there, or they are too many to be sorted."""
        return self.values is None or self.values.size > MOST_SORTED

    @cached_property
    def magnitudes(self) -> Tail:
        """Of the finite data, without weights."""
        if self.values is None or self.is_large:
            return self.histogram.folded()
        return Sample.of(np.abs(self.values.astype(np.float64)))

    @property
    def parts(self) -> tuple[Tail, ...]:
        """What a range of values has to hold, outward from zero: all magnitudes, or those of either side."""
        return (self.magnitudes,)

    @property
    def centred(self) -> NumberFormat:
        """The format as a symmetric distribution around the middle of what it has to hold meets it."""
        return self.format

    def zero_point_of(self, scale: float) -> int | None:
        """The zero-point that goes with a scale; None where there are none."""
        return None

    def measured(self, scale: float) -> Measured:
        """What a scale makes of the data; of a histogram alone, what it is expected to make."""
        if self.values is None:
            return Measured(float(self.coarse.errors(np.array([scale]))[0]), 0.0, 0.0)
        return measured(self.values, self.format, scale, self.objective, self.weights)
