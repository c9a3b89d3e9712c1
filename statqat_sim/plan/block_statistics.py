"""The statistics of blocks: plans of keys whose maximum is a block's statistic."""

from __future__ import annotations

from typing import Final

from statqat_sim.plan.block import INDEX, Statistic
from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.layout import INFINITY, MAGNITUDE, SIGN
from statqat_sim.plan.program import Storage
from statqat_sim.plan.step import WORD

AMAX: Final = "amax"
PEAK: Final = "peak"
LOWEST: Final = "lowest"
HIGHEST: Final = "highest"

LAST_INDEX: Final = (1 << 30) - 1
"""The largest index of an element in a block with a `peak` statistic."""


def amax(of: str, *, finite: bool) -> Statistic:
    """The largest magnitude as float32, of all elements, NaN and Inf included, or of the finite ones."""
    builder = Builder()
    magnitude = builder.input(of, Storage.FLOAT32) & MAGNITUDE
    key = magnitude.lt(INFINITY).where(magnitude, 0) if finite else magnitude
    return Statistic(AMAX, of, builder.finish(key, Storage.UINT32))


def peak(of: str) -> Statistic:
    """The first element of largest magnitude: its index, counted from the end, and its sign in the lowest bit."""
    builder = Builder()
    word, largest = builder.input(of, Storage.FLOAT32), builder.input(AMAX, Storage.UINT32)
    index = builder.input(INDEX, Storage.UINT32)
    key = (builder.const(LAST_INDEX) - index) << 1 | word >> 31
    return Statistic(PEAK, of, builder.finish((word & MAGNITUDE).eq(largest).where(key, 0), Storage.UINT32))


def highest(of: str) -> Statistic:
    """The largest finite element, as an ordered key."""
    return _extreme(HIGHEST, of, 0)


def lowest(of: str) -> Statistic:
    """The smallest finite element, as an inverted ordered key."""
    return _extreme(LOWEST, of, WORD)


def _extreme(name: str, of: str, inverse: int) -> Statistic:
    builder = Builder()
    word = builder.input(of, Storage.FLOAT32)
    key = ordered(word) ^ inverse if inverse else ordered(word)
    is_finite = (word & MAGNITUDE).lt(INFINITY)
    return Statistic(name, of, builder.finish(is_finite.where(key, 0), Storage.UINT32))


def peak_value(amax: Word, peak: Word) -> Word:
    """The signed float32 of the element that `peak` identifies."""
    return amax | (peak << 31)


def extreme_value(key: Word, *, inverse: bool) -> Word:
    """The float32 of an ordered key; 0 for a block without finite elements."""
    return key.where(unordered(key ^ WORD if inverse else key), 0)


def ordered(word: Word) -> Word:
    """Map float32 bits to unsigned words that compare as the floats do."""
    return word ^ word.lt(SIGN).where(SIGN, WORD)


def unordered(word: Word) -> Word:
    """The inverse of `ordered`."""
    return word ^ word.lt(SIGN).where(WORD, SIGN)
