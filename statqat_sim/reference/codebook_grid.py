"""The oracle's view of a codebook: its distinct values by rank (5)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import copysign

from statqat_sim.reference.grid import Number, Special, searched
from statqat_sim.spec.codebook import CodebookElement


def is_negative_zero(value: float) -> bool:
    """Whether a float is -0.0."""
    return value == 0 and copysign(1.0, value) < 0


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

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        return searched(self, x, self.lowest, self.highest)
