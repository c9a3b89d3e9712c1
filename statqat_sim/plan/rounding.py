"""Rounding, in its two forms: a step of a plan, and the exact boundary between two neighbours.

A deterministic mode is one case in `round_up`, `boundary` and `boundary_around_zero`; for the nearest ones, and for
`toward_zero`, `round_by_sum` has a shorter way. A stochastic mode is the deterministic one that rounds the fraction to
the random bits' width: `FRACTION_MODES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import MAGNITUDE, SIGN, Layout
from statqat_sim.spec.encode import Rounding

FRACTION_MODES: Final = {
    Rounding.STOCHASTIC_A: Rounding.TOWARD_ZERO,
    Rounding.STOCHASTIC_B: Rounding.NEAREST_AWAY,
    Rounding.STOCHASTIC_C: Rounding.NEAREST_EVEN,
}
"""How the fraction between two neighbours is rounded to the width of the random bits that it is compared with."""


@dataclass(frozen=True, slots=True)
class Draw:
    """An element's random bits: an integer below 2^bits."""

    word: Word
    bits: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A magnitude truncated at the target's step: the bits kept, and the rest, to compare with half a step.

    `rest` and `half` are unsigned words in the same unit: integers, or float32 words. Neighbouring values of `rest`
    are neighbouring words, so that `rest + 1 > half` means `rest >= half`.
    """

    kept: Word
    rest: Word
    half: Word


@dataclass(frozen=True, slots=True)
class LongCut:
    """A magnitude truncated at the target's step, with every bit of the rest.

    `fraction` counts 2^-32 steps; `more` is the fraction of one of these, in the same unit, its last bit sticky.
    """

    kept: Word
    fraction: Word
    more: Word

    def rounded_up(self, mode: Rounding, odd: Word, negative: Word, draw: Draw | None) -> Word:
        """1 where the magnitude is rounded to the neighbour farther from zero, in any mode."""
        if draw is None:
            return round_up(mode, _short(self.kept, self.fraction, self.more), odd, negative)
        whole, part = _split(self.fraction, self.more, draw.bits)
        up = round_up(FRACTION_MODES[mode], part, whole & 1, negative)
        limit = _ones(draw) - draw.word
        return limit.lt(whole) | (limit.eq(whole) & up)


def _short(kept: Word, fraction: Word, more: Word) -> Cut:
    """The rest in 31 bits, the last of them sticky."""
    return Cut(kept, (fraction >> 1) | (fraction & 1) | more.min(1), kept.builder.const(1 << 30))


def _split(fraction: Word, more: Word, bits: int) -> tuple[Word, Cut]:
    """The first `bits` bits of a fraction, and the cut for rounding the fraction to them."""
    if bits == 32:
        return fraction, _short(fraction, more, more.builder.const(0))
    whole = fraction >> (32 - bits)
    return whole, _short(whole, fraction << bits, more)


def _ones(draw: Draw) -> Word:
    return draw.word.builder.const((1 << draw.bits) - 1)


def shift_right(significand: Word, shift: Word) -> Cut:
    """Cut `shift` (below 32) bits off; `significand` must be below 2^31 unless `shift` is 0."""
    step = significand.builder.const(1) << shift
    dropped = significand & (step - 1)
    return Cut(significand >> shift, dropped + dropped, step)


def round_by_sum(
    mode: Rounding, magnitude: Word, magic: Word, half: Word, negative: Word, draw: Draw | None = None
) -> Word:
    """The float `magic` + magnitude, rounded at the ulp of `magic` in any mode; its low bits count steps.

    The FPU rounds to nearest even; for other modes its result is corrected by the exact remainder: the nearest ones
    differ in ties, and for the others it matters only whether there is a remainder. Stochastic modes round at a step
    that is finer by the width of the random bits, and add these: the carry is the result.

    Args:
        mode: the rounding mode.
        magnitude: a float32 word without sign; the sum must stay in the binade of `magic`, or of the finer magic.
        magic: a power of two whose step is the target's.
        half: half of that step, as a float32 word.
        negative: 1 for negative inputs.
        draw: random bits, for a stochastic mode.
    """
    if draw is not None:
        finer = draw.bits << 23
        fine = round_by_sum(FRACTION_MODES[mode], magnitude, magic - finer, half - finer, negative)
        return magic + ((fine - (magic - finer) + draw.word) >> draw.bits)
    nearest = magnitude.fadd(magic)
    if mode is Rounding.NEAREST_EVEN:
        return nearest
    rounded = nearest.fsub(magic)
    if mode is Rounding.TOWARD_ZERO:
        return nearest - magnitude.lt(rounded)
    rest = magnitude.fsub(rounded)  # exact, from minus half a step to half a step
    match mode:
        case Rounding.NEAREST_AWAY:
            return nearest + rest.eq(half)
        case Rounding.NEAREST_ZERO:
            return nearest - rest.eq(half | SIGN)
        case Rounding.NEAREST_UP:
            return negative.where(nearest - rest.eq(half | SIGN), nearest + rest.eq(half))
    floor = nearest - (rest >> 31)
    return floor + round_up(mode, Cut(floor, rest & MAGNITUDE, half), floor & 1, negative)


def round_up(mode: Rounding, cut: Cut, odd: Word, negative: Word) -> Word:
    """1 where the magnitude is rounded to the neighbour farther from zero.

    Args:
        mode: a deterministic rounding mode.
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
        case _:
            raise ValueError(f"{mode.value} is not deterministic")


@dataclass(frozen=True, slots=True)
class Boundary:
    """Magnitudes above `value`, and `value` itself if `included`, are rounded to the neighbour farther from zero."""

    value: Fraction
    included: bool

    def first(self, layout: Layout) -> int:
        """The least magnitude of this layout that is rounded up."""
        return layout.ceil_magnitude(self.value) if self.included else layout.floor_magnitude(self.value) + 1


def boundary(
    mode: Rounding, near: Fraction, far: Fraction, near_is_odd: bool, negative: bool, tie: Fraction | None = None
) -> Boundary:
    """The rounding boundary between neighbours 0 <= `near` < `far`; `tie`: their midpoint, if it is not half way."""
    middle = Boundary((near + far) / 2 if tie is None else tie, included=True)
    beyond_middle = Boundary(middle.value, included=False)
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
        case _:
            raise ValueError(f"{mode.value} is not deterministic")


def stops_at_end(mode: Rounding, largest_is_odd: bool, negative: bool) -> bool:
    """Whether a mode never overflows on this side (IEEE 754-2019, section 7.4)."""
    if mode.is_stochastic:
        return False
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
        case _:
            raise ValueError(f"{mode.value} is not deterministic")
