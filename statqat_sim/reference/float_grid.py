"""The oracle's view of a float: the meaning of its codes (1 to 3), and its producible values by rank."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from statqat_sim.reference.grid import Number, Special, scaled, searched
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.floating import FloatElement, InfCodes, NanCodes, Subnormals, Zero


@dataclass(frozen=True)
class FloatGrid:
    """Rank 0 is zero; rank ±k is the k-th nonzero magnitude that encoders produce with that sign."""

    element: FloatElement
    zero = 0
    has_successor = True

    @cached_property
    def ones(self) -> int:
        """The magnitude with every bit set."""
        return (1 << self.element.exponent_bits + self.element.mantissa_bits) - 1

    @cached_property
    def sign(self) -> int:
        return self.ones + 1 if self.element.signed else 0

    @cached_property
    def bits(self) -> int:
        return self.ones.bit_length() + self.element.signed

    @cached_property
    def largest(self) -> int:
        """The largest finite magnitude; special magnitudes lie above it (2)."""
        if self.element.nan is NanCodes.IEEE:
            return self.ones - (1 << self.element.mantissa_bits)
        return self.ones - (self.element.nan is NanCodes.ALL_ONES) - (self.element.inf is InfCodes.MAX_CODE)

    @cached_property
    def first(self) -> int:
        """The least magnitude that encodes a nonzero value (13); 0 if the format has no zero."""
        if self.element.zero is Zero.NONE:
            return 0
        return 1 << self.element.mantissa_bits if self.element.subnormals is Subnormals.FLUSH else 1

    @cached_property
    def highest(self) -> int:
        return self.largest - self.first + 1

    @cached_property
    def lowest(self) -> int:
        if self.element.signed:
            return -self.highest
        return 0 if self.has_zero else 1

    @cached_property
    def has_zero(self) -> bool:
        return self.element.zero is not Zero.NONE

    @cached_property
    def has_negative(self) -> bool:
        return self.element.signed

    @cached_property
    def nan(self) -> int | None:
        """Code of the NaN that encoders produce; under IEEE rules only the quiet bit is set (9)."""
        match self.element.nan:
            case NanCodes.NONE:
                return None
            case NanCodes.IEEE:
                return self.ones - (1 << self.element.mantissa_bits) + 1 + (1 << self.element.mantissa_bits - 1)
            case NanCodes.ALL_ONES:
                return self.ones
            case NanCodes.NEGATIVE_ZERO:
                return self.sign

    @cached_property
    def signed_nan(self) -> bool:
        return self.element.signed and self.element.nan is not NanCodes.NEGATIVE_ZERO

    @cached_property
    def inf(self) -> int | None:
        return None if self.element.inf is InfCodes.NONE else self.largest + 1

    def decode(self, code: int) -> Number:
        negative, magnitude = bool(code & self.sign), code & self.ones
        if negative and magnitude == 0 and self.element.nan is NanCodes.NEGATIVE_ZERO:
            return Special.NAN
        if magnitude == self.inf:
            return Special.NEGATIVE_INF if negative else Special.INF
        if magnitude > self.largest:
            return Special.NEGATIVE_NAN if negative else Special.NAN
        value = self.magnitude_value(magnitude)
        if value == 0 and negative and self.element.zero is Zero.SIGNED:
            return Special.NEGATIVE_ZERO
        return -value if negative else value

    def magnitude_value(self, magnitude: int) -> Fraction:
        """Value of a magnitude, read as finite (1)."""
        m = self.element.mantissa_bits
        exponent, mantissa = divmod(magnitude, 1 << m)
        if exponent > 0:
            return scaled((1 << m) + mantissa, exponent - self.element.bias - m)
        if magnitude == 0 and self.has_zero:
            return Fraction(0)
        match self.element.subnormals:
            case Subnormals.GRADUAL:
                return scaled(mantissa, 1 - self.element.bias - m)
            case Subnormals.FLUSH:
                return Fraction(0)
            case Subnormals.NONE:
                return scaled((1 << m) + mantissa, -self.element.bias - m)
            case Subnormals.RAW:
                return scaled(mantissa, -self.element.bias - m)

    def magnitude(self, rank: int) -> int:
        return self.first + abs(rank) - 1 if rank else 0

    @cached_property
    def _table(self) -> tuple[Fraction, ...]:
        """Values of the ranks from `lowest - 1` on; formats too wide for a table compute values one by one."""
        if self.bits > MAX_TABLE_BITS:
            return ()
        return tuple(map(self._computed, range(self.lowest - 1, self.highest + 2)))

    def value(self, rank: int) -> Fraction:
        return self._table[rank - self.lowest + 1] if self._table else self._computed(rank)

    def _computed(self, rank: int) -> Fraction:
        if rank == 0:
            return Fraction(0)
        value = self.magnitude_value(self.magnitude(rank))
        return -value if rank < 0 else value

    def parity(self, rank: int) -> int:
        return self.magnitude(rank) & 1

    def code(self, rank: int, negative: bool) -> int:
        """A negative x that rounds to zero becomes -0 where it exists (12)."""
        if rank:
            return self.magnitude(rank) | (self.sign if rank < 0 else 0)
        return self.sign if negative and self.element.zero is Zero.SIGNED else 0

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        return searched(self, x, self.lowest - 1, self.highest + 1)
