"""A format as quantizers use it: steps outward from zero, each with a threshold and a gap between values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.errors import UnsupportedError
from statqat_sim.quantizer.representable import LARGEST
from statqat_sim.spec.listed import ListedElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import with_any_zero_point
from statqat_sim.theory.cells import Cells, cells, nearest


@dataclass(frozen=True, eq=False)
class Side:
    """One side of zero as magnitudes at scale 1, outward.

    Args:
        zero: the value of inputs next to zero.
        thresholds: the inputs at which the value changes to the next, ascending.
        gaps: the difference of the values after and before each threshold.
        middles: the midpoints of these values; equal to the thresholds if rounding is to nearest.
    """

    zero: float
    thresholds: Floats
    gaps: Floats
    middles: Floats

    @property
    def count(self) -> int:
        """The number of thresholds."""
        return len(self.thresholds)

    @cached_property
    def values(self) -> Floats:
        """The values, outward: one more than thresholds."""
        return self.zero + np.concatenate(([0.0], np.cumsum(self.gaps)))

    def cumulative(self, at: Floats) -> Floats:
        """∫ (u − Q(u))² du from 0 to each point."""
        cell = np.searchsorted(self.thresholds, at)
        return np.asarray(self._before[cell] + ((at - self.values[cell]) ** 3 - self._from[cell]) / 3)

    @cached_property
    def _from(self) -> Floats:
        """(u − Q(u))³ at the start of each cell, where its integral begins."""
        starts = np.concatenate(([0.0], np.maximum(self.thresholds, 0)))
        with np.errstate(over="ignore"):  # only far beyond all data
            return np.asarray((starts - self.values) ** 3)

    @cached_property
    def _before(self) -> Floats:
        """The integral up to the start of each cell."""
        with np.errstate(over="ignore", invalid="ignore"):
            whole = (np.maximum(self.thresholds, 0) - self.values[:-1]) ** 3 - self._from[:-1]
            return np.concatenate(([0.0], np.cumsum(whole / 3)))

    @property
    def is_nearest(self) -> bool:
        """Whether every threshold is a midpoint."""
        return bool(np.array_equal(self.thresholds, self.middles))


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """All steps of a format.

    Args:
        sides: the steps for inputs at and above zero, and for the magnitudes below; a single one if both are equal.
        largest: the largest magnitude of a value.
        saturates: whether inputs beyond the last values become these; if not, no input may lie there.
        is_tapered: whether precision is best in the middle of the range, so that the best scale may lie far above the
            smallest one without overflow.
        is_measured: whether these thresholds are exactly the codec's; False for stochastic rounding and where zero
            becomes NaN.
    """

    sides: tuple[Side, ...]
    largest: float
    saturates: bool
    is_tapered: bool
    is_measured: bool

    @property
    def is_folded(self) -> bool:
        """Whether both sides of zero are equal."""
        return len(self.sides) == 1

    @property
    def is_nearest(self) -> bool:
        """Whether every threshold is a midpoint, so that the error is continuous."""
        return all(side.is_nearest for side in self.sides)

    @property
    def count(self) -> int:
        """The number of steps on all sides."""
        return sum(side.count for side in self.sides)

    @property
    def first(self) -> float:
        """The smallest threshold above zero; Inf if there is none."""
        above = [side.thresholds[side.thresholds > 0] for side in self.sides]
        return min((float(each[0]) for each in above if len(each)), default=math.inf)


@lru_cache(maxsize=512)
def ends(format: NumberFormat) -> tuple[float, float]:
    """The least and the greatest value that float32 holds: values beyond would be decoded to Inf.

    Raises:
        UnsupportedError: for formats of more than 16 bits with values beyond, or without nonzero values within.
    """
    if max(format.max, -format.min) <= LARGEST:
        return format.min, format.max
    values = format.grid()
    held = values[np.abs(values) <= LARGEST]
    if not held.any():
        raise UnsupportedError(f"{format.name} has no value that float32 holds; allowed: formats that have some")
    return float(held[0]), float(held[-1])


def has_ends(format: NumberFormat) -> bool:
    """Whether `ends` has a value: without one, no scale of the format can be chosen."""
    try:
        ends(format)
    except UnsupportedError:
        return False
    return True


@lru_cache(maxsize=512)
def levels(format: NumberFormat) -> Levels:
    """The steps of a format between values that float32 holds; stochastic rounding is replaced by nearest-even.

    Raises:
        UnsupportedError: for formats of more than 16 bits, or without such values.
    """
    largest, found = max(map(abs, ends(format))), _held(cells(nearest(format)))
    up, down = _side(found), _side(_mirrored(found))
    is_symmetric = up.zero == down.zero and all(
        np.array_equal(*pair)
        for pair in ((up.thresholds, down.thresholds), (up.gaps, down.gaps), (up.middles, down.middles))
    )
    return Levels(
        sides=(up,) if is_symmetric else (up, down),
        largest=largest,
        saturates=not any(map(math.isfinite, found.limits)),
        is_tapered=isinstance(format.element, ListedElement),
        is_measured=not (format.encode.rounding.is_stochastic or found.zero_is_nan),
    )


@lru_cache(maxsize=64)
def affine_levels(format: NumberFormat) -> Levels:
    """All steps that a format can have on either side of zero with any zero-point; never folded.

    Raises:
        UnsupportedError: if the format does not support zero-points.
    """
    found = levels(with_any_zero_point(format))
    return replace(found, sides=(found.sides[0], found.sides[-1]))


def _held(found: Cells) -> Cells:
    """The cells whose values float32 holds; inputs beyond are outside the limits."""
    held = np.flatnonzero(np.abs(found.values) <= LARGEST)
    first, last = int(held[0]), int(held[-1])
    bounds = np.concatenate((found.limits[:1], found.thresholds, found.limits[1:]))
    limits = float(bounds[first]), float(bounds[last + 1])
    return Cells(
        found.values[first : last + 1], found.thresholds[first:last], found.zero - first, limits, found.zero_is_nan
    )


def _side(found: Cells) -> Side:
    values, thresholds = found.values[found.zero :], found.thresholds[found.zero :]
    return Side(float(values[0]), thresholds, np.diff(values), (values[:-1] + values[1:]) / 2)


def _mirrored(found: Cells) -> Cells:
    """The cells reflected at zero: those of −Q(−x)."""
    return Cells(-found.values[::-1], -found.thresholds[::-1], len(found.values) - 1 - found.zero)
