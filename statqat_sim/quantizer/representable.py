"""The scales that a scale is chosen among: all of float32, or those of a format of fewer bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.number import NumberFormat, checked_format

Floats: TypeAlias = NDArray[np.float64]
LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)

LARGEST_BITS = int(np.float32(LARGEST).view(np.uint32))

NEIGHBOURS = 0, -1, 1, -2, 2
"""As differences of bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """Numbers above zero that float32 holds.

    Args:
        listed: all of them, ascending; None: every float32.
    """

    listed: Floats | None = None

    def near(self, scales: Floats) -> Floats:
        """For each scale the nearest of float32, or the two of the list around it; each once, in this order."""
        if self.listed is None:
            found = nearest_float32(scales).astype(np.float64)
        else:
            above = np.searchsorted(self.listed, scales)
            places = np.stack((above - 1, above), axis=-1).reshape(-1)
            found = self.listed[np.clip(places, 0, len(self.listed) - 1)]
        return np.array(list(dict.fromkeys(found.tolist())))

    def around(self, scale: float) -> Floats:
        """The nearest of float32 and the two on either side of it, or the two of the list around it; nearest first."""
        if self.listed is not None:
            return self.near(np.array([scale]))
        bits = int(nearest_float32(np.array([scale])).view(np.uint32)[0]) + np.array(NEIGHBOURS)
        return np.asarray(np.clip(bits, 1, LARGEST_BITS).astype(np.uint32).view(np.float32), np.float64)

    def at_least(self, scales: NDArray[np.float32]) -> NDArray[np.float32]:
        """The least at or above each scale; the largest, where there is none."""
        if self.listed is None:
            return scales
        places = np.minimum(np.searchsorted(self.listed, scales), len(self.listed) - 1)
        return self.listed[places].astype(np.float32)

    def between(self, low: float, high: float) -> Floats | None:
        """All in a range and the next ones beyond; None where that is too many to list."""
        if self.listed is None:
            return None
        first, last = np.searchsorted(self.listed, (low, high))
        return self.listed[max(first - 1, 0) : last + 1]


FLOAT32_SCALES = Scales()


def nearest_float32(scales: Floats) -> NDArray[np.float32]:
    """The nearest of float32 above zero to each scale."""
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(scales.astype(np.float32), np.float32(SMALLEST), np.float32(LARGEST))


def scales_of(format: NumberFormat | str | None) -> Scales:
    """Those that a format holds.

    Raises:
        LookupError: if no format has this name.
        TypeError: if it is no number format.
        ValueError: if none of its values is above zero.
        UnsupportedError: for formats of more than 16 bits.
    """
    if format is None:
        return FLOAT32_SCALES
    return _listed(checked_format(load_format(format) if isinstance(format, str) else format))


@lru_cache(maxsize=64)
def _listed(format: NumberFormat) -> Scales:
    with np.errstate(over="ignore", under="ignore"):
        values = format.grid().astype(np.float32).astype(np.float64)
    values = np.unique(values[(values > 0) & np.isfinite(values)])
    if not values.size:
        raise ValueError(f"scale_format {format.name} has no values above zero")
    return Scales(values)
