"""Percentile: the scale that clips a fixed share of the data."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from statqat_sim.histogram import Tail
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.guard import guarded
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.options import check_between, check_flag
from statqat_sim.quantizer.representable import Scales, scales_of
from statqat_sim.quantizer.scan import best_first
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

HALVINGS = 60
"""Steps of bisection: more than float64 has significant bits."""


@dataclass(frozen=True, slots=True, repr=False)
class Percentile(Chooser):
    """The scale that maps this percentile of the magnitudes to the format's largest value; never worse than MinMax.

    With zero-points the range's length is such that each side of zero clips half of the remaining elements.

    Args:
        percentile: the percentile, above 0 and below 100.
        scale_format: a number format, or its name, that holds the scale; None: float32.
        zero_point: whether to choose zero-points, too: see `Iterative`.

    Raises:
        LookupError: for an unknown scale format.
        TypeError: if an option has the wrong type.
        ValueError: if an option has an invalid value.
    """

    percentile: float = 99.9
    _: KW_ONLY
    scale_format: NumberFormat | str | None = None
    zero_point: bool = False

    def __post_init__(self) -> None:
        check_between("percentile", self.percentile, 0, 100, "above 0 and below 100")
        check_flag("zero_point", self.zero_point)
        scales_of(self.scale_format)

    def _options(self) -> tuple[Objective, Scales]:
        return SQUARED, scales_of(self.scale_format)

    def _choice(self, task: Task) -> float:
        parts = task.parts
        rest = (1 - self.percentile / 100) * sum(part.count for part in parts) / len(parts)
        length = sum(_quantile(part, rest) for part in parts)
        return guarded(task, best_first(task, np.array([length / task.levels.largest])))


def _quantile(magnitudes: Tail, rest: float) -> float:
    """The least magnitude that at most `rest` elements exceed, by bisection."""
    low, high = 0.0, magnitudes.largest
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if magnitudes.beyond(np.array([middle]))[0][0] > rest:
            low = middle
        else:
            high = middle
    return high
