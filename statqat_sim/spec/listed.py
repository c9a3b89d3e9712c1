"""The base of elements whose codes are listed one by one: everything follows from `value(code)`."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from statqat_sim.spec.base import MAX_TABLE_BITS, KeyProblem, Spec


class TieDomain(StrEnum):
    """How the midpoint between neighbours is defined."""

    ARITHMETIC = "arithmetic"
    BITSTRING = "bitstring"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Tie:
    """The exact midpoint between two neighbours, a magnitude: `value`, or its square root."""

    value: Fraction
    squared: bool = False

    def compare(self, magnitude: Fraction) -> int:
        """-1, 0 or 1 for a magnitude below, at or above the tie."""
        other = magnitude * magnitude if self.squared else magnitude
        return (other > self.value) - (other < self.value)


class ListedElement(Spec):
    """An element of at most 16 bits. Subclasses define `value`; lists are computed on first use."""

    kind: str
    bits: Annotated[int, Field(ge=1, le=MAX_TABLE_BITS)]

    def value(self, code: int) -> float:
        """Value of a code in float64: finite, ±0.0, ±Inf or NaN."""
        raise NotImplementedError

    @cached_property
    def values_by_code(self) -> tuple[float, ...]:
        """Value of every code; 2^bits of them."""
        return tuple(map(self.value, range(1 << self.bits)))

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """The distinct finite values in ascending order; -0.0 and 0.0 are one level, 0.0."""
        return tuple(sorted({value + 0.0 for value in self.values_by_code if math.isfinite(value)}))

    def level_code(self, level: float, *, negative_zero: bool = False) -> int:
        """The lowest code of a level; for level 0, the lowest code of -0.0 or of 0.0, if both exist."""
        return self._zero_codes[negative_zero] if level == 0 else self._lowest_codes[level]

    @cached_property
    def _lowest_codes(self) -> dict[float, int]:
        last = len(self.values_by_code) - 1
        return {value: last - index for index, value in enumerate(reversed(self.values_by_code))}

    @cached_property
    def _zero_codes(self) -> tuple[int, int]:
        """The codes of 0.0 and of -0.0; if one does not exist, the other's."""
        zeros = [code for code, value in enumerate(self.values_by_code) if value == 0]
        negative = [code for code in zeros if math.copysign(1.0, self.values_by_code[code]) < 0]
        positive = [code for code in zeros if code not in negative]
        return (positive or negative)[0], (negative or positive)[0]

    def is_odd(self, index: int) -> bool:
        """The parity of `levels[index]`: the lowest bit of its code."""
        return bool(self.level_code(self.levels[index]) & 1)

    @property
    def successor(self) -> float | None:
        """The value after the largest finite one: the next code, read as finite; None if there is no next code."""
        return None

    def tie(self, low: float, high: float, domain: TieDomain) -> Tie:
        """The midpoint of two adjacent levels that do not differ in sign; the successor counts as a level.

        Raises:
            ValueError: if this kind does not support the domain.
        """
        if domain is not TieDomain.ARITHMETIC:
            raise ValueError(f"{domain.value} midpoints: not in this kind of element")
        return Tie(abs(Fraction(low) + Fraction(high)) / 2)

    def tie_values(self, domain: TieDomain) -> list[float]:
        """The midpoints of adjacent levels from 0 up, ascending, as the nearest float64.

        Raises:
            ValueError: if this kind does not support the domain.
        """
        ties = (self.tie(*pair, domain) for pair in pairwise(level for level in self.levels if level >= 0))
        return [math.sqrt(tie.value) if tie.squared else float(tie.value) for tie in ties]

    @property
    def sign_bit(self) -> int:
        """The sign bit as a word; 0 if a code is not a sign and a magnitude."""
        return 0

    @property
    def inf_code(self) -> int | None:
        """Code of +Inf."""
        return None

    @property
    def nan_code(self) -> int | None:
        """The NaN that encoders produce."""
        return None

    @property
    def signed_nan(self) -> bool:
        return False

    @property
    def zero_code(self) -> int:
        """Code of +0, if the format has one."""
        return self.level_code(0.0)

    @property
    def has_zero(self) -> bool:
        return True

    @property
    def has_negative(self) -> bool:
        return True

    @property
    def highest(self) -> float:
        return self.levels[-1]

    @property
    def lowest(self) -> float:
        return self.levels[0]

    @property
    def smallest(self) -> float:
        """The smallest value above zero; for a format without one, the smallest nonzero magnitude."""
        above = bisect_right(self.levels, 0.0)
        if above < len(self.levels):
            return self.levels[above]
        below = bisect_left(self.levels, 0.0)
        return self.levels[below - 1] if below else 0.0

    @property
    def min_normal(self) -> float:
        return self.smallest

    @property
    def min_subnormal(self) -> float | None:
        return None

    @property
    def ulp_at_one(self) -> float | None:
        """Distance from 1 to the next larger value, if both exist."""
        above = bisect_right(self.levels, 1.0)
        has_both = 0 < above < len(self.levels) and self.levels[above - 1] == 1
        return self.levels[above] - 1 if has_both else None

    @property
    def nan_count(self) -> int:
        return 0 if self.nan_code is None else 1

    @property
    def inf_count(self) -> int:
        return 0 if self.inf_code is None else 2

    def produces(self, code: int) -> bool:
        """Whether some finite input encodes to this code or to one of the same value."""
        return math.isfinite(self.value(code))

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        return iter(())


