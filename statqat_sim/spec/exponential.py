"""Powers of e and of 2, rounded once to the nearest float64: the values of logarithmic formats.

Decimal arithmetic brackets the power; if both ends of the bracket round to the same float64, that is the nearest one.
If not, digits are added. No power here lies on a tie: it is a power of two or irrational.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from functools import lru_cache

DIGITS = 28
LOST_DIGITS = 4
"""Digits lost: an error of one unit in the last digit of an argument below 1000 moves the power by 1000 units."""

MAX_KEPT = 1 << 15
"""Cached powers: those of one 16-bit format, whose negative half has the same ones."""


@lru_cache(maxsize=MAX_KEPT)
def exp(numerator: int, denominator: int) -> float:
    """The float64 nearest to e^(numerator/denominator), for arguments below 1000 in magnitude."""
    return _nearest(lambda context: context.divide(Decimal(numerator), Decimal(denominator)))


@lru_cache(maxsize=MAX_KEPT)
def exp2(numerator: int, denominator: int) -> float:
    """The float64 nearest to 2^(numerator/denominator), for exponents from -1074 to 1024."""
    return _nearest(
        lambda context: context.multiply(context.divide(Decimal(numerator), Decimal(denominator)), _ln2(context.prec))
    )


@lru_cache(maxsize=MAX_KEPT)
def _ln2(digits: int) -> Decimal:
    return Context(prec=digits).ln(Decimal(2))


def _nearest(argument: Callable[[Context], Decimal]) -> float:
    digits = DIGITS
    while True:
        context = Context(prec=digits)
        power = context.exp(argument(context))
        error = context.scaleb(power, LOST_DIGITS - digits)
        low, high = float(context.subtract(power, error)), float(context.add(power, error))
        if low == high:
            return low
        digits *= 2
