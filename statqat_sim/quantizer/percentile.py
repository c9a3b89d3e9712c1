"""Percentile: the scale that clips a fixed share of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statqat_sim.histogram import Tail
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.guard import guarded
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.representable import Scales, scales_of
from statqat_sim.quantizer.scan import best_first
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

HALVINGS = 60


@dataclass(frozen=True, slots=True, repr=False)
class Percentile(Chooser):
    """The largest value of the format stands for this percentile of the magnitudes; never worse than MinMax.

    Args:
        percentile: from 0 to 100, both excluded.
        scale_format: a number format, or its name, that holds the scale; None: float32.

    Raises:
        ValueError: if the percentile is none.
    """

    percentile: float = 99.9
    scale_format: NumberFormat | str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"percentile is {self.percentile}; allowed: above 0 and below 100")

    def _options(self) -> tuple[Objective, Scales]:
        return SQUARED, scales_of(self.scale_format)

    def _choice(self, task: Task) -> float:
        end = _quantile(task.magnitudes, self.percentile / 100)
        return guarded(task, best_first(task, np.array([end / task.levels.largest])))


def _quantile(magnitudes: Tail, share: float) -> float:
    """The least magnitude that no more than the rest of the elements exceed."""
    low, high, rest = 0.0, magnitudes.largest, (1 - share) * magnitudes.count
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if magnitudes.beyond(np.array([middle]))[0][0] > rest:
            low = middle
        else:
            high = middle
    return high
