"""Powers of e and of 2, rounded once to the nearest float64: the values of logarithmic formats.

Decimal arithmetic brackets the power; if both ends of the bracket round to the same float64, that is the nearest one.
If not, digits are added. No power here lies on a tie: it is a power of two or irrational. As a format asks for
thousands of powers, each is made of few: e^(a + b) = e^a · e^b, and 2^(k + r) is the float64 2^r with another exponent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from functools import lru_cache

DIGITS = 28
LOST_DIGITS = 4
"""Digits lost: an error of one unit in the last digit of an argument below 1000 moves a power by 1000 units."""

MAX_KEPT = 1 << 15
"""Cached powers: those of one 16-bit format, whose negative half has the same ones."""

FINE = 1 << 8
"""Numerators that are no multiple of this are split into one that is, and the rest."""

LEAST_NORMAL = -1022
"""Exponent of the least float64 that has all of its bits."""


@lru_cache(maxsize=MAX_KEPT)
def exp(numerator: int, denominator: int) -> float:
    """The float64 nearest to e^(numerator/denominator), for arguments below 1000 in magnitude."""
    fine = numerator % FINE

    def power(context: Context) -> Decimal:
        coarse, rest = (_power(each, denominator, context.prec) for each in (numerator - fine, fine))
        return context.multiply(coarse, rest)

    return _nearest(power)


@lru_cache(maxsize=MAX_KEPT)
def exp2(numerator: int, denominator: int) -> float:
    """The float64 nearest to 2^(numerator/denominator), for exponents from -1074 to below 1024.

    Raises:
        OverflowError: if it is beyond float64.
    """
    whole, rest = divmod(numerator, denominator)
    if whole >= LEAST_NORMAL and whole:
        return math.ldexp(exp2(rest, denominator), whole)

    def power(context: Context) -> Decimal:
        argument = context.divide(Decimal(numerator), Decimal(denominator))
        return context.exp(context.multiply(argument, _ln2(context.prec)))

    return _nearest(power)


@lru_cache(maxsize=MAX_KEPT)
def _power(numerator: int, denominator: int, digits: int) -> Decimal:
    context = Context(prec=digits)
    return context.exp(context.divide(Decimal(numerator), Decimal(denominator)))


@lru_cache(maxsize=MAX_KEPT)
def _ln2(digits: int) -> Decimal:
    return Context(prec=digits).ln(Decimal(2))


def _nearest(power: Callable[[Context], Decimal]) -> float:
    digits = DIGITS
    while True:
        context = Context(prec=digits)
        found = power(context)
        error = context.scaleb(found, LOST_DIGITS - digits)
        low, high = float(context.subtract(found, error)), float(context.add(found, error))
        if low == high:
            return low
        digits *= 2
