"""Which of many channels may have been dequantized: ratios of their elements are ratios of levels there.

A few neighbouring elements of each row tell, that is one look into memory and seldom more than one into a table.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from statqat_sim.quantizer.dequantized import SLACK, grids
from statqat_sim.quantizer.levels import Floats, Levels

MOST_LEVELS = 1 << 8
"""Of a format; with more, the table of ratios is too large."""

WIDTH = 16
"""Elements of a row."""


def may_be_dequantized(rows: NDArray[np.float32], levels: Levels) -> NDArray[np.intp]:
    """The places of rows whose elements may all be levels times a scale; none for formats of too many levels.

    Args:
        rows: of at least 16 elements each.
        levels: of the format.
    """
    if levels.count > MOST_LEVELS:
        return np.zeros(0, np.intp)
    first, table = (rows.shape[1] - WIDTH) // 2, _ratios(levels)
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
    """All ratios up to 1 of two magnitudes of levels, ascending."""
    magnitudes = np.unique(np.concatenate([grid.values for grid in grids(levels)]))
    ratios = magnitudes / magnitudes[magnitudes > 0][:, None]
    return np.unique(ratios[ratios <= 1])
