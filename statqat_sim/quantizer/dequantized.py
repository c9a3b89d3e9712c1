"""The scale that data were dequantized with: one at which every element lies on a level of the format.

The error has a minimum there as narrow as the format is precise, which a scan of scales misses. But the element of
largest magnitude lies on a level, too, so one candidate scale per level is enough. Data that were never quantized
reject all candidates within a few elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from statqat_sim.plan.row_scan import BEYOND_MINMAX
from statqat_sim.quantizer.levels import Floats, Levels, Side
from statqat_sim.quantizer.representable import LARGEST, nearest_float32
from statqat_sim.quantizer.task import Task

TOLERANCE = 2.0**-6
"""The largest distance from a level, in spacings: float32 rounds two elements by 2^-24 of up to 2^16 levels each."""

ELEMENTS = 64, 1 << 12
"""The most elements to test; the second number if more than `CANDIDATES` scales pass the first."""

CANDIDATES = 4
"""The most scales to measure."""

GOLDEN = (5**0.5 - 1) / 2

SLACK = 2.0**-22
"""The relative error of a scale due to rounding."""


class Dequantized(NamedTuple):
    """A scale, and its measured error."""

    scale: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The values of one side of zero as magnitudes.

    Args:
        values: all magnitudes, ascending.
        middles: the midpoints between them.
        spacings: the distance from each to its nearest neighbour.
    """

    values: Floats
    middles: Floats
    spacings: Floats

    @classmethod
    def of(cls, side: Side) -> Grid:
        values = np.unique(side.values)
        mirrored = 2 * values[0] if values[0] > 0 else np.inf
        gaps = np.concatenate(([mirrored], np.diff(values), [np.inf]))
        return cls(values, (values[1:] + values[:-1]) / 2, np.minimum(gaps[1:], gaps[:-1]))

    def distances(self, at: Floats) -> tuple[Floats, Floats]:
        """The distance from each point to the nearest value, and the spacing there."""
        place = np.searchsorted(self.middles, at)
        return np.abs(at - self.values[place]), self.spacings[place]


@lru_cache(maxsize=64)
def grids(levels: Levels) -> tuple[Grid, Grid]:
    """The grids of inputs at and above zero, and of the magnitudes of those below."""
    return Grid.of(levels.sides[0]), Grid.of(levels.sides[-1])


def dequantized(task: Task) -> Dequantized | None:
    """The best of the scales that the data may have been dequantized with; None if there is none.

    With codes k, elements x = k·s rounded to float32, and the least-squares scale s' = Σ x·k / Σ k²,
    |s' − s| <= 2^-24·s: s is one of the float32 numbers around s'. All of these are measured, so that the error is
    never above that at s.
    """
    best, least = None, math.inf
    for start in [] if task.values is None else _passing(task, task.values).tolist():
        for scale in _around(task, start):
            error = task.measured(scale).error
            if error < least:
                best, least = Dequantized(scale, error), error
            if least == 0:
                return best
    return best


def _around(task: Task, scale: float) -> Iterator[float]:
    """The representable scales around the least-squares scale given the codes at `scale`."""
    sums = task.measured(scale)
    if sums.yy > 0 and np.isfinite(sums.xy):
        allowed = task.scales.around(scale * sums.xy / sums.yy)
        yield from (each for each in allowed.tolist() if task.levels.saturates or each >= task.minmax)


def _passing(task: Task, values: NDArray[np.float32]) -> Floats:
    """The best scales at which a sample of the data lies on levels."""
    scales, sample = _tried(task, values), np.zeros(0)
    for count in ELEMENTS:
        sample = _sample(values, count)
        for x in sample.tolist():
            distances, spacings = _distances(task.levels, x, scales)
            scales = scales[distances <= TOLERANCE * spacings]
            if not scales.size:
                return scales
        if len(scales) <= CANDIDATES:
            break
    rounded = nearest_float32(scales).astype(np.float64)
    errors = np.zeros(len(scales))
    for x in sample.tolist():
        errors += np.square(rounded * _distances(task.levels, x, rounded)[0])
    return rounded[np.argsort(errors, kind="stable")[:CANDIDATES]]


def _tried(task: Task, values: NDArray[np.float32]) -> Floats:
    """The scales at which the element of largest magnitude lies on a level, ascending.

    None is far above MinMax's scale: doubled values of integer or floating-point formats are values again.
    """
    ends = zip((float(values.max()), -float(values.min())), grids(task.levels), strict=True)
    largest, grid = max(((end, grid) for end, grid in ends if grid.values[-1] > 0), key=itemgetter(0))
    levels = grid.values[grid.values > 0][::-1]
    with np.errstate(over="ignore"):
        scales = largest / levels
    reach = LARGEST if task.levels.is_tapered else BEYOND_MINMAX * task.minmax
    return np.asarray(scales[(scales >= task.minmax * (1 - SLACK)) & (scales <= reach)])


def _sample(values: NDArray[np.float32], count: int) -> Floats:
    """Distinct elements spread over the data: multiples of the golden ratio modulo 1 are evenly distributed."""
    places = (np.arange(count) * GOLDEN % 1 * values.size).astype(np.intp)
    return np.array(list(dict.fromkeys(values[places].tolist())))


def _distances(levels: Levels, x: float, scales: Floats) -> tuple[Floats, Floats]:
    """The distance of x / scale to the nearest level for each scale, and the spacing of levels there."""
    return grids(levels)[0 if x >= 0 else 1].distances(abs(x) / scales)
