"""The squared error of an encoder along the real line, at scale 1: in pieces, on each a product of two factors.

Rounded deterministically, x in the cell of c has the squared error (x - c)². Rounded by unlimited random bits, x
between the neighbours a and b has (x - a)(b - x) in the mean, for it becomes b with the probability (x - a) / (b - a).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from statqat_sim.errors import UnsupportedError
from statqat_sim.spec.encode import NegativeInput
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory.cells import Cells, Floats, cells, nearest


@dataclass(frozen=True, eq=False)
class Pieces:
    """The mean squared error of x is sign · (x - first)(x - second) on each piece; the outer two are without end.

    Equal where they say the same of all inputs.

    Args:
        thresholds: between the pieces, ascending, float64, shape `(pieces - 1,)`.
        first: what x becomes, or the lower of the two that it may become, shape `(pieces,)`.
        second: the upper one; where rounding is deterministic, `first`.
        zero: the piece of the input 0.
    """

    thresholds: Floats
    first: Floats
    second: Floats
    zero: int

    @cached_property
    def sign(self) -> Floats:
        """1 where rounding is deterministic, -1 elsewhere."""
        return np.where(self.first == self.second, 1.0, -1.0)

    @cached_property
    def mean(self) -> Floats:
        """What x is multiplied by in the error, times -½: sign · (first + second) / 2."""
        return self.sign * (self.first / 2 + self.second / 2)

    @cached_property
    def product(self) -> Floats:
        """The error of 0 under the rule of each piece: sign · first · second."""
        return self.sign * self.first * self.second

    @cached_property
    def jumps(self) -> Floats | None:
        """The error just below each threshold less that just above it; None if it is continuous throughout."""
        t = self.thresholds
        below, above = (
            self.sign[side] * (t - self.first[side]) * (t - self.second[side]) for side in (slice(-1), slice(1, None))
        )
        found = below - above
        return found if (np.abs(found) > 1e-14 * (np.abs(below) + np.abs(above))).any() else None

    @property
    def is_deterministic(self) -> bool:
        """Whether no input is rounded by random bits."""
        return bool((self.sign == 1).all())

    @property
    def is_ascending(self) -> bool:
        """Whether larger inputs never become smaller values."""
        return bool((self.first[1:] >= self.first[:-1]).all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pieces) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[int, bytes, bytes, bytes]:
        return self.zero, self.thresholds.tobytes(), self.first.tobytes(), self.second.tobytes()

    def within(self, low: float, high: float) -> Pieces:
        """These pieces with the thresholds alone that are 0 or of a magnitude in low … high.

        Of the pieces between two of them the lowest one stays, but around 0 that of the input 0.
        """
        size = np.abs(self.thresholds)
        kept = np.flatnonzero(((size > low) | (size == 0)) & (size < high))
        pieces = np.append(kept[:1], kept + 1) if kept.size else np.array([self.zero])
        zero = int(np.searchsorted(kept, self.zero))
        pieces[zero] = self.zero
        return Pieces(self.thresholds[kept], self.first[pieces], self.second[pieces], zero)


@lru_cache(maxsize=512)
def pieces(format: NumberFormat) -> Pieces:
    """The pieces of a format; of one with random bits, as if those were without limit.

    With r of them, the probability of the upper neighbour is off by less than 2^-r, and so is the error by less than
    that share of the squared gap.

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
    """Two pieces between any neighbours: up to the midpoint and from there. Without choice, they differ."""
    values, ties = found.values, found.thresholds
    low, high = values[:-1], values[1:]
    # a threshold at 0: what lies between a value and 0 keeps its sign, or does not become 0
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
