"""Rounding, in its two forms: a step of a plan, and the exact boundary between two neighbours.

A rounding mode is one case in `round_up`, `boundary` and `boundary_around_zero`, and nothing anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from statqat_sim.plan.builder import Word
from statqat_sim.plan.float32 import ceil_magnitude, floor_magnitude
from statqat_sim.spec.encode import Rounding


@dataclass(frozen=True, slots=True)
class Cut:
    """A magnitude cut off at the target's step: what is kept, and what the rest is to half a step.

    `rest` and `half` are in one unit, which orders them as unsigned words: integers, or float32 words. Between two
    neighbouring values of `rest` no other value fits, so that `rest + 1 > half` says `rest >= half`.
    """

    kept: Word
    rest: Word
    half: Word


def shift_right(significand: Word, shift: Word) -> Cut:
    """Cut `shift` (below 32) bits off; `significand` must be below 2^31 unless `shift` is 0."""
    kept = significand >> shift
    dropped = significand - (kept << shift)
    return Cut(kept, dropped + dropped, significand.builder.const(1) << shift)


def round_by_sum(mode: Rounding, magnitude: Word, magic: Word, half: Word, negative: Word) -> Word:
    """The float `magic` + magnitude, rounded at the step of `magic` in any mode; its low bits count steps.

    The FPU rounds to nearest even. Where another mode is asked for, its result is corrected by the exact remainder.

    Args:
        mode: the rounding mode.
        magnitude: a float32 word without sign; the sum must stay in the binade of `magic`.
        magic: a power of two whose step is the target's.
        half: half of that step, as a float32 word.
        negative: 1 for negative inputs.
    """
    nearest = magnitude.fadd(magic)
    if mode is Rounding.NEAREST_EVEN:
        return nearest
    floor = nearest - magnitude.lt(nearest.fsub(magic))
    cut = Cut(floor, magnitude.fsub(floor.fsub(magic)), half)
    return floor + round_up(mode, cut, floor & 1, negative)


def round_up(mode: Rounding, cut: Cut, odd: Word, negative: Word) -> Word:
    """1 where the magnitude takes the neighbour farther from zero.

    Args:
        mode: the rounding mode.
        cut: the magnitude at the target's step.
        odd: parity of the neighbour nearer zero.
        negative: 1 for negative inputs.
    """
    builder = cut.kept.builder
    inexact = builder.const(0).lt(cut.rest)

    def above_half(tie: Word) -> Word:
        return cut.half.lt(cut.rest + tie)

    match mode:
        case Rounding.NEAREST_EVEN:
            return above_half(odd)
        case Rounding.NEAREST_AWAY:
            return above_half(builder.const(1))
        case Rounding.NEAREST_ZERO:
            return above_half(builder.const(0))
        case Rounding.NEAREST_UP:
            return above_half(negative ^ 1)
        case Rounding.TOWARD_ZERO:
            return builder.const(0)
        case Rounding.TOWARD_POSITIVE:
            return inexact & (negative ^ 1)
        case Rounding.TOWARD_NEGATIVE:
            return inexact & negative
        case Rounding.TO_ODD:
            return inexact & (odd ^ 1)


@dataclass(frozen=True, slots=True)
class Boundary:
    """Magnitudes above `value`, and `value` itself if `included`, take the neighbour farther from zero."""

    value: Fraction
    included: bool

    @property
    def first(self) -> int:
        """The least float32 magnitude on the far side."""
        return ceil_magnitude(self.value) if self.included else floor_magnitude(self.value) + 1


def boundary(mode: Rounding, near: Fraction, far: Fraction, near_is_odd: bool, negative: bool) -> Boundary:
    """Where magnitudes between the neighbours `near` < `far` (both at least 0) change sides."""
    middle = Boundary((near + far) / 2, included=True)
    beyond_middle = Boundary((near + far) / 2, included=False)
    always, never = Boundary(near, included=False), Boundary(far, included=True)
    match mode:
        case Rounding.NEAREST_EVEN:
            return middle if near_is_odd else beyond_middle
        case Rounding.NEAREST_AWAY:
            return middle
        case Rounding.NEAREST_ZERO:
            return beyond_middle
        case Rounding.NEAREST_UP:
            return beyond_middle if negative else middle
        case Rounding.TOWARD_ZERO:
            return never
        case Rounding.TOWARD_POSITIVE:
            return never if negative else always
        case Rounding.TOWARD_NEGATIVE:
            return always if negative else never
        case Rounding.TO_ODD:
            return never if near_is_odd else always


def stops_at_end(mode: Rounding, largest_is_odd: bool, negative: bool) -> bool:
    """Whether a mode never leaves the range on this side (IEEE 754-2019, section 7.4)."""
    return boundary(mode, Fraction(0), Fraction(1), largest_is_odd, negative) == Boundary(Fraction(1), included=True)


def boundary_around_zero(mode: Rounding, below: Fraction, above: Fraction, below_is_odd: bool) -> tuple[Fraction, bool]:
    """The boundary between neighbours `below` < 0 < `above` on the real line: (value, whether it goes up).

    Only codebooks without a zero have such neighbours.
    """
    middle = (below + above) / 2
    match mode:
        case Rounding.NEAREST_EVEN:
            return middle, below_is_odd
        case Rounding.NEAREST_AWAY:
            return middle, above >= -below
        case Rounding.NEAREST_ZERO:
            return middle, above <= -below
        case Rounding.NEAREST_UP:
            return middle, True
        case Rounding.TOWARD_ZERO:
            return (below, False) if above <= -below else (above, True)
        case Rounding.TOWARD_POSITIVE:
            return below, False
        case Rounding.TOWARD_NEGATIVE:
            return above, True
        case Rounding.TO_ODD:
            return (above, True) if below_is_odd else (below, False)
