"""Order-independent integer reductions (extremes, histogram) of an array or of each row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.layout import FLOAT32, FLOAT64, INFINITY, SIGN
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.source import narrowed, read, widened
from statqat_sim.plan.step import WORD_BITS

SIGN_AND_EXPONENT: Final = 9
MOST_MANTISSA_BITS: Final = 10
"""Mantissa bits of a histogram's bins; with more the counts do not fit the caches."""


class Reducer(StrEnum):
    """How the words of elements are reduced."""

    MAXIMUM = "maximum"  # the maximum of each of the plan's words, or of pairs of words
    HISTOGRAM = "histogram"  # per value of the word's top bits: the count, and the sum of the other bits


@dataclass(frozen=True, slots=True)
class ReductionPlan:
    """The words of each element, and how they are reduced.

    Args:
        element: the plan from stream `x` to the words; for a histogram one word, float32 bits.
        reducer: how the words are reduced.
        bin_bits: the top bits of a word that select a histogram's bin.
        in_pairs: whether a maximum is of 64-bit numbers below 2^63, each of two consecutive words, low word first.

    Raises:
        ValueError: if the element has other streams than `x`, or a histogram has no bins or several words.
    """

    element: CodecPlan
    reducer: Reducer
    bin_bits: int = 0
    in_pairs: bool = False

    def __post_init__(self) -> None:
        if [stream.name for stream in self.element.shape.streams] != ["x"]:
            raise ValueError("a reduction reads stream x alone")
        if self.reducer is Reducer.HISTOGRAM and (len(self.element.shape.outputs) > 1 or self.bin_bits < 1):
            raise ValueError("a histogram has bins for one word of each element")

    @property
    def storage(self) -> Storage:
        """The dtype of the array that is reduced."""
        storage = self.element.shape.streams[0].storage
        assert isinstance(storage, Storage), storage
        return storage

    @property
    def width(self) -> int:
        """The results per row: its maxima, or the bins of a histogram."""
        if self.reducer is Reducer.HISTOGRAM:
            return self.bins
        return len(self.element.shape.outputs) // (2 if self.in_pairs else 1)

    @property
    def bins(self) -> int:
        """The number of a histogram's bins."""
        return 1 << self.bin_bits

    @property
    def shift(self) -> int:
        """Bits of a word below those that select its bin."""
        return WORD_BITS - self.bin_bits

    @property
    def is_identity(self) -> bool:
        """Whether a word is the element itself."""
        return self.storage is Storage.FLOAT32 and len(self.element.shape.steps) == 1

    @property
    def nonfinite(self) -> tuple[slice, slice]:
        """The bins of Inf and NaN of either sign, which are counted, but whose sums are zero."""
        first, sign = INFINITY >> self.shift, SIGN >> self.shift
        return slice(first, sign), slice(sign + first, 2 * sign)


def histogram_plan(storage: Storage, mantissa_bits: int) -> ReductionPlan:
    """The signed log-histogram: bins are a float32's sign, its exponent and its first mantissa bits.

    A bin lies within one octave, so that the sum of the other bits determines the sum of its values. A float64 is first
    converted to float32 by `narrowed`.

    Raises:
        ValueError: unless there are 0 to `MOST_MANTISSA_BITS`.
    """
    if not 0 <= mantissa_bits <= MOST_MANTISSA_BITS:
        raise ValueError(f"mantissa_bits is {mantissa_bits}; allowed: 0 to {MOST_MANTISSA_BITS}")
    builder = Builder()
    real = read(builder, "x", storage)
    if storage is Storage.FLOAT64:
        real = narrowed(real)
    elif storage is Storage.FLOAT16:
        real = widened(real)
    word = real.word if storage in (Storage.FLOAT16, Storage.FLOAT64) else real.signed
    element = builder.finish(word, Storage.UINT32)
    return ReductionPlan(element, Reducer.HISTOGRAM, SIGN_AND_EXPONENT + mantissa_bits)


@lru_cache(maxsize=64)
def maximum_plan(key: CodecPlan) -> ReductionPlan:
    """The largest word of a plan that reads one stream, whatever its name."""
    (stream,) = key.shape.streams
    element = replace(key, shape=replace(key.shape, streams=(replace(stream, name="x"),)))
    return ReductionPlan(element, Reducer.MAXIMUM)


def extremes_plan(storage: Storage) -> ReductionPlan:
    """The largest finite magnitudes below and above zero, exact, as float64 bits."""
    builder = Builder()
    real = read(builder, "x", storage)
    if real.low is None:
        magnitude = widened(real).magnitude
        is_finite, pair = magnitude.lt(INFINITY), _as_float64(magnitude)
    else:
        is_finite, pair = real.magnitude.lt(FLOAT64.infinity >> WORD_BITS), (real.low, real.magnitude)
    is_negative = real.signed >> (WORD_BITS - 1)
    sides = is_finite & is_negative, is_finite & (is_negative ^ 1)
    words = tuple(side.where(word, 0) for side in sides for word in pair)
    return ReductionPlan(builder.finish(words, Storage.UINT32), Reducer.MAXIMUM, in_pairs=True)


def _as_float64(magnitude: Word) -> tuple[Word, Word]:
    """The low and the high word of a finite float32 converted to float64."""
    exponent_step = FLOAT64.mantissa_bits - WORD_BITS
    shift = FLOAT32.mantissa_bits - exponent_step
    is_subnormal = magnitude.lt(FLOAT32.min_normal)
    scaled = magnitude.fmul(magnitude.builder.const(FLOAT32.pattern(2.0**WORD_BITS)))  # exact
    normal = is_subnormal.where(scaled, magnitude)
    rebias = FLOAT64.bias - FLOAT32.bias
    offset = is_subnormal.where((rebias - WORD_BITS) << exponent_step, rebias << exponent_step)
    high = (normal >> shift) + offset
    return normal << (WORD_BITS - shift), magnitude.eq(0).where(0, high)
