"""Exact arithmetic between rationals and float32 bit patterns. A *magnitude* is a pattern without its sign."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

SIGN: Final = 0x8000_0000
MAGNITUDE: Final = 0x7FFF_FFFF
INFINITY: Final = 0x7F80_0000
LARGEST: Final = 0x7F7F_FFFF
MIN_NORMAL: Final = 0x0080_0000
QUIET_NAN: Final = 0x7FC0_0000
BIAS: Final = 127
MANTISSA_BITS: Final = 23
HIDDEN_BIT: Final = 1 << MANTISSA_BITS
EMIN: Final = -126


def power_of_two(exponent: int) -> Fraction:
    """2^exponent, exactly."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def floor_magnitude(value: Fraction) -> int:
    """The greatest finite magnitude whose value is at most `value`, which must not be negative."""
    steps, exponent = _in_steps(value)
    whole = steps.numerator // steps.denominator
    return min(_magnitude(whole, exponent), LARGEST)


def ceil_magnitude(value: Fraction) -> int:
    """The least magnitude whose value is at least `value`; Inf beyond the largest finite one."""
    steps, exponent = _in_steps(value)
    whole = -(-steps.numerator // steps.denominator)
    return min(_magnitude(whole, exponent), INFINITY)


def nearest_magnitude(value: Fraction) -> int:
    """`value` rounded once to the nearest float32, ties to even; it may become Inf."""
    steps, exponent = _in_steps(value)
    return min(_magnitude(round(steps), exponent), INFINITY)


def nearest_bits(value: float) -> int:
    """The float32 bit pattern of a finite float64, rounded once to nearest even; the sign of zero is kept."""
    negative = str(value).startswith("-")
    return nearest_magnitude(abs(Fraction(value))) | (SIGN if negative else 0)


def _in_steps(value: Fraction) -> tuple[Fraction, int]:
    """`value` in units of the float32 step of its binade, and the binade's exponent (at least `EMIN`)."""
    if value == 0:
        return value, EMIN
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    if power_of_two(exponent) > value:
        exponent -= 1
    exponent = max(exponent, EMIN)
    return value * power_of_two(MANTISSA_BITS - exponent), exponent


def _magnitude(steps: int, exponent: int) -> int:
    """The pattern of `steps` steps in a binade; a carry walks into the exponent field by itself."""
    return ((exponent - EMIN) << MANTISSA_BITS) + steps
