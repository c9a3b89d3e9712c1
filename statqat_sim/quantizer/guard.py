"""The promise of every quantizer but the named baselines: no scale that it returns has a larger error than MinMax's."""

from __future__ import annotations

import numpy as np

from statqat_sim.quantizer.levels import Floats
from statqat_sim.quantizer.task import Task

ROUNDINGS = 2.0**-22
"""Of float32, relative to an element: of the quotient, of the product, and twice as much to be sure."""

MOST_TRIED = 3

SMALLEST_SAFE, LARGEST_SAFE = 2.0**-60, 2.0**60
"""Root mean squares, and largest magnitudes: between these nothing comes near the ends of float32."""


def guarded(task: Task, candidates: Floats) -> float:
    """The first of a few candidates that is proven, or else measured, to be no worse than MinMax; or MinMax's scale.

    Data are measured only where the bounds of the error leave it open. From a histogram alone its estimate decides.
    """
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
    """Whether the squared error at each candidate lies below that of MinMax, whatever float32 rounds.

    Where a threshold is no midpoint nothing is: the error jumps there, and a rounded quotient may lie beyond.
    """
    score = task.score if task.score.is_exact else task.coarse
    rms = np.sqrt(score.power / max(score.count, 1e-300))
    is_known = task.levels.is_measured and task.levels.is_nearest
    if not (task.objective.is_squared and is_known and SMALLEST_SAFE < rms < LARGEST_SAFE):
        return [False] * len(candidates)
    low, high = score.bounds(np.append(candidates, task.minmax))
    gain = low[-1] - high[:-1]
    roots = np.sqrt(np.maximum(high + 1.05 * score.power, 0))
    slack = 2 * ROUNDINGS * np.sqrt(score.power) * (roots[:-1] + roots[-1]) + 1e-12 * score.power
    return [bool(each) for each in gain > slack]
