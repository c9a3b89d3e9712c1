"""The squared error of an encoder along the real line, at scale 1: piecewise, a product of two linear factors.

With deterministic rounding, x in the cell of value c has the squared error (x - c)². With stochastic rounding by
unlimited random bits, x between neighbours a and b is rounded to b with probability (x - a) / (b - a), and its mean
squared error is (x - a)(b - x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.errors import UnsupportedError
from statqat_sim.spec.encode import NegativeInput
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory.cells import Cells, cells, nearest


@dataclass(frozen=True, eq=False)
class Pieces:
    """The mean squared error of x is sign · (x - first)(x - second) on each piece; the outer two extend to infinity.

    Two are equal if their arrays have the same contents.

    Args:
        thresholds: the boundaries of the pieces, ascending, float64, shape `(pieces - 1,)`.
        first: the value of x, or the lower of its two possible values, shape `(pieces,)`.
        second: the upper one; equal to `first` for deterministic rounding.
        zero: the index of the piece of input 0.
    """

    thresholds: Floats
    first: Floats
    second: Floats
    zero: int

    @cached_property
    def sign(self) -> Floats:
        """1 for pieces with deterministic rounding, -1 for others."""
        return np.where(self.first == self.second, 1.0, -1.0)

    @cached_property
    def mean(self) -> Floats:
        """The coefficient of x in the error, times -½: sign · (first + second) / 2."""
        return self.sign * (self.first / 2 + self.second / 2)

    @cached_property
    def product(self) -> Floats:
        """The error that each piece would have at 0: sign · first · second."""
        return self.sign * self.first * self.second

    @cached_property
    def jumps(self) -> Floats | None:
        """The error just below each threshold minus that just above it; None if the error is continuous."""
        t = self.thresholds
        below, above = (
            self.sign[side] * (t - self.first[side]) * (t - self.second[side]) for side in (slice(-1), slice(1, None))
        )
        found = below - above
        return found if (np.abs(found) > 1e-14 * (np.abs(below) + np.abs(above))).any() else None

    @property
    def is_deterministic(self) -> bool:
        """Whether rounding is deterministic on every piece."""
        return bool((self.sign == 1).all())

    @property
    def is_ascending(self) -> bool:
        """Whether the value never decreases with the input."""
        return bool((self.first[1:] >= self.first[:-1]).all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pieces) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[int, bytes, bytes, bytes]:
        return self.zero, self.thresholds.tobytes(), self.first.tobytes(), self.second.tobytes()

    def within(self, low: float, high: float) -> Pieces:
        """The pieces reduced to thresholds that are 0 or have a magnitude between `low` and `high`.

        Of the merged pieces between two thresholds the lowest remains; around 0, that of the input 0.
        """
        size = np.abs(self.thresholds)
        kept = np.flatnonzero(((size > low) | (size == 0)) & (size < high))
        pieces = np.append(kept[:1], kept + 1) if kept.size else np.array([self.zero])
        zero = int(np.searchsorted(kept, self.zero))
        pieces[zero] = self.zero
        return Pieces(self.thresholds[kept], self.first[pieces], self.second[pieces], zero)


@lru_cache(maxsize=512)
def pieces(format: NumberFormat) -> Pieces:
    """The pieces of a format; stochastic rounding is modelled with unlimited random bits.

    With r random bits, the probability of the upper neighbour differs by less than 2^-r, and the error by less than
    2^-r of the squared gap.

    Raises:
        UnsupportedError: for formats of more than 16 bits, and for random bits together with `negative_input: abs`.
    """
    found = cells(nearest(format))
    if not format.encode.rounding.is_stochastic:
        return Pieces(found.thresholds, found.values, found.values, found.zero)
    if not format.element.has_negative and format.encode.negative_input is NegativeInput.ABS:
        what = f"{format.name}: the error of negative_input: abs under rounding: {format.encode.rounding.value}"
        raise UnsupportedError(f"{what}; allowed: clamp or nan, or a deterministic rounding")
    return _drawn(found)


def _drawn(found: Cells) -> Pieces:
    """Two pieces between neighbours, below and above the midpoint; they differ only if rounding there is certain."""
    values, ties = found.values, found.thresholds
    low, high = values[:-1], values[1:]
    # at a threshold 0 inputs are not rounded across it: values keep the sign of inputs, or are never 0
    certain = ties == 0
    first = np.stack((low, np.where(certain, high, low)), 1).ravel()
    second = np.stack((np.where(certain, low, high), high), 1).ravel()
    lowest, highest = values[:1], values[-1:]
    return Pieces(
        thresholds=np.append(np.stack((low, ties), 1).ravel(), highest),
        first=np.concatenate((lowest, first, highest)),
        second=np.concatenate((lowest, second, highest)),
        zero=2 * found.zero,
    )
