"""The error of data in a format at any scale, for norms other than 2: every element is looked up at every scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.quantizer.data import Elements
from statqat_sim.quantizer.objective import Objective
from statqat_sim.quantizer.score import Score


@dataclass(frozen=True, slots=True, eq=False)
class PowerScore(Score):
    """Σ w·|x − Q(x)|^norm as a function of the scale. Slopes and bounds are those of the squared error.

    Args:
        elements: the data, unsorted.
        objective: the norm.
    """

    elements: Elements
    objective: Objective

    def errors(self, scales: Floats) -> Floats:
        """The objective at each scale."""
        return np.array([self.error(scale) for scale in scales.tolist()])

    def error(self, scale: float) -> float:
        """The objective at one scale."""
        wide, weights = self.elements.wide, self.elements.weights
        errors = np.empty_like(wide)
        for side, part in zip(self.levels.sides, self._parts(), strict=True):
            magnitudes = np.abs(wide[part])
            errors[part] = magnitudes - scale * side.values[np.searchsorted(side.thresholds, magnitudes / scale)]
        return float(np.sum((1.0 if weights is None else weights) * self.objective.power(errors)))

    def _parts(self) -> list[NDArray[np.bool_] | slice]:
        """Masks, or slices, of the elements on each side."""
        wide = self.elements.wide
        return [slice(None)] if self.levels.is_folded else [wide >= 0, wide < 0]
