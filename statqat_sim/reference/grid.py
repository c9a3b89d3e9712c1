"""What the codes of a format mean, and its producible values in ascending order: the oracle's view of an element.

Only declared fields are read; everything else follows from the Definitions, whose numbers stand in parentheses.

A producible value is found by its *rank*: the n of an int, the index among the distinct values of a codebook, and
0, ±1, ±2, … for the zero and the nonzero magnitudes of a float.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cached_property
from math import copysign
from typing import Protocol, TypeAlias

from statqat_sim.errors import UnsupportedError
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.integer import Encoding, IntElement


class Special(Enum):
    """What a code or an input can be besides a rational number; +0 is `Fraction(0)`."""

    NAN = "nan"
    NEGATIVE_NAN = "-nan"
    INF = "inf"
    NEGATIVE_INF = "-inf"
    NEGATIVE_ZERO = "-0"


Number: TypeAlias = Fraction | Special


class Grid(Protocol):
    """The producible values by rank, and the codes of the specials.

    `value` and `parity` also answer for the successor of either end, rank `highest + 1` and `lowest - 1`, where the
    Definitions know one. `zero` is the rank at value 0; in a float without zero it marks the gap around 0 only.
    """

    @property
    def bits(self) -> int: ...
    @property
    def lowest(self) -> int: ...
    @property
    def highest(self) -> int: ...
    @property
    def zero(self) -> int | None: ...
    @property
    def has_zero(self) -> bool: ...
    @property
    def has_negative(self) -> bool: ...
    @property
    def has_successor(self) -> bool: ...
    @property
    def sign(self) -> int:
        """The sign bit as a word, 0 where no bit is only a sign."""

    @property
    def nan(self) -> int | None:
        """Code of the NaN that encoders produce, without sign."""

    @property
    def signed_nan(self) -> bool: ...
    @property
    def inf(self) -> int | None:
        """Code of +Inf."""

    def decode(self, code: int) -> Number: ...
    def value(self, rank: int) -> Fraction: ...
    def parity(self, rank: int) -> int:
        """Lowest bit of what Definition 14 names."""

    def code(self, rank: int, negative: bool) -> int:
        """Code of a rank within the grid; for zero, of the zero with that sign where it exists."""

    def wrapped(self, rank: int) -> int:
        """Code under `overflow: wrap`."""

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        """Ranks of the values around x; twice the same where x is a value, or beyond the last one or its successor."""


def searched(target: Grid, x: Fraction, first: int, last: int) -> tuple[int, int]:
    """Neighbours by bisection over the ranks from `first` to `last`."""
    above = first + bisect_right(range(first, last + 1), x, key=target.value)
    below = max(above - 1, first)
    exact = above > last or target.value(below) >= x
    return below, below if exact else above


def is_negative_zero(value: float) -> bool:
    """Whether a float is -0.0."""
    return value == 0 and copysign(1.0, value) < 0


def scaled(integer: int, exponent: int) -> Fraction:
    """integer·2^exponent."""
    return Fraction(integer << exponent) if exponent >= 0 else Fraction(integer, 1 << -exponent)


# --- int (4) ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IntGrid:
    """Rank n is n·2^-fraction_bits; the ranks beyond `min` and `max` go on, as `wrap` wants them."""

    element: IntElement
    zero = 0
    nan = inf = None
    has_zero = has_successor = True
    signed_nan = False

    @property
    def bits(self) -> int:
        return self.element.bits

    @cached_property
    def sign(self) -> int:
        return 1 << self.bits - 1 if self.element.encoding is Encoding.SIGN_MAGNITUDE else 0

    @cached_property
    def offset(self) -> int:
        if self.element.encoding is not Encoding.OFFSET_BINARY:
            return 0
        return 1 << self.bits - 1 if self.element.offset is None else self.element.offset

    @cached_property
    def lowest(self) -> int:
        if self.element.min is not None:
            return self.element.min
        match self.element.encoding:
            case Encoding.UNSIGNED:
                return 0
            case Encoding.TWOS_COMPLEMENT:
                return -(1 << self.bits - 1)
            case Encoding.SIGN_MAGNITUDE:
                return 1 - (1 << self.bits - 1)
            case Encoding.OFFSET_BINARY:
                return -self.offset

    @cached_property
    def highest(self) -> int:
        if self.element.max is not None:
            return self.element.max
        match self.element.encoding:
            case Encoding.UNSIGNED:
                return (1 << self.bits) - 1
            case Encoding.TWOS_COMPLEMENT | Encoding.SIGN_MAGNITUDE:
                return (1 << self.bits - 1) - 1
            case Encoding.OFFSET_BINARY:
                return (1 << self.bits) - 1 - self.offset

    @cached_property
    def has_negative(self) -> bool:
        return self.lowest < 0

    def decode(self, code: int) -> Number:
        match self.element.encoding:
            case Encoding.SIGN_MAGNITUDE if code == self.sign:
                return Special.NEGATIVE_ZERO
            case Encoding.SIGN_MAGNITUDE if code & self.sign:
                return self.value(self.sign - code)
            case Encoding.TWOS_COMPLEMENT if code >> self.bits - 1:
                return self.value(code - (1 << self.bits))
            case _:
                return self.value(code - self.offset)

    def value(self, rank: int) -> Fraction:
        return scaled(rank, -self.element.fraction_bits)

    def parity(self, rank: int) -> int:
        return rank & 1

    def code(self, rank: int, negative: bool) -> int:
        """-0 serves negative inputs that round to zero, unless the format has no negative value (`min: 0`)."""
        if self.sign:
            return abs(rank) | (self.sign if rank < 0 or (rank == 0 and negative and self.has_negative) else 0)
        return self.wrapped(rank)

    def wrapped(self, rank: int) -> int:
        return (rank + self.offset) % (1 << self.bits)

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        n, rest = divmod(x, self.value(1))
        return n, n + 1 if rest else n


# --- codebook (5) ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CodebookGrid:
    """Rank i is the i-th of the distinct values; -0.0 and 0.0 are one of them."""

    element: CodebookElement
    sign = lowest = 0
    inf = None
    has_successor = signed_nan = False

    @property
    def bits(self) -> int:
        return self.element.bits

    @cached_property
    def levels(self) -> tuple[Fraction, ...]:
        return tuple(sorted(set(map(Fraction, self.element.values))))

    @cached_property
    def codes(self) -> dict[tuple[Fraction, bool], int]:
        """(value, is -0.0) -> lowest code."""
        found: dict[tuple[Fraction, bool], int] = {}
        for code, value in enumerate(self.element.values):
            found.setdefault((Fraction(value), is_negative_zero(value)), code)
        return found

    @cached_property
    def highest(self) -> int:
        return len(self.levels) - 1

    @cached_property
    def zero(self) -> int | None:
        return self.levels.index(Fraction(0)) if self.has_zero else None

    @cached_property
    def has_zero(self) -> bool:
        return Fraction(0) in self.levels

    @cached_property
    def has_negative(self) -> bool:
        return self.levels[0] < 0

    @cached_property
    def nan(self) -> int | None:
        """The lowest unused code."""
        used = len(self.element.values)
        return used if used < 1 << self.bits else None

    def decode(self, code: int) -> Number:
        if code >= len(self.element.values):
            return Special.NAN
        value = self.element.values[code]
        return Special.NEGATIVE_ZERO if is_negative_zero(value) else Fraction(value)

    def value(self, rank: int) -> Fraction:
        return self.levels[rank]

    def parity(self, rank: int) -> int:
        return rank & 1

    def code(self, rank: int, negative: bool) -> int:
        """An entry -0.0 serves inputs with the sign bit that become zero, the entry 0.0 the others, if both exist."""
        level = self.levels[rank]
        asked = (level, level == 0 and negative)
        return self.codes[asked] if asked in self.codes else self.codes[level, not asked[1]]

    def wrapped(self, rank: int) -> int:
        raise UnsupportedError("only an int wraps")

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        return searched(self, x, self.lowest, self.highest)
