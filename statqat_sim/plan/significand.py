"""An input's significand in 64 bits, which can be cut at any step without losing bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import MANTISSA_BITS
from statqat_sim.plan.leading_bit import leading_bit
from statqat_sim.plan.rounding import LongCut
from statqat_sim.plan.source import Source
from statqat_sim.plan.step import WORD_BITS

TOP: Final = 63
"""The position of a normal number's leading bit."""

LIFT: Final = 4096 + 1074 + TOP
"""Added to exponents to keep them positive: covers the largest bias of a format and the smallest float64."""

MOST_DROPPED: Final = 4 * WORD_BITS - 1
"""Dropping more bits does not change the result."""

ALL_BITS: Final = MANTISSA_BITS + 2
"""Dropping so many bits of a short significand, or more, leaves less than half a step."""

Window: TypeAlias = tuple[Word, Word, Word, Word]
"""Words of a long bit string around a cut: the word above, the word of the cut, and two below."""


@dataclass(frozen=True, slots=True)
class Significand:
    """The magnitude (high·2^32 + low)·2^(exponent - LIFT - 63)."""

    exponent: Word
    high: Word
    low: Word

    def cut(self, drop: Word) -> LongCut:
        """The significand without its `drop` lowest bits; `drop` is at least 32."""
        return _cut(self._windows()[2:], (drop - WORD_BITS).min(MOST_DROPPED - WORD_BITS))

    def cut_wrapping(self, drop: Word) -> LongCut:
        """The significand divided by 2^(drop - 32), which may be below 1, modulo 2^32."""
        return _cut(self._windows(), drop.min(MOST_DROPPED + WORD_BITS))

    def _windows(self) -> list[Window]:
        """Windows for cuts in any of five words: one below the significand, its own two, and two above it."""
        zero, high, low = self.high.builder.const(0), self.high, self.low
        return [
            (low, zero, zero, zero),
            (high, low, zero, zero),
            (zero, high, low, zero),
            (zero, zero, high, low),
            (zero, zero, zero, high | low.min(1)),
        ]


def _cut(windows: list[Window], place: Word) -> LongCut:
    """The cut at bit `place`, counted from the first window's lowest bit."""
    index, shift = place >> 5, place & 31
    above, at, below, rest = windows[-1]
    for number in reversed(range(len(windows) - 1)):
        here = index.eq(number)
        above, at, below, rest = (
            here.where(mine, other) for mine, other in zip(windows[number], (above, at, below, rest), strict=True)
        )

    def joined(left: Word, right: Word) -> Word:
        """32 bits from the end of `left` and the beginning of `right`."""
        return (right >> shift) | ((left << 1) << (shift ^ 31))

    lost = (rest << 1) << (shift ^ 31)
    return LongCut(joined(above, at), joined(at, below), joined(below, rest) | lost.min(1))


def has_short_significand(source: Source, bits: int) -> bool:
    """Whether an input's significand fits into a word from which a target of so many bits can be cut."""
    return source.low is None and source.draw is None and bits <= source.layout.mantissa_bits == MANTISSA_BITS


def short_significand(source: Source) -> tuple[Word, Word]:
    """The exponent field of a source of one word, at least 1, and the significand, whose last bit is bit 0."""
    field = source.magnitude >> MANTISSA_BITS
    fraction = source.magnitude & ((1 << MANTISSA_BITS) - 1)
    return field.max(1), (field.min(1) << MANTISSA_BITS) | fraction


def significand(source: Source, emin: int) -> Significand:
    """The significand of a source, normalised if the target's first binade lies below the source's.

    Otherwise the significand of a subnormal has the exponent of the first binade, and no leading bit.
    """
    layout, builder = source.layout, source.sign.builder
    bits_in_word = layout.mantissa_bits - (0 if source.low is None else WORD_BITS)
    field = source.magnitude >> bits_in_word
    fraction = source.magnitude & ((1 << bits_in_word) - 1)
    high, low = (field.min(1) << 31) | (fraction << (31 - bits_in_word)), builder.const(0)
    if source.low is not None:
        high, low = high | (source.low >> (bits_in_word + 1)), source.low << (31 - bits_in_word)
    found = Significand(field.max(1) + (LIFT - layout.bias), high, low)
    return found if emin >= layout.emin else _normalised(found)


def _normalised(found: Significand) -> Significand:
    """Shift the leading bit to `TOP`; 0 stays 0, with a meaningless exponent."""
    builder = found.high.builder
    high, low = found.high.where(found.high, found.low), found.high.where(found.low, 0)
    skipped = found.high.where(builder.const(0), WORD_BITS)
    shift = (builder.const(31) - leading_bit(high)) & 31
    joined = (high << shift) | ((low >> 1) >> (shift ^ 31))
    return Significand(found.exponent - skipped - shift, joined, low << shift)
