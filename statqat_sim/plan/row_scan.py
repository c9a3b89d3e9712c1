"""The best scale of each row of an array, by a scan of the row's log-histogram, which stays in the cache.

The scales of short rows are found exactly, by a sweep of all values that their elements take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHORTEST: Final = 256
"""The least elements of a row to scan; shorter ones are swept."""

PER_OCTAVE: Final = 8
"""Scales of the first grid per octave."""

FINER: Final = (3, 3)
"""The factors by which each later grid, around the best scale, is finer than the one before."""

LEAST_RATIO: Final = 0.25
"""Ratio of the largest representable value at the smallest scale to the row's root mean square."""

BEYOND_MINMAX: Final = 2.2
"""The largest scale of the scan, relative to MinMax's: a float grid repeats itself in each octave."""

ROUNDINGS: Final = 2.0**-22
"""A bound of float32's rounding errors relative to an element: quotient and product, doubled to be safe."""


@dataclass(frozen=True, slots=True)
class RowScanPlan:
    """The step function of a format that rounds to nearest and saturates.

    Args:
        zeros: for each side of zero, the value of inputs next to zero. One side: signs do not matter. Two sides: inputs
            at and above zero, and magnitudes of inputs below zero.
        thresholds: for each side, ascending little-endian float64: inputs from here on become the next value outward.
        gaps: for each side, as many float64: the distance of that value from the one before.
        largest: the largest magnitude of all values.
        reach: the largest scale to try, relative to MinMax's.
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
