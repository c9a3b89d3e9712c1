"""The choice between the two neighbours of an input (13 to 16)."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import floor

from statqat_sim.reference.grid import Grid
from statqat_sim.reference.ties import tie_between
from statqat_sim.spec.encode import EncodePolicy, Rounding


def rounded(target: Grid, policy: EncodePolicy, x: Fraction, low: int, high: int, random: int | None = None) -> int:
    """The rank that x rounds to: one of its neighbouring ranks `low` and `high`, which are equal if x is a value."""
    if policy.rounding.is_stochastic:
        random = _checked(random, policy.random_bits)
        return low if low == high else _drawn(target, policy, x, low, high, random)
    if low == high:
        return low
    side = tie_between(target, policy.tie_domain, low, high).side(x)
    return high if takes_high(policy.rounding, side, *traits(target, low, high)) else low


def traits(target: Grid, low: int, high: int) -> tuple[bool, int, int]:
    """The facts that rounding needs: whether low is nearer zero, the sign of low + high, the nearer one's parity.

    Of -x and x the higher counts as nearer zero.
    """
    below, above = target.value(low), target.value(high)
    balance = below.numerator * above.denominator + above.numerator * below.denominator
    sign = (balance > 0) - (balance < 0)
    return sign > 0, sign, target.parity(low if sign > 0 else high)


@cache
def takes_high(mode: Rounding, side: int, low_is_near: bool, balance: int, parity: int) -> bool:
    """Whether an input between two neighbours, on `side` of their midpoint, rounds to the higher one.

    Parity is that of the neighbour nearer zero: both neighbours of the gap of `flush` have even codes, so a tie there
    is 0 for `nearest_even`, and the smallest normal for `to_odd`. In a codebook whose neighbours straddle zero,
    `toward_zero` takes the smaller magnitude, and of equal magnitudes the higher, as the ties of Definition 15 do.
    """
    near, far = not low_is_near, low_is_near
    match mode:
        case Rounding.TOWARD_NEGATIVE:
            return False
        case Rounding.TOWARD_POSITIVE:
            return True
        case Rounding.TOWARD_ZERO:
            return near
        case Rounding.TO_ODD:
            return near if parity == 1 else far
    if side:
        return side > 0
    match mode:
        case Rounding.NEAREST_EVEN:
            return near if parity == 0 else far
        case Rounding.NEAREST_AWAY:
            return far if balance else True
        case Rounding.NEAREST_ZERO:
            return near
        case Rounding.NEAREST_UP:
            return True
    raise ValueError(f"{mode.value} asks for random bits")


def _drawn(target: Grid, policy: EncodePolicy, x: Fraction, low: int, high: int, random: int) -> int:
    """Stochastic rounding: far if R plus ν, the share of the way from near to far, carries (16)."""
    near, far = (low, high) if traits(target, low, high)[0] else (high, low)
    start, end = target.value(near), target.value(far)
    return far if takes_far(policy.rounding, (x - start) / (end - start), random, policy.random_bits) else near


def takes_far(mode: Rounding, share: Fraction, random: int, random_bits: int) -> bool:
    """Whether ν = `share` becomes 1, by the mode's own formula."""
    one = 1 << random_bits
    match mode:
        case Rounding.STOCHASTIC_A:
            return floor(share * one) + random >= one
        case Rounding.STOCHASTIC_B:
            return floor(share * 2 * one) + 2 * random + 1 >= 2 * one
        case Rounding.STOCHASTIC_C:
            return round(share * one) + random >= one  # round() of a Fraction takes ties to even
    raise ValueError(f"{mode.value} asks for no random bits")


def _checked(random: int | None, random_bits: int) -> int:
    if random is None or random >> random_bits:
        raise ValueError(f"random is {random}; stochastic rounding needs {random_bits} bits: 0 to 2^{random_bits} - 1")
    return random