class TwosComplementElement(ListedElement):
    """Codes in the order of two's complement integers: 0 is zero, the most negative is NaN, -code is -value."""

    def magnitude(self, code: int, bits: int) -> tuple[int, int]:
        """A positive code of this many bits: s and e of its value s·2^e, or of the float64 nearest to it.

        A tie is the value of a code one bit longer than the format's codes, and may be beyond float64.
        """
        raise NotImplementedError

    def value(self, code: int) -> float:
        if code == self.nan_code:
            return math.nan
        if code == 0:
            return 0.0
        is_negative = code >> (self.bits - 1)
        magnitude = math.ldexp(*self.magnitude((1 << self.bits) - code if is_negative else code, self.bits))
        return -magnitude if is_negative else magnitude

    @cached_property
    def values_by_code(self) -> tuple[float, ...]:
        """Value of every code; 2^bits of them."""
        positive = [self.value(code) for code in range(1, self.nan_code)]
        return (0.0, *positive, math.nan, *(-value for value in reversed(positive)))

    def tie(self, low: float, high: float, domain: TieDomain) -> Tie:
        if domain is not TieDomain.BITSTRING:
            return super().tie(low, high, domain)
        significand, exponent = self._tie_above(self.level_code(min(abs(low), abs(high))))
        return Tie(Fraction(significand << max(exponent, 0), 1 << max(-exponent, 0)))

    def tie_values(self, domain: TieDomain) -> list[float]:
        if domain is not TieDomain.BITSTRING:
            return super().tie_values(domain)
        return [math.ldexp(*self._tie_above(code)) for code in range(self.nan_code - 1)]

    def _tie_above(self, code: int) -> tuple[int, int]:
        """The midpoint between 0 or a positive code and the next code, as of `magnitude`."""
        return self.magnitude(code << 1 | 1, self.bits + 1)

    @property
    def nan_code(self) -> int:
        """NaR, not a real."""
        return 1 << (self.bits - 1)

    @property
    def zero_code(self) -> int:
        return 0

    @property
    def highest(self) -> float:
        return self.value((1 << (self.bits - 1)) - 1)

    @property
    def lowest(self) -> float:
        return -self.highest

    @property
    def smallest(self) -> float:
        return self.value(1)

    @property
    def ulp_at_one(self) -> float | None:
        one = 1 << (self.bits - 2)  # code 010...0 in every posit and takum
        return self.value(one + 1) - 1 if self.bits > 2 else None
