"""Exact arithmetic between rationals and IEEE bit patterns. A *magnitude* is a pattern without its sign."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Final


@dataclass(frozen=True)
class Layout:
    """An IEEE interchange format: sign, exponent field, mantissa field."""

    exponent_bits: int
    mantissa_bits: int

    @cached_property
    def bias(self) -> int:
        return (1 << (self.exponent_bits - 1)) - 1

    @cached_property
    def emin(self) -> int:
        return 1 - self.bias

    @cached_property
    def infinity(self) -> int:
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @cached_property
    def min_normal(self) -> int:
        return 1 << self.mantissa_bits

    def floor_magnitude(self, value: Fraction) -> int:
        """The greatest finite magnitude whose value is at most `value`, which must not be negative."""
        steps, parts, exponent = self._in_steps(value)
        return min(self._magnitude(steps // parts, exponent), self.infinity - 1)

    def ceil_magnitude(self, value: Fraction) -> int:
        """The least magnitude whose value is at least `value`; Inf beyond the largest finite one."""
        steps, parts, exponent = self._in_steps(value)
        return min(self._magnitude(-(-steps // parts), exponent), self.infinity)

    def nearest_magnitude(self, value: Fraction) -> int:
        """`value` rounded once to the nearest float, ties to even; it may become Inf."""
        steps, parts, exponent = self._in_steps(value)
        return min(self._magnitude(round(Fraction(steps, parts)), exponent), self.infinity)

    def pattern(self, value: float) -> int:
        """The bits of a float64, rounded once to nearest even; the sign of zero is kept, NaN is the quiet one."""
        sign = (math.copysign(1.0, value) < 0) << (self.exponent_bits + self.mantissa_bits)
        if math.isnan(value):
            return self.infinity | 1 << (self.mantissa_bits - 1)
        if math.isinf(value):
            return sign | self.infinity
        return sign | self.nearest_magnitude(abs(Fraction(value)))

    def _in_steps(self, value: Fraction) -> tuple[int, int, int]:
        """`value` / the step of its binade, as a numerator and a denominator, and the binade's exponent (>= `emin`)."""
        exponent = max(floor_log2(value), self.emin) if value.numerator else self.emin
        return *scaled_by_power(value, self.mantissa_bits - exponent), exponent

    def _magnitude(self, steps: int, exponent: int) -> int:
        """The pattern of `steps` steps in a binade; a carry propagates into the exponent field."""
        return ((exponent - self.emin) << self.mantissa_bits) + steps


FLOAT16: Final = Layout(5, 10)
BFLOAT16: Final = Layout(8, 7)
FLOAT32: Final = Layout(8, 23)
FLOAT64: Final = Layout(11, 52)
ALIGNED_FLOAT16: Final = Layout(FLOAT16.exponent_bits, FLOAT32.mantissa_bits)
"""A float16 with its mantissa at float32's place: as a float32, 2^(15 - 127) times the value, except Inf and NaN."""

# Constants of float32, the layout that most plans compute in.
SIGN: Final = 0x8000_0000
MAGNITUDE: Final = 0x7FFF_FFFF
INFINITY: Final = 0x7F80_0000
LARGEST: Final = 0x7F7F_FFFF
QUIET_NAN: Final = 0x7FC0_0000
MADE_NAN: Final = SIGN | QUIET_NAN
"""The NaN of an invalid operation on numbers. If operands are NaN, the result is the first of these, made quiet."""
BIAS: Final = 127
MANTISSA_BITS: Final = 23
EMIN: Final = -126
HIDDEN_BIT: Final = 1 << MANTISSA_BITS

nearest_magnitude = FLOAT32.nearest_magnitude
floor_magnitude = FLOAT32.floor_magnitude
ceil_magnitude = FLOAT32.ceil_magnitude


def power_of_two(exponent: int) -> Fraction:
    """2^exponent, exactly."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def floor_log2(value: Fraction) -> int:
    """The exponent of a positive value."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    numerator, denominator = scaled_by_power(value, -exponent)
    return exponent - (numerator < denominator)


def scaled_by_power(value: Fraction, exponent: int) -> tuple[int, int]:
    """The numerator and the denominator of value · 2^exponent, which a Fraction would take longer to reduce."""
    numerator, denominator = value.as_integer_ratio()
    return (numerator << exponent, denominator) if exponent >= 0 else (numerator, denominator << -exponent)
