"""Which of many channels may have been dequantized: ratios of their elements must be ratios of levels.

A few contiguous elements of each row decide, at the cost of one memory access and seldom more than one table look-up.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.quantizer.dequantized import SLACK, grid
from statqat_sim.quantizer.levels import Levels

MOST_LEVELS = 1 << 8
"""The most levels of a format; with more, the table of ratios would be too large."""

WIDTH = 16
"""The number of elements of a row to test."""


def may_be_dequantized(rows: NDArray[np.float32], levels: Levels) -> NDArray[np.intp]:
    """The indices of rows whose elements may all be levels times a scale; all rows, if the format has too many levels.

    Args:
        rows: the rows.
        levels: the levels of the format.
    """
    if levels.count > MOST_LEVELS:
        return np.arange(len(rows))
    first, table = max(rows.shape[1] - WIDTH, 0) // 2, _ratios(levels)
    few = np.abs(rows[:, first : first + WIDTH])
    largest, places = few.max(axis=1).astype(np.float64), np.arange(len(rows))
    for column in few.T:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = column[places] / largest[places]
        first_above = np.searchsorted(table, ratios * (1 - SLACK))
        is_far = table.take(first_above, mode="clip") > ratios * (1 + SLACK)
        places = places[~is_far]
    return places


@lru_cache(maxsize=64)
def _ratios(levels: Levels) -> Floats:
    """All ratios, up to 1, of the magnitudes of two levels, ascending."""
    magnitudes = np.unique(np.abs(grid(levels).values))
    ratios = magnitudes / magnitudes[magnitudes > 0][:, None]
    return np.unique(ratios[ratios <= 1])
