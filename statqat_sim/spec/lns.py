"""Elements of logarithmic number systems."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from statqat_sim.spec.base import MAX_TABLE_BITS, KeyProblem
from statqat_sim.spec.exponential import exp2
from statqat_sim.spec.listed import ListedElement, Tie, TieDomain

MAX_INTEGER_BITS = 10
"""float64 ranges up to 2^±1024."""


class LnsElement(ListedElement):
    """±2^(n/2^fraction_bits): a sign bit, then n in two's complement, whose most negative n is 0 or NaN."""

    kind: Literal["lns"]
    bits: Annotated[int, Field(ge=3, le=MAX_TABLE_BITS)]
    fraction_bits: Annotated[int, Field(ge=0, le=MAX_TABLE_BITS - 2)]

    @property
    def sign_bit(self) -> int:
        return 1 << (self.bits - 1)

    @property
    def zero_code(self) -> int:
        """Sign 0, most negative n."""
        return 1 << (self.bits - 2)

    @property
    def nan_code(self) -> int:
        """Sign 1, most negative n."""
        return self.sign_bit | self.zero_code

    def power(self, n: int) -> float:
        """The float64 nearest to 2^(n/2^fraction_bits)."""
        return exp2(n, 1 << self.fraction_bits)

    def value(self, code: int) -> float:
        magnitude, half = code & ~self.sign_bit, self.zero_code
        if magnitude == half:
            return math.nan if code & self.sign_bit else 0.0
        power = self.power(magnitude - 2 * half if magnitude > half else magnitude)
        return -power if code & self.sign_bit else power

    def tie(self, low: float, high: float, domain: TieDomain) -> Tie:
        """See `ListedElement.tie`. In the log domain zero counts as its n's power, one step below the least value."""
        if domain is not TieDomain.LOG:
            return super().tie(low, high, domain)
        smaller, larger = sorted((abs(low), abs(high)))
        return Tie(Fraction(smaller or self.power(-self.zero_code)) * Fraction(larger), squared=True)

    @property
    def highest(self) -> float:
        return self.power(self.zero_code - 1)

    @property
    def lowest(self) -> float:
        return -self.highest

    @property
    def smallest(self) -> float:
        return self.power(1 - self.zero_code)

    @property
    def ulp_at_one(self) -> float:
        return self.power(1) - 1

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        most = self.bits - 2
        if self.fraction_bits > most:
            yield "fraction_bits", f"{self.fraction_bits} do not fit into {self.bits} bits; allowed: at most {most}"
        elif self.fraction_bits < most - MAX_INTEGER_BITS:
            least = most - MAX_INTEGER_BITS
            power = 1 << (most - self.fraction_bits)
            yield "fraction_bits", f"the values reach to 2^±{power}, beyond float64; allowed: {least} to {most}"
