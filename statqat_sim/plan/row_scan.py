"""The best scale of each row of an array, by a scan of the row's log-histogram, which stays in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PER_OCTAVE: Final = 8
"""Scales of the first grid per octave."""

FINER: Final = (3, 3)
"""How many times finer each later grid is, to both sides of the best scale."""

LEAST_RATIO: Final = 0.25
"""Ratio of the largest representable value at the smallest scale to the row's root mean square."""

BEYOND_MINMAX: Final = 2.2
"""The largest scale, over MinMax's: floating point repeats itself with each octave."""


@dataclass(frozen=True, slots=True)
class RowScanPlan:
    """The steps of a format that rounds to nearest and saturates.

    Args:
        zeros: for each side of zero what inputs next to zero become. One side: signs do not matter. Two: inputs at and
            above zero, and the magnitudes of those below.
        thresholds: for each side little-endian float64, ascending: where inputs become the next value outward.
        gaps: for each side as many float64: how far that value lies from the one before.
        largest: of all magnitudes of values.
        reach: the largest scale, over MinMax's, that may be the best.
    """

    zeros: tuple[float, ...]
    thresholds: tuple[bytes, ...]
    gaps: tuple[bytes, ...]
    largest: float
    reach: float = BEYOND_MINMAX

    def __post_init__(self) -> None:
        if not len(self.zeros) == len(self.thresholds) == len(self.gaps) or len(self.zeros) not in (1, 2):
            raise ValueError("a format has one side of zero or two, each with thresholds and gaps")
        if [len(each) for each in self.thresholds] != [len(each) for each in self.gaps]:
            raise ValueError("every threshold has a gap")
