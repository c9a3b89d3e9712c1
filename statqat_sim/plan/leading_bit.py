"""The leading bit of a word: one exact float operation, or five integer ones."""

from __future__ import annotations

from typing import Final

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import BIAS, MANTISSA_BITS

ONE_AS_STEP: Final = (BIAS + MANTISSA_BITS) << MANTISSA_BITS
"""The float32 whose step is 1: 2^23."""


def leading_bit(word: Word) -> Word:
    """Index of the highest set bit of a nonzero word."""
    return _by_halves(word) if word.builder.lean else _by_conversion(word)


def _by_conversion(word: Word) -> Word:
    """The exponent of its exact conversion to float."""
    builder = word.builder
    high = word >> 16
    part = high.where(high, word)
    exponent = (part | ONE_AS_STEP).fsub(builder.const(ONE_AS_STEP)) >> MANTISSA_BITS
    return exponent - high.where(builder.const(BIAS - 16), BIAS)


def _by_halves(word: Word) -> Word:
    place = word.builder.const(0)
    for half in (16, 8, 4, 2, 1):
        high = word >> half
        place = place | high.where(half, 0)
        word = high.where(high, word)
    return place
