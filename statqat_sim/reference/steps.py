"""The oracle's encoder as a step function: where, among all float32 inputs, the code changes.

Every deterministic mode is constant between a value, the midpoint to the next value, and that value; so a handful of
exact boundaries per value says what all 2^32 inputs become.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from operator import attrgetter
from typing import TypeVar

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.exact import (
    FLOAT32_INF,
    FLOAT32_MIN_NORMAL,
    FLOAT32_NAN,
    FLOAT32_SIGN,
    encode,
    encode_number,
    floor_log2,
    grid_of,
    settle,
)
from statqat_sim.reference.grid import Grid, scaled
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.encode import EncodePolicy, NegativeInput, Overflow, Via
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True)
class Step:
    """From the float32 with bits `first` on, away from zero, inputs have this code, until the next step."""

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
        negative = bool(bits & FLOAT32_SIGN)
        if bits & ~FLOAT32_SIGN > FLOAT32_INF:
            return self.negative_nan if negative else self.nan
        steps = self.negative if negative else self.positive
        return steps[bisect_right(steps, bits, key=attrgetter("first")) - 1].code


@dataclass(frozen=True, slots=True)
class _Piece:
    """From this number on, away from zero, itself included or not, inputs have this code."""

    start: Fraction
    inclusive: bool
    code: int


Coded = TypeVar("Coded", Step, _Piece)


def thresholds(format: NumberFormat) -> Steps:
    """The encoder of a format as a step function of the float32 bits.

    Raises:
        UnsupportedError: for formats of more than 16 bits, and for `overflow: wrap`, which never ends to step.
    """
    if format.bits > MAX_TABLE_BITS:
        raise UnsupportedError(f"{format.name}: steps of {format.bits} bits; allowed: up to {MAX_TABLE_BITS} bits")
    if format.encode.overflow is Overflow.WRAP:
        raise UnsupportedError(f"{format.name}: steps of overflow: wrap; allowed: saturate, inf, nan")
    return Steps(
        positive=_steps(format, negative=False),
        negative=_steps(format, negative=True),
        nan=_nan(format, FLOAT32_NAN),
        negative_nan=_nan(format, FLOAT32_SIGN | FLOAT32_NAN),
    )


def _nan(format: NumberFormat, bits: int) -> int | None:
    try:
        return encode(format, bits)
    except ValueError:
        return None


def _steps(format: NumberFormat, negative: bool) -> tuple[Step, ...]:
    sign = FLOAT32_SIGN if negative else 0
    codes = {0: encode(format, sign)}
    for piece in _changes(_pieces(format, negative)):
        first = first_input(format.encode, first_pattern(abs(piece.start), piece.inclusive))
        codes[first] = piece.code  # pieces ascend: of those that begin at one float32, the last one holds
    codes[first_input(format.encode, FLOAT32_INF)] = encode(format, sign | FLOAT32_INF)
    return tuple(_changes(Step(sign | first, code) for first, code in codes.items()))


def _changes(pieces: Iterable[Coded]) -> Iterator[Coded]:
    """Those whose code differs from the one before."""
    code = None
    for piece in pieces:
        if piece.code != code:
            yield piece
        code = piece.code


def _pieces(format: NumberFormat, negative: bool) -> Iterator[_Piece]:
    """The codes of all nonzero rationals of one sign, outward from zero."""
    target, policy = grid_of(format.element), format.encode
    if negative and not target.has_negative:
        if policy.negative_input is NegativeInput.ABS:
            yield from _pieces(format, negative=False)
        else:
            yield _Piece(Fraction(0), False, encode_number(format, Fraction(-1)))
        return
    side = Fraction(-1 if negative else 1)
    ranks = _outward(target, negative)
    inmost, last = target.value(ranks[0]), target.value(ranks[-1])
    if inmost * side > 0:  # a codebook that begins beyond zero
        yield _Piece(Fraction(0), False, settle(target, policy, side, ranks[0], ranks[0]))
    for near, far in pairwise(ranks):
        yield from _between(target, policy, negative, near, far)
    yield _Piece(last if last * side > 0 else Fraction(0), False, settle(target, policy, side, ranks[-1], ranks[-1]))


def _outward(target: Grid, negative: bool) -> range:
    """Ranks from the last one at or before zero to the successor, or to the end of a grid without one."""
    low, high = target.neighbours(Fraction(0))
    if negative:
        return range(high, target.lowest - target.has_successor - 1, -1)
    return range(low, target.highest + target.has_successor + 1)


def _between(target: Grid, policy: EncodePolicy, negative: bool, near: int, far: int) -> Iterator[_Piece]:
    """The codes of this sign's inputs beyond `near` up to `far`, itself included; zero may lie between the two."""
    low, high = (far, near) if negative else (near, far)
    start, end = target.value(near), target.value(far)
    middle = (start + end) / 2
    if (start > 0) if negative else (start < 0):
        start = Fraction(0)
    if (middle < start) if negative else (middle > start):
        yield _Piece(start, False, settle(target, policy, (start + middle) / 2, low, high))
        yield _Piece(middle, True, settle(target, policy, middle, low, high))
        start = middle
    yield _Piece(start, False, settle(target, policy, (start + end) / 2, low, high))
    yield _Piece(end, True, settle(target, policy, end, far, far))


def first_pattern(start: Fraction, inclusive: bool) -> int:
    """Bits of the least float32 at or above `start` >= 0, or above it if not `inclusive`; at most those of Inf."""
    if start == 0:
        return 0 if inclusive else 1
    binade = max(floor_log2(start), -126)
    significand, rest = divmod(start, scaled(1, binade - 23))
    below = (binade + 126 << 23) + significand
    return min(below if inclusive and not rest else below + 1, FLOAT32_INF)


def first_input(policy: EncodePolicy, pattern: int) -> int:
    """Bits of the least magnitude that `flush_inputs` and `via` turn into `pattern` or a larger one."""
    if pattern and policy.via is Via.BFLOAT16:
        upper = -(-pattern >> 16)
        # half way below `upper`; the tie goes to the even pattern
        pattern = (upper << 16) - 0x8000 + (upper & 1)
    return max(pattern, FLOAT32_MIN_NORMAL) if pattern and policy.flush_inputs else pattern
