"""The binary formats of IEEE 754 that encoders read and decoders write (6, 8)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from statqat_sim.reference.grid import Number, Special, scaled


@dataclass(frozen=True, slots=True)
class Layout:
    """Sign, exponent field, mantissa field, with IEEE 754's bias, subnormals, Inf and NaN. Words are patterns."""

    exponent_bits: int
    mantissa_bits: int

    @property
    def sign(self) -> int:
        return 1 << self.exponent_bits + self.mantissa_bits

    @property
    def inf(self) -> int:
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @property
    def nan(self) -> int:
        """The quiet NaN without payload."""
        return self.inf | 1 << self.mantissa_bits - 1

    @property
    def min_normal(self) -> int:
        return 1 << self.mantissa_bits

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal value."""
        return 2 - (1 << self.exponent_bits - 1)

    def number(self, pattern: int) -> Number:
        """What a pattern means."""
        negative, magnitude = bool(pattern & self.sign), pattern & self.sign - 1
        if magnitude > self.inf:
            return Special.NEGATIVE_NAN if negative else Special.NAN
        if magnitude == self.inf:
            return Special.NEGATIVE_INF if negative else Special.INF
        if magnitude == 0:
            return Special.NEGATIVE_ZERO if negative else Fraction(0)
        exponent, mantissa = divmod(magnitude, self.min_normal)
        # subnormals have the quantum of exponent field 1, and no implicit leading one
        significand = mantissa + (self.min_normal if exponent else 0)
        value = scaled(significand, max(exponent, 1) - 1 + self.emin - self.mantissa_bits)
        return -value if negative else value

    def nearest(self, number: Number) -> int:
        """The pattern of a number rounded once, to nearest even; NaN loses its payload."""
        match number:
            case Special.NAN:
                return self.nan
            case Special.NEGATIVE_NAN:
                return self.sign | self.nan
            case Special.INF:
                return self.inf
            case Special.NEGATIVE_INF:
                return self.sign | self.inf
            case Special.NEGATIVE_ZERO:
                return self.sign
            case Fraction():
                return (self.sign if number < 0 else 0) | self._nearest_magnitude(abs(number))

    def _nearest_magnitude(self, x: Fraction) -> int:
        """The magnitude nearest to x >= 0; Inf beyond the largest value."""
        binade = max(floor_log2(x), self.emin) if x else self.emin
        significand = round(x / scaled(1, binade - self.mantissa_bits))  # round() of a Fraction takes ties to even
        # the implicit leading one increments the exponent field, and so does a carry
        return min((binade - self.emin << self.mantissa_bits) + significand, self.inf)


FLOAT16 = Layout(exponent_bits=5, mantissa_bits=10)
BFLOAT16 = Layout(exponent_bits=8, mantissa_bits=7)
FLOAT32 = Layout(exponent_bits=8, mantissa_bits=23)
FLOAT64 = Layout(exponent_bits=11, mantissa_bits=52)


def floor_log2(x: Fraction) -> int:
    """The exponent of x > 0."""
    estimate = x.numerator.bit_length() - x.denominator.bit_length()
    is_less = x.numerator << max(-estimate, 0) < x.denominator << max(estimate, 0)
    return estimate - is_less
