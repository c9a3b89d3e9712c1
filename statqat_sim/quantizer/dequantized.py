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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.plan.row_scan import BEYOND_MINMAX
from statqat_sim.quantizer.data import Elements
from statqat_sim.quantizer.levels import Levels
from statqat_sim.quantizer.representable import LARGEST, nearest_float32
from statqat_sim.quantizer.task import Task

TOLERANCE = 2.0**-6
"""The largest distance from a level, in spacings: float32 rounds two elements by 2^-24 of up to 2^16 levels each."""

FEW, MANY = 64, 1 << 12
"""The most elements to test; the second number if more than `CANDIDATES` scales pass the first."""

CANDIDATES = 4
"""The most scales to measure."""

BELOW_ZERO = -5e-324
"""The first number below zero."""

GOLDEN = (5**0.5 - 1) / 2

SLACK = 2.0**-22
"""The relative error of a scale due to rounding."""


class Dequantized(NamedTuple):
    """A scale, and its measured error."""

    scale: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The values of a format on either side of zero; zero itself is on both sides if it is a value of both.

    Args:
        values: the values, ascending.
        middles: the midpoints between them; zero between the sides.
        spacings: the distance from each value to its nearest neighbour on its side.
    """

    values: Floats
    middles: Floats
    spacings: Floats

    @classmethod
    def of(cls, levels: Levels) -> Grid:
        above, below = np.unique(levels.sides[0].values), np.unique(levels.sides[-1].values)
        return cls(
            np.concatenate((-below[::-1], above)),
            np.concatenate((-_middles(below)[::-1], [BELOW_ZERO], _middles(above))),
            np.concatenate((_spacings(below)[::-1], _spacings(above))),
        )

    def distances(self, at: Floats) -> tuple[Floats, Floats]:
        """The distance from each point to the nearest value on its side, and the spacing there."""
        place = np.searchsorted(self.middles, at)
        return np.abs(at - self.values[place]), self.spacings[place]


def _middles(values: Floats) -> Floats:
    """The midpoints between magnitudes."""
    return np.asarray((values[1:] + values[:-1]) / 2)


def _spacings(values: Floats) -> Floats:
    """The distances of magnitudes to their nearest neighbours: the mirrored value is one."""
    mirrored = 2 * values[0] if values[0] > 0 else np.inf
    gaps = np.concatenate(([mirrored], np.diff(values), [np.inf]))
    return np.minimum(gaps[1:], gaps[:-1])


@lru_cache(maxsize=64)
def grid(levels: Levels) -> Grid:
    """The values of a format's levels."""
    return Grid.of(levels)


def dequantized(task: Task) -> Dequantized | None:
    """The best of the scales that the data may have been dequantized with; None if there is none.

    With codes k, elements x = k·s rounded to float32, and the least-squares scale s' = Σ x·k / Σ k²,
    |s' − s| <= 2^-24·s: s is one of the float32 numbers around s'. All of these are measured, so that the error is
    never above that at s.
    """
    if not isinstance(task.data, Elements):
        return None
    best, least = None, math.inf
    (starts,) = passing(task.data.values[None], np.array([task.minmax]), task.levels)
    for start in starts[np.isfinite(starts)].tolist():
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


def passing(rows: NDArray[np.float32], minmax: Floats, levels: Levels) -> Floats:
    """The best scales at which a sample of each row lies on levels.

    Args:
        rows: the data; NaN is ignored.
        minmax: MinMax's scale of each row.
        levels: the levels of the format.

    Returns:
        Shape (rows, CANDIDATES), the best first, padded with NaN.
    """
    found, has_more = _passing(rows, minmax, levels, FEW)
    if has_more.any():
        found[has_more], _ = _passing(rows[has_more], minmax[has_more], levels, MANY)
    return found


def _passing(rows: NDArray[np.float32], minmax: Floats, levels: Levels, count: int) -> tuple[Floats, NDArray[np.bool_]]:
    """The same for samples of at most `count` elements, and whether a row has more scales than `CANDIDATES`."""
    found = np.full((len(rows), CANDIDATES), np.nan)
    owners, scales = _tried(rows, minmax, levels)
    sample, near = _sample(rows, count), grid(levels)
    for column in sample.T:
        distances, spacings = near.distances(column[owners] / scales)
        is_on_level = ~(distances > TOLERANCE * spacings)  # no distance of NaN is larger
        owners, scales = owners[is_on_level], scales[is_on_level]
        if not owners.size:
            return found, np.zeros(len(rows), np.bool_)
    scales = nearest_float32(scales).astype(np.float64)
    distances, _ = near.distances(sample[owners] / scales[:, None])
    order = np.lexsort((scales, np.nansum(np.square(scales[:, None] * distances), axis=1), owners))
    owners, scales = owners[order], scales[order]
    places = np.arange(len(owners)) - np.searchsorted(owners, owners)
    is_best = places < CANDIDATES
    found[owners[is_best], places[is_best]] = scales[is_best]
    return found, np.bincount(owners, minlength=len(rows)) > CANDIDATES


def _tried(rows: NDArray[np.float32], minmax: Floats, levels: Levels) -> tuple[NDArray[np.intp], Floats]:
    """The scales at which a row's element of largest magnitude lies on a level, each with the index of the row.

    None is far above MinMax's scale: doubled values of integer or floating-point formats are values again.
    """
    values, zeros = grid(levels).values, np.zeros(len(rows), np.float32)
    high = np.fmax.reduce(rows, axis=1) if values[-1] > 0 else zeros
    low = np.fmin.reduce(rows, axis=1) if values[0] < 0 else zeros
    largest = np.where(high >= -low, high, low).astype(np.float64)
    with np.errstate(over="ignore"):
        scales = largest[:, None] / values[values != 0]
    least = minmax[:, None]
    reach = LARGEST if levels.is_tapered else BEYOND_MINMAX * least
    owners, places = np.nonzero((scales >= least * (1 - SLACK)) & (scales <= reach))
    return owners, scales[owners, places]


def _sample(rows: NDArray[np.float32], count: int) -> Floats:
    """Distinct elements spread over each row, ascending, padded with NaN.

    Multiples of the golden ratio modulo 1 are evenly distributed.
    """
    places = np.unique((np.arange(count) * GOLDEN % 1 * rows.shape[1]).astype(np.intp))
    sample = np.sort(rows[:, places], axis=1)
    sample[:, 1:][sample[:, 1:] == sample[:, :-1]] = np.nan
    sample.sort(axis=1)
    return sample[:, : np.isfinite(sample).sum(axis=1).max(initial=0)].astype(np.float64)
