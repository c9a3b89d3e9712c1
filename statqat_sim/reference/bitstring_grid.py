"""The oracle's view of posits and takums: a code, read as a two's complement integer, is the rank of its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from statqat_sim.reference.grid import Number, Special, scaled, searched

Meaning: TypeAlias = Callable[[int, int], Fraction]
"""A function from (code, width) to the code's value, for every code but NaR."""


@dataclass(frozen=True)
class BitstringGrid:
    """Rank = code; the code 10…0, least of all, is NaR, the only NaN."""

    bits: int
    meaning: Meaning
    zero = sign = 0
    inf = None
    has_zero = has_negative = True
    has_successor = signed_nan = False

    @cached_property
    def nan(self) -> int:
        return 1 << self.bits - 1

    @cached_property
    def highest(self) -> int:
        return self.nan - 1

    @cached_property
    def lowest(self) -> int:
        return 1 - self.nan

    def decode(self, code: int) -> Number:
        return Special.NAN if code == self.nan else self.meaning(code, self.bits)

    @cached_property
    def _table(self) -> tuple[Fraction, ...]:
        """Values by code; NaR's place is never asked for."""
        return tuple(Fraction(0) if code == self.nan else self.meaning(code, self.bits) for code in range(2 * self.nan))

    def value(self, rank: int) -> Fraction:
        return self._table[rank]  # codes from 10…0 on are the negative ranks, counted from the end

    def parity(self, rank: int) -> int:
        return rank & 1

    def code(self, rank: int, negative: bool) -> int:
        return rank % (1 << self.bits)

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        return searched(self, x, self.lowest, self.highest)

    def longer(self, rank: int) -> Fraction:
        """Value of the code c‖1, one bit longer, for the code c of a rank >= 0 (15)."""
        return self._longer[rank]

    @cached_property
    def _longer(self) -> tuple[Fraction, ...]:
        return tuple(self.meaning(2 * rank + 1, self.bits + 1) for rank in range(self.nan))


def linear_value(sign: int, exponent: int, fraction: int, fraction_bits: int) -> Fraction:
    """((1 - 3·sign) + fraction / 2^fraction_bits) · 2^((-1)^sign · (exponent + sign))."""
    significand = (1 - 3 * sign << fraction_bits) + fraction
    return scaled(significand, (-(exponent + 1) if sign else exponent) - fraction_bits)
