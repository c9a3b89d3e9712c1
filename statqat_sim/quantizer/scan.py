"""The search for the best scale: a logarithmic grid, and finer ones around its best points."""

from __future__ import annotations

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.plan.row_scan import BEYOND_MINMAX
from statqat_sim.quantizer.representable import LARGEST, SMALLEST
from statqat_sim.quantizer.score import Score
from statqat_sim.quantizer.task import Task

PER_OCTAVE, PER_OCTAVE_OF_MANY = 16, 6
MANY = 4096
"""Formats with more steps than this are scanned at fewer scales."""

VALLEYS = 3
"""The most local minima to refine."""

FINER = 8
"""The ratio of the resolutions of a grid and the one before."""

ROUNDS, ROUNDS_OF_MANY = 3, 2

PER_OCTAVE_OF_SAMPLE, MOST_LOOKED_UP = 1024, 1 << 21
"""Samples have a finer grid, since their error is rugged: one scale fits a few elements better than its neighbours."""

NEAR_BEST = 2.0
"""The finer grid of a sample covers errors up to this multiple of the least."""

LEAST_RATIO = 0.05
"""The least ratio of scale · largest value to the data's RMS: below it, nine tenths of the power are error."""

FARTHEST = 2.0**12
"""Bound on the ratio of data to 1 for tapered formats."""


def scan(score: Score, minmax: float) -> Floats:
    """The scales of the local minima, best first; empty if all scales are equally good.

    Args:
        score: the score of the data in the format.
        minmax: the smallest scale without overflow.
    """
    low, high = scan_range(score, minmax)
    if not 0 < low < high:
        return np.zeros(0)
    per_octave = PER_OCTAVE_OF_MANY if score.levels.count > MANY else PER_OCTAVE
    grid = np.geomspace(low, high, 2 + int((np.log2(high) - np.log2(low)) * per_octave))
    errors = score.errors(grid)
    if score.is_exact:
        grid = _dense(grid, errors, score.levels.count)
        errors = score.errors(grid)
    valleys, rounds = (VALLEYS, ROUNDS) if score.levels.count <= MANY else (1, ROUNDS_OF_MANY)
    best = [_refined(score, grid, place, rounds) for place in _valleys(errors)[:valleys]]
    return np.array([scale for _, scale in sorted(best)])


def best_first(task: Task, scales: Floats) -> Floats:
    """The representable scales nearest to these, best first."""
    near = task.scales.near(scales)
    if len(near) > 1:
        near = near[np.argsort(task.score.errors(near), kind="stable")]
    return near


def scan_range(score: Score, minmax: float) -> tuple[float, float]:
    """Bracket [low, high] of the best scale."""
    levels = score.levels
    high = minmax * BEYOND_MINMAX
    rms = float(np.sqrt(score.reachable_power / max(score.count, 1)))
    if levels.is_tapered:
        high = max(high, min(score.largest / levels.first, score.largest * FARTHEST))
    low = rms * LEAST_RATIO / levels.largest
    low = max(low, rms / FARTHEST) if levels.is_tapered else min(low, minmax)
    return max(low, SMALLEST if levels.saturates else minmax), min(high, LARGEST)


def _dense(grid: Floats, errors: Floats, steps: int) -> Floats:
    """A finer grid around scales with errors near the least, as fine as the number of steps allows."""
    near = errors <= errors.min() * NEAR_BEST
    near[1:] |= near[:-1]
    near[:-1] |= near[1:]
    count = int(near.sum())
    ratio = np.log2(grid[1] / grid[0])
    finer = int(min(PER_OCTAVE_OF_SAMPLE * ratio, MOST_LOOKED_UP / (count * max(steps, 1))))
    if finer < 2:
        return grid
    offsets = np.exp2(np.arange(finer) / finer * ratio)
    return np.asarray((grid[near, None] * offsets).reshape(-1))


def _valleys(errors: Floats) -> list[int]:
    """The indices of the local minima, lowest first."""
    padded = np.concatenate(([np.inf], errors, [np.inf]))
    places = np.flatnonzero((errors <= padded[:-2]) & (errors <= padded[2:]))
    return sorted(places.tolist(), key=errors.__getitem__)


def _refined(score: Score, grid: Floats, place: int, rounds: int) -> tuple[float, float]:
    """The least error around a grid point, and its scale."""
    low, high = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    error, scale = np.inf, grid[place]
    for _ in range(rounds):
        finer = np.geomspace(low, high, 2 * FINER + 1)
        errors = score.errors(finer)
        best = int(np.argmin(errors))
        error, scale = errors[best], finer[best]
        low, high = finer[max(best - 1, 0)], finer[min(best + 1, len(finer) - 1)]
    return float(error), float(scale)
