"""The float64 nearest to powers of 2 and of e, computed with integers only (5, 6).

Every number here is an interval (low, high) of integers in units of 2^-PRECISION that contains the true value:
products, roots and reciprocals of intervals are rounded outward. If both ends of an interval round to the same float64,
so does the true value, as rounding is monotonic; if they do not, nothing is returned.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import isqrt

PRECISION = 512
ONE = 1 << PRECISION
FINEST = 16
"""Exponents are multiples of 2^-16."""

Interval = tuple[int, int]


def power_of_two(numerator: int, fraction_bits: int) -> Fraction:
    """The float64 nearest to 2^(numerator / 2^fraction_bits), `fraction_bits` at most 16.

    Raises:
        OverflowError: beyond the largest float64.
    """
    whole, rest = divmod(numerator, 1 << fraction_bits)
    return _nearest(_power((2 * ONE, 2 * ONE), rest << FINEST - fraction_bits), whole)


def power_of_e(numerator: int, fraction_bits: int) -> Fraction:
    """The float64 nearest to e^(numerator / 2^fraction_bits), `fraction_bits` at most 16.

    The precision suffices: exponents of takums are within ±128, so the least value has 512 - 185 bits.
    """
    power = _power(_e(), abs(numerator) << FINEST - fraction_bits)
    return _nearest(_reciprocal(power) if numerator < 0 else power, 0)


def _nearest(interval: Interval, exponent: int) -> Fraction:
    """The float64 nearest to interval·2^exponent."""
    shift = exponent - PRECISION
    # the quotient of two ints is the float64 nearest to the exact one
    low, high = (end << max(shift, 0) for end in interval)
    below, above = low / (1 << max(-shift, 0)), high / (1 << max(-shift, 0))
    if below != above:
        raise ArithmeticError(f"between {below!r} and {above!r}: PRECISION does not tell; allowed: more of it")
    return Fraction(below)


@lru_cache(maxsize=4096)
def _power(base: Interval, exponent: int) -> Interval:
    """base^(exponent·2^-FINEST), exponent >= 0, bit by bit; cached, as neighbours share all but the lowest bit."""
    rest = exponent & exponent - 1
    if exponent == 0:
        return ONE, ONE
    if rest:
        return _product(_power(base, rest), _power(base, exponent - rest))
    if exponent == 1 << FINEST:
        return base
    if exponent > 1 << FINEST:
        half = _power(base, exponent >> 1)
        return _product(half, half)
    return _root(_power(base, exponent << 1))


@lru_cache(maxsize=1)
def _e() -> Interval:
    """The series of 1/k!: each term is less than 1 unit too small, and the terms left out sum to less than 1 unit.

    The sum of 1/k! over k > n is below 2/(n + 1)!, and 120! is above 2^513.
    """
    term, terms = ONE, 120
    total = ONE
    for k in range(1, terms):
        term //= k  # floors of floors are the floor of ONE / k!
        total += term
    return total, total + terms + 1


def _product(a: Interval, b: Interval) -> Interval:
    return a[0] * b[0] >> PRECISION, -(-a[1] * b[1] >> PRECISION)


def _root(a: Interval) -> Interval:
    return isqrt(a[0] << PRECISION), isqrt(a[1] << PRECISION) + 1


def _reciprocal(a: Interval) -> Interval:
    return (ONE << PRECISION) // a[1], -(-(ONE << PRECISION) // a[0])
