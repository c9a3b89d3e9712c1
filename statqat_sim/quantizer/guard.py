"""The guarantee of every quantizer but the baselines: no returned scale has a larger error than MinMax's."""

from __future__ import annotations

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.histogram import Histogram
from statqat_sim.plan.row_scan import ROUNDINGS
from statqat_sim.quantizer.task import Task

MOST_TRIED = 3
"""The most candidates to compare with MinMax."""

SMALLEST_SAFE, LARGEST_SAFE = 2.0**-60, 2.0**60
"""The range of the RMS, or largest magnitude, in which float32 neither overflows nor underflows."""


def guarded(task: Task, candidates: Floats) -> float:
    """The first of a few candidates that is proven or measured to be better than MinMax; else MinMax's scale.

    Data are measured only if bounds of the error do not decide. Without data, the histogram's estimate decides. It
    counts inputs that overflow as clipped: formats that do not saturate get no smaller scale than MinMax's then.
    """
    if isinstance(task.data, Histogram) and not task.levels.saturates:
        candidates = candidates[candidates >= task.minmax]
    candidates = candidates[:MOST_TRIED]
    if task.minmax in candidates[:1]:
        return task.minmax
    proven = is_proven(task, candidates) if len(candidates) else []
    limit = None
    for scale, is_better in zip(candidates.tolist(), proven, strict=True):
        if is_better:
            return float(scale)
        if limit is None:
            limit = task.measured(task.minmax).error
        error = task.measured(scale).error
        if error < limit or not (np.isfinite(limit) or np.isnan(error)):
            return float(scale)
    return task.minmax


def is_proven(task: Task, candidates: Floats) -> list[bool]:
    """Whether the squared error at each candidate is proven below MinMax's, rounding in float32 included.

    False for formats with a threshold that is not a midpoint: the error jumps there, and a quotient may be rounded
    across it; and where inputs may overflow, which bounds count as clipped, in formats that do not saturate.
    """
    score = task.score
    rms = np.sqrt(score.power / max(score.count, 1e-300))
    is_known = task.levels.is_measured and task.levels.is_nearest
    if not (task.objective.is_squared and is_known and SMALLEST_SAFE < rms < LARGEST_SAFE):
        return [False] * len(candidates)
    low, high = score.bounds(np.append(candidates, task.minmax))
    gain = low[-1] - high[:-1]
    roots = np.sqrt(np.maximum(high + 1.05 * score.power, 0))
    slack = 2 * ROUNDINGS * np.sqrt(score.power) * (roots[:-1] + roots[-1]) + 1e-12 * score.power
    is_clipped = task.levels.saturates | (candidates >= task.minmax)
    return [bool(each) for each in (gain > slack) & is_clipped]
