"""Search: all scales that a small format holds, or many of them, tried one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.guard import guarded
from statqat_sim.quantizer.objective import Objective
from statqat_sim.quantizer.options import check_count, check_flag
from statqat_sim.quantizer.representable import Scales, scales_of
from statqat_sim.quantizer.scan import best_first, scan_range
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

CANDIDATES = 2000

FEW = 256
"""Scale formats of up to this many values above zero are searched whole."""


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Search(Chooser):
    """The best of all scales that a small scale format holds, or of many in range; never worse than MinMax.

    The range is from the scale at which the format's largest value is a twentieth of the data's RMS to 2.2 times
    MinMax's scale, and farther in tapered formats. Stochastic rounding is modelled as in `Iterative`.

    Args:
        weights: weights of the errors: an array that broadcasts against x, such as E[a²] of each input channel.
        norm: the norm of the errors.
        scale_format: a number format, or its name, that holds the scale: all its values above zero are tried if there
            are at most 256, else those in range. None: `candidates` float32 numbers are tried.
        candidates: the number of scales to try without `scale_format`, in range at equal ratios.
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
        tried = self._tried(task)
        if not task.levels.saturates:
            tried = tried[tried >= task.minmax]
        with np.errstate(over="ignore", invalid="ignore"):  # at scales far too large
            best = best_first(task, tried)
        return guarded(task, best)

    def _tried(self, task: Task) -> Floats:
        """The scales to try."""
        listed = task.scales.listed
        if listed is not None and len(listed) <= FEW:
            return listed
        low, high = scan_range(task.score, task.minmax)
        listed = task.scales.between(low, high)
        if listed is not None:
            return listed
        return np.geomspace(low, high, self.candidates) if 0 < low < high < np.inf else np.zeros(0)
