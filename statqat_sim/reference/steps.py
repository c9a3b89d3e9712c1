"""The oracle's encoder as a step function: the float32 inputs at which the code changes.

Between two neighbouring values the result of every deterministic mode changes once: just beyond the first, at the
midpoint, just beyond it, or at the second. So one exact boundary per value determines the codes of all 2^32 inputs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import isqrt
from operator import attrgetter

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.exact import encode, encode_number, grid_of
from statqat_sim.reference.grid import Grid
from statqat_sim.reference.ieee import FLOAT32, floor_log2
from statqat_sim.reference.policies import code_of_rank
from statqat_sim.reference.rounding import takes_high, traits
from statqat_sim.reference.ties import tie_between
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.encode import EncodePolicy, NegativeInput, Overflow, Rounding, Via
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True)
class Step:
    """Inputs from the float32 with bits `first` on, away from zero, have this code, up to the next step."""

    first: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Ascending steps that cover 0 … Inf and -0 … -Inf; neighbouring steps differ in their codes.

    `nan` and `negative_nan` are the codes of all NaN inputs with that sign, None where `nan_input: error` refuses them.
    """

    positive: tuple[Step, ...]
    negative: tuple[Step, ...]
    nan: int | None
    negative_nan: int | None

    def code(self, bits: int) -> int | None:
        """The code of the float32 with these bits."""
        negative = bool(bits & FLOAT32.sign)
        if bits & ~FLOAT32.sign > FLOAT32.inf:
            return self.negative_nan if negative else self.nan
        steps = self.negative if negative else self.positive
        return steps[bisect_right(steps, bits, key=attrgetter("first")) - 1].code


@dataclass(frozen=True, slots=True)
class Boundary:
    """Magnitudes from `value` >= 0 on, included or not; if it `is_square`, from its square root on."""

    value: Fraction
    inclusive: bool
    is_square: bool = False


BEYOND_ZERO = Boundary(Fraction(0), inclusive=False)


def thresholds(format: NumberFormat) -> Steps:
    """The encoder of a format as a step function of the float32 bits.

    Raises:
        UnsupportedError: for formats of more than 16 bits, for stochastic rounding, and for `overflow: wrap`, which
            never ends to step.
    """
    if format.bits > MAX_TABLE_BITS:
        raise UnsupportedError(f"{format.name}: steps of {format.bits} bits; allowed: up to {MAX_TABLE_BITS} bits")
    if format.encode.overflow is Overflow.WRAP:
        raise UnsupportedError(f"{format.name}: steps of overflow: wrap; allowed: saturate, inf, nan")
    if format.encode.rounding.is_stochastic:
        allowed = ", ".join(mode.value for mode in Rounding if not mode.is_stochastic)
        raise UnsupportedError(f"{format.name}: steps of rounding: {format.encode.rounding.value}; allowed: {allowed}")
    return Steps(
        positive=_steps(format, negative=False),
        negative=_steps(format, negative=True),
        nan=_nan(format, FLOAT32.nan),
        negative_nan=_nan(format, FLOAT32.sign | FLOAT32.nan),
    )


def _nan(format: NumberFormat, bits: int) -> int | None:
    try:
        return encode(format, bits)
    except ValueError:
        return None


def _steps(format: NumberFormat, negative: bool) -> tuple[Step, ...]:
    sign = FLOAT32.sign if negative else 0
    codes = {0: encode(format, sign)}
    for boundary, code in _pieces(format, negative):
        # boundaries ascend: of several before the same float32, the last one counts
        codes[first_input(format.encode, first_pattern(boundary))] = code
    codes[first_input(format.encode, FLOAT32.inf)] = encode(format, sign | FLOAT32.inf)
    steps = [Step(sign | first, code) for first, code in codes.items()]
    return (steps[0], *(step for before, step in pairwise(steps) if step.code != before.code))


def _pieces(format: NumberFormat, negative: bool) -> Iterator[tuple[Boundary, int]]:
    """The codes of all nonzero rationals of one sign, with the boundary where each begins, outward from zero."""
    target, policy = grid_of(format.element), format.encode
    if negative and not target.has_negative:
        if policy.negative_input is NegativeInput.ABS:
            yield from _pieces(format, negative=False)
        else:
            yield BEYOND_ZERO, encode_number(format, Fraction(-1))
        return
    ranks = _outward(target, negative)
    yield BEYOND_ZERO, code_of_rank(target, policy, ranks[0], negative)
    for here, next_rank in pairwise(ranks):
        boundary = _boundary(target, policy, here, next_rank, negative)
        yield boundary, code_of_rank(target, policy, next_rank, negative)


def _outward(target: Grid, negative: bool) -> range:
    """Ranks from the last one at or before zero to the successor, or to the end of a grid without one."""
    low, high = target.neighbours(Fraction(0))
    if negative:
        return range(high, target.lowest - target.has_successor - 1, -1)
    return range(low, target.highest + target.has_successor + 1)


def _boundary(target: Grid, policy: EncodePolicy, here: int, next_rank: int, negative: bool) -> Boundary:
    """The boundary, outward from one rank to the next, from which inputs round to the next; zero may lie between."""
    low, high = (next_rank, here) if negative else (here, next_rank)
    match _stays(policy.rounding, negative, *traits(target, low, high)):
        case 0:
            return _outside(target.value(here), negative, inclusive=False)
        case 3:
            return _outside(target.value(next_rank), negative, inclusive=True)
        case stays:
            tie = tie_between(target, policy.tie_domain, low, high)
            return _outside(tie.value, negative, inclusive=stays == 1, is_square=tie.is_square)


@cache
def _stays(mode: Rounding, negative: bool, low_is_near: bool, balance: int, parity: int) -> int:
    """At how many of three places, before, at and beyond the midpoint, inputs do not round to the next rank."""
    return sum(takes_high(mode, side, low_is_near, balance, parity) == negative for side in (-1, 0, 1))


def _outside(value: Fraction, negative: bool, inclusive: bool, is_square: bool = False) -> Boundary:
    """The boundary as a magnitude; if it lies on the other side of zero, the beginning of this side."""
    if value == 0 or (value < 0) != negative:
        return BEYOND_ZERO
    return Boundary(-value if negative else value, inclusive, is_square)


def first_pattern(start: Boundary) -> int:
    """Bits of the least float32 on or beyond a boundary; at most those of Inf."""
    if start.value == 0:
        return 0 if start.inclusive else 1
    root = 2 if start.is_square else 1
    binade = max(floor_log2(start.value) // root, FLOAT32.emin)
    quantum = root * (binade - FLOAT32.mantissa_bits)
    numerator = start.value.numerator << max(-quantum, 0)
    significand, rest = divmod(numerator, start.value.denominator << max(quantum, 0))
    if start.is_square:
        whole, significand = significand, isqrt(significand)
        rest += whole - significand**2
    below = (binade - FLOAT32.emin << FLOAT32.mantissa_bits) + significand
    return min(below if start.inclusive and not rest else below + 1, FLOAT32.inf)


def first_input(policy: EncodePolicy, pattern: int) -> int:
    """Bits of the least magnitude that `flush_inputs` and `via` turn into `pattern` or a larger one."""
    if pattern and policy.via is Via.BFLOAT16:
        upper = -(-pattern >> 16)
        # half way below `upper`; the tie goes to the even pattern
        pattern = (upper << 16) - 0x8000 + (upper & 1)
    return max(pattern, FLOAT32.min_normal) if pattern and policy.flush_inputs else pattern
