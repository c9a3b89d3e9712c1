"""Float32 arithmetic: each operation is exact, then rounded once (`fl` of the Definitions).

A number is a `Fraction` that is a float32, or a `Special`. NaN loses its sign in every operation, as the sign differs
between machines.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import TypeAlias

from statqat_sim.reference.grid import Number, Special
from statqat_sim.reference.ieee import FLOAT32

Magnitude: TypeAlias = Fraction | None
"""A magnitude; None stands for Inf."""

ZERO, ONE = Fraction(0), Fraction(1)
NEGATIVE = (Special.NEGATIVE_NAN, Special.NEGATIVE_INF, Special.NEGATIVE_ZERO)


def fl(number: Number) -> Number:
    """A number rounded once to float32, ties to even."""
    return FLOAT32.number(FLOAT32.nearest(number))


def is_nan(number: Number) -> bool:
    """Whether a number is NaN, of either sign."""
    return number is Special.NAN or number is Special.NEGATIVE_NAN


def is_inf(number: Number) -> bool:
    """Whether a number is ±Inf."""
    return number is Special.INF or number is Special.NEGATIVE_INF


def is_finite(number: Number) -> bool:
    """Whether a number is finite; zeros of either sign are."""
    return not is_nan(number) and not is_inf(number)


def is_negative(number: Number) -> bool:
    """Whether the sign bit is set."""
    return number in NEGATIVE if isinstance(number, Special) else number < 0


def real(number: Number) -> Fraction:
    """A finite number without the sign of zero."""
    return number if isinstance(number, Fraction) else ZERO


def is_zero(number: Number) -> bool:
    """Whether a number is ±0."""
    return is_finite(number) and real(number) == 0


def negated(number: Number) -> Number:
    """The number with its sign bit flipped; NaN is unchanged."""
    return number if is_nan(number) else _signed(not is_negative(number), _magnitude(number))


def times(a: Number, b: Number) -> Number:
    """fl(a·b)."""
    if is_nan(a) or is_nan(b) or (is_inf(a) and is_zero(b)) or (is_zero(a) and is_inf(b)):
        return Special.NAN
    first, second = _magnitude(a), _magnitude(b)
    product = None if first is None or second is None else first * second
    return _signed(is_negative(a) != is_negative(b), product)


def over(a: Number, b: Number) -> Number:
    """fl(a/b)."""
    if is_nan(a) or is_nan(b) or (is_inf(a) and is_inf(b)) or (is_zero(a) and is_zero(b)):
        return Special.NAN
    first, second = _magnitude(a), _magnitude(b)
    if second is None:
        quotient: Magnitude = ZERO
    else:
        quotient = None if first is None or second == 0 else first / second
    return _signed(is_negative(a) != is_negative(b), quotient)


def plus(a: Number, b: Number) -> Number:
    """fl(a + b); zeros of opposite signs, and sums that cancel, give +0."""
    if is_nan(a) or is_nan(b) or (is_inf(a) and is_inf(b) and a is not b):
        return Special.NAN
    if is_inf(a) or is_inf(b):
        return a if is_inf(a) else b
    if a is Special.NEGATIVE_ZERO and b is Special.NEGATIVE_ZERO:
        return a
    return fl(real(a) + real(b))


def minus(a: Number, b: Number) -> Number:
    """fl(a - b)."""
    return plus(a, negated(b))


def nearest_integer(number: Number) -> Number:
    """A number rounded to an integer, ties to even, with its sign; NaN and Inf stay."""
    return _signed(is_negative(number), Fraction(round(abs(real(number))))) if is_finite(number) else number


def product(factors: tuple[Number, ...]) -> Number:
    """The product, rounded after each factor, first to last; 1 without factors (20)."""
    one: Number = ONE
    return reduce(times, factors, one)


def reciprocal(factors: tuple[Number, ...]) -> Number:
    """1 divided by each factor in turn, rounded after each division (25)."""
    one: Number = ONE
    return reduce(over, factors, one)


def _magnitude(number: Number) -> Magnitude:
    return None if is_inf(number) else abs(real(number))


def _signed(negative: bool, magnitude: Magnitude) -> Number:
    if magnitude is None:
        return Special.NEGATIVE_INF if negative else Special.INF
    if magnitude == 0:
        return Special.NEGATIVE_ZERO if negative else ZERO
    return fl(-magnitude if negative else magnitude)
