"""Search: all representable scales, or a fine grid of them, tried one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.guard import guarded
from statqat_sim.quantizer.objective import Objective
from statqat_sim.quantizer.options import check_count, check_flag
from statqat_sim.quantizer.representable import Scales, scales_of
from statqat_sim.quantizer.scan import best_first, scan_range
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

CANDIDATES = 2000


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Search(Chooser):
    """The best of all scales that a format holds, or of a logarithmic grid; never worse than MinMax.

    Args:
        weights: weights of the errors: an array that broadcasts against x, such as E[a²] of each input channel.
        norm: the norm of the errors.
        scale_format: a number format, or its name, that holds the scale: all its values in range are tried. None:
            `candidates` float32 numbers are tried.
        candidates: the number of scales to try without `scale_format`.
        zero_point: whether to choose zero-points, too: all are tried with each scale.

    Raises:
        LookupError: for an unknown scale format.
        TypeError: if an option has the wrong type.
        ValueError: if an option has an invalid value.
    """

    weights: Any = None
    norm: float = 2.0
    scale_format: NumberFormat | str | None = None
    candidates: int = CANDIDATES
    zero_point: bool = False

    def __post_init__(self) -> None:
        self._options()
        check_count("candidates", self.candidates)
        check_flag("zero_point", self.zero_point)

    def _options(self) -> tuple[Objective, Scales]:
        return Objective(self.weights, self.norm), scales_of(self.scale_format)

    def _choice(self, task: Task) -> float:
        low, high = scan_range(task.score, task.minmax)
        listed = task.scales.between(low, high)
        if listed is None:
            listed = np.geomspace(low, high, self.candidates) if 0 < low < high < np.inf else np.zeros(0)
        elif not task.levels.saturates:
            listed = listed[listed >= task.minmax]
        return guarded(task, best_first(task, listed))
