"""The scales to choose from: all of float32, or the values of a number format."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.errors import of_type
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.number import NumberFormat

LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)

LARGEST_BITS = int(np.float32(LARGEST).view(np.uint32))

NEIGHBOURS = 0, -1, 1, -2, 2
"""Neighbours of a float32, nearest first, as offsets of its bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """A set of float32 numbers above zero.

    Args:
        listed: its members, ascending, float64; None: every positive float32.
    """

    listed: Floats | None = None

    def near(self, scales: Floats) -> Floats:
        """For each scale the nearest float32, or its two neighbours in the list; without duplicates, in this order."""
        if self.listed is None:
            found = nearest_float32(scales).astype(np.float64)
        else:
            above = np.searchsorted(self.listed, scales)
            places = np.stack((above - 1, above), axis=-1).reshape(-1)
            found = self.listed[np.clip(places, 0, len(self.listed) - 1)]
        return np.array(list(dict.fromkeys(found.tolist())))

    def around(self, scale: float) -> Floats:
        """The nearest float32 and two more on either side, nearest first; or the two neighbours in the list."""
        if self.listed is not None:
            return self.near(np.array([scale]))
        return np.asarray(float32_around(np.array([scale]))[0], np.float64)

    def at_least(self, scales: NDArray[np.float32]) -> NDArray[np.float32]:
        """The smallest member at or above each scale; the largest member if there is none."""
        if self.listed is None:
            return scales
        places = np.minimum(np.searchsorted(self.listed, scales), len(self.listed) - 1)
        return self.listed[places].astype(np.float32)

    def between(self, low: float, high: float) -> Floats | None:
        """The members in a range and the next one on either side; None if every float32 is a member."""
        if self.listed is None:
            return None
        first, last = np.searchsorted(self.listed, (low, high))
        return self.listed[max(first - 1, 0) : last + 1]


FLOAT32_SCALES = Scales()


def nearest_float32(scales: Floats) -> NDArray[np.float32]:
    """The nearest positive finite float32 to each scale."""
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(scales.astype(np.float32), np.float32(SMALLEST), np.float32(LARGEST))


def float32_around(scales: Floats) -> NDArray[np.float32]:
    """The nearest positive finite float32 to each scale and two on either side, nearest first; shape (scales, 5)."""
    bits = nearest_float32(scales).view(np.uint32).astype(np.int64)[:, None] + np.array(NEIGHBOURS)
    return np.asarray(np.clip(bits, 1, LARGEST_BITS).astype(np.uint32).view(np.float32))


def scales_of(format: NumberFormat | str | None) -> Scales:
    """The scales that a format holds; None: all of float32.

    Raises:
        LookupError: if no format has this name.
        TypeError: if it is not a number format.
        ValueError: if none of its values is above zero.
        UnsupportedError: for formats of more than 16 bits.
    """
    if format is None:
        return FLOAT32_SCALES
    found = load_format(format) if isinstance(format, str) else format
    if not isinstance(found, NumberFormat):
        raise TypeError(f"scale_format is {of_type(found)}; allowed: a NumberFormat, or the name of one")
    return _listed(found)


@lru_cache(maxsize=64)
def _listed(format: NumberFormat) -> Scales:
    with np.errstate(over="ignore", under="ignore"):
        values = format.grid().astype(np.float32).astype(np.float64)
    values = np.unique(values[(values > 0) & np.isfinite(values)])
    if not values.size:
        raise ValueError(f"scale_format {format.name} has no values above zero; allowed: formats that have some")
    return Scales(values)
