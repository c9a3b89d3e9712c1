"""The oracle's view of formats with a sign bit and a list of magnitudes (lns, tapered)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from statqat_sim.reference.grid import Number, Special, searched


@dataclass(frozen=True)
class MagnitudeGrid:
    """Rank 0 is zero; rank ±k is the k-th of the nonzero magnitudes, in the order of their values.

    `values` are those of all magnitude codes; they are distinct, and one is zero. The value of Inf, if there is one, is
    read as if it were finite: it is the successor, the largest value. `below` is the value that the code of zero would
    have by its neighbours' rule; `tie_domain: log` needs it.
    """

    bits: int
    values: Mapping[int, Fraction]
    nan: int | None
    inf: int | None = None
    below: Fraction | None = None
    zero = 0
    has_zero = has_negative = True
    signed_nan = False

    @cached_property
    def sign(self) -> int:
        return 1 << self.bits - 1

    @cached_property
    def has_successor(self) -> bool:
        return self.inf is not None

    @cached_property
    def magnitudes(self) -> tuple[int, ...]:
        """Magnitude codes by rank, from zero's to the successor's."""
        return tuple(sorted(self.values, key=self.values.__getitem__))

    @cached_property
    def highest(self) -> int:
        return len(self.magnitudes) - 1 - self.has_successor

    @cached_property
    def lowest(self) -> int:
        return -self.highest

    def decode(self, code: int) -> Number:
        negative, magnitude = bool(code & self.sign), code & self.sign - 1
        if code == self.nan:
            return Special.NAN
        if magnitude == self.inf:
            return Special.NEGATIVE_INF if negative else Special.INF
        value = self.values[magnitude]
        if value == 0 and negative:
            return Special.NEGATIVE_ZERO
        return -value if negative else value

    @cached_property
    def _table(self) -> tuple[Fraction, ...]:
        """Values of the ranks from the successor's mirror image on."""
        positive = [self.values[code] for code in self.magnitudes[1:]]
        return (*(-value for value in reversed(positive)), Fraction(0), *positive)

    def value(self, rank: int) -> Fraction:
        return self._table[rank + len(self.magnitudes) - 1]

    def parity(self, rank: int) -> int:
        return self.magnitudes[abs(rank)] & 1

    def code(self, rank: int, negative: bool) -> int:
        """A negative x that rounds to zero becomes -0, unless that code is NaN (12)."""
        magnitude = self.magnitudes[abs(rank)]
        has_sign = rank < 0 or rank == 0 and negative and self.sign | magnitude != self.nan
        return magnitude | (self.sign if has_sign else 0)

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        return searched(self, x, self.lowest - self.has_successor, self.highest + self.has_successor)
