"""The oracle's view of an element: the meaning of its codes, and its producible values in ascending order.

Only declared fields are read; everything else follows from the Definitions of `formats/LANGUAGE.md`, whose numbers
stand in parentheses.

A producible value is identified by its *rank*: the n of an int, the index among the distinct values of a codebook, the
code of a posit or takum in two's complement, and 0, ±1, ±2, … for the zero and the nonzero magnitudes of all others.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum
from fractions import Fraction
from typing import Protocol, TypeAlias


class Special(Enum):
    """Codes and inputs that are not rational numbers, and -0; +0 is `Fraction(0)`."""

    NAN = "nan"
    NEGATIVE_NAN = "-nan"
    INF = "inf"
    NEGATIVE_INF = "-inf"
    NEGATIVE_ZERO = "-0"


Number: TypeAlias = Fraction | Special


class Grid(Protocol):
    """The producible values by rank, and the codes of the specials.

    `value` and `parity` also cover the successors of both ends, ranks `highest + 1` and `lowest - 1`, where the
    Definitions have one. `zero` is the rank at value 0; in a format with signs and magnitudes but without zero it marks
    the gap around 0 only.
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
        """The sign bit as a word; 0 if no bit is only a sign."""

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
        """The parity of a rank: the lowest bit of the number that Definition 14 names."""

    def code(self, rank: int, negative: bool) -> int:
        """Code of a rank within the grid; for zero, the zero with that sign if it exists."""

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        """Ranks of the values around x; equal if x is a value, or lies beyond the last value or its successor."""


def searched(target: Grid, x: Fraction, first: int, last: int) -> tuple[int, int]:
    """Neighbours by bisection over the ranks from `first` to `last`."""
    above = first + bisect_right(range(first, last + 1), x, key=target.value)
    below = max(above - 1, first)
    exact = above > last or target.value(below) >= x
    return below, below if exact else above


def scaled(integer: int, exponent: int) -> Fraction:
    """integer·2^exponent."""
    return Fraction(integer << exponent) if exponent >= 0 else Fraction(integer, 1 << -exponent)
