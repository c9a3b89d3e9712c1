"""Shared by all encoders: splitting an input into parts according to the policies, and the handling of NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.layout import (
    ALIGNED_FLOAT16,
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INFINITY,
    LARGEST,
    MAGNITUDE,
    SIGN,
    Layout,
    power_of_two,
)
from statqat_sim.plan.leading_bit import leading_bit
from statqat_sim.plan.program import Storage
from statqat_sim.plan.rounding import Draw
from statqat_sim.plan.step import WORD_BITS
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy, NanInput, NegativeInput
from statqat_sim.spec.listed import ListedElement

LAYOUTS: Final = {
    Storage.FLOAT16: FLOAT16,
    Storage.BFLOAT16: BFLOAT16,
    Storage.FLOAT32: FLOAT32,
    Storage.FLOAT64: FLOAT64,
}
"""The layouts of the floats that encoders read."""


@dataclass(frozen=True, slots=True)
class Real:
    """The bits of a float32 or an aligned float16 in one word, or of a float64 in two, with the sign apart."""

    signed: Word  # bit 31 is the sign; ignore the others
    magnitude: Word  # the high word of a float64
    low: Word | None = None  # the low word of a float64
    layout: Layout = FLOAT32

    @classmethod
    def of(cls, word: Word, low: Word | None = None) -> Real:
        """From the bits of a float32 or float64, sign included."""
        return cls(word, word & MAGNITUDE, low, FLOAT32 if low is None else FLOAT64)

    @property
    def word(self) -> Word:
        """The float32 with its sign."""
        return self.magnitude | (self.signed & SIGN)


def read(builder: Builder, name: str, storage: Storage) -> Real:
    """Read the next stream; bfloat16 is widened to float32."""
    if storage is Storage.FLOAT64:
        return Real.of(*builder.input_pair(name, storage))
    word = builder.input(name, storage)
    match storage:
        case Storage.FLOAT16:
            signed = word << 16
            shift = FLOAT32.exponent_bits - FLOAT16.exponent_bits
            return Real(signed, (signed & MAGNITUDE) >> shift, layout=ALIGNED_FLOAT16)
        case Storage.BFLOAT16:
            return Real.of(word << 16)
    return Real.of(word)


def widened(real: Real) -> Real:
    """An aligned float16 converted to float32; others are unchanged."""
    if real.layout is not ALIGNED_FLOAT16:
        return real
    value = to_float32_exponents(real.magnitude)
    magnitude = real.magnitude.lt(ALIGNED_FLOAT16.infinity).where(value, value | INFINITY)
    return Real(real.signed, magnitude)


def to_float32_exponents(word: Word) -> Word:
    """A finite, aligned float16 as float32, by a product that is exact for subnormals too."""
    rebias = FLOAT32.bias - ALIGNED_FLOAT16.bias
    if word.builder.lean:
        return _with_float32_exponents(word, rebias)
    return word.fmul(word.builder.const((rebias + FLOAT32.bias) << FLOAT32.mantissa_bits))


def _with_float32_exponents(word: Word, rebias: int) -> Word:
    """The same with integers: the leading bit of a subnormal moves to the place of the hidden one."""
    shift = (word.builder.const(FLOAT32.mantissa_bits) - leading_bit(word)) & 31
    subnormal = (word << shift) + ((word.builder.const(rebias) - shift) << FLOAT32.mantissa_bits)
    is_normal = word >> FLOAT32.mantissa_bits
    return is_normal.where(word + (rebias << FLOAT32.mantissa_bits), word.where(subnormal, 0))


def flushed(real: Real, layout: Layout) -> Real:
    """`real` with the subnormals of `layout`, its original layout, flushed to ±0."""
    least = real.layout.ceil_magnitude(power_of_two(layout.emin))
    tiny = real.magnitude.lt(least if real.low is None else least >> WORD_BITS)
    low = None if real.low is None else tiny.where(0, real.low)
    return Real(real.signed, tiny.where(0, real.magnitude), low, real.layout)


def narrowed(real: Real) -> Real:
    """A float64 rounded to odd as float32: it stays on its side of every normal float32 with an even last bit.

    Nonzero magnitudes below the normal float32 become the least magnitude, those above the finite ones the largest.
    """
    assert real.low is not None
    builder, high, low = real.signed.builder, real.magnitude, real.low
    spare = FLOAT32.mantissa_bits + WORD_BITS - FLOAT64.mantissa_bits
    rebias = (FLOAT64.bias - FLOAT32.bias) << (FLOAT32.mantissa_bits - spare)
    least, beyond = rebias + (1 << 20), rebias + (0xFF << 20)
    top, sticky = builder.const(FLOAT64.infinity >> WORD_BITS), high | low.min(1)
    normal = ((high - rebias) << spare) | (low >> (WORD_BITS - spare)) | (low << spare).min(1)
    special = sticky.lt(top).where(LARGEST, top.lt(sticky) + INFINITY)
    finite = high.lt(least).where((high | low).min(1), normal)
    return Real(real.signed, high.lt(beyond).where(finite, special))


@dataclass(frozen=True, slots=True)
class Source:
    """An input after its policies have been applied.

    The magnitude of a NaN is meaningless: encoders select by `is_nan` at the end.
    """

    real: Real
    sign: Word  # bit 31; 0 if the format has one sign only
    magnitude: Word  # a float32's, or the high word of a float64's
    low: Word | None  # the low word of a float64's
    is_nan: Word
    signs: tuple[bool, ...]  # remaining signs of inputs: False for positive, True for negative
    below_zero: Word | None  # inputs with a code of their own under `negative_input`: NaN, or the smallest
    draw: Draw | None  # random bits, for stochastic rounding

    @property
    def layout(self) -> Layout:
        return self.real.layout

    @property
    def negative(self) -> Word:
        """1 for a negative input."""
        return self.sign >> 31

    @property
    def nonzero(self) -> Word:
        """A word that is 0 only for zero."""
        return self.magnitude if self.low is None else self.magnitude | self.low

    @property
    def is_infinite(self) -> Word:
        if self.low is None:
            return self.magnitude.eq(self.layout.infinity)
        return self.magnitude.eq(FLOAT64.infinity >> WORD_BITS) & self.low.eq(0)

    def sign_shifted(self, shift: int) -> Word:
        """The sign bit `shift` bits below bit 31, for formats with negative values; 0 for others."""
        if self.signs == (False,):
            return self.sign
        builder = self.sign.builder
        if not shift:
            return self.real.signed & SIGN
        return (self.real.signed >> builder.param("sign shift", shift)) & builder.param("sign bit", SIGN >> shift)

    def per_sign(self, name: str, number: Callable[[bool], int]) -> Word:
        """A number of the format that may depend on the input's sign."""
        builder, numbers = self.sign.builder, [number(negative) for negative in self.signs]
        if len(set(numbers)) == 1:
            return builder.param(name, numbers[0])
        return self.negative.where(builder.param(f"{name} (negative)", numbers[1]), builder.param(name, numbers[0]))

    def above(self, name: str, last: Callable[[bool], int]) -> Word:
        """1 for magnitudes above a pattern of the source's layout that may depend on the sign."""
        if self.low is None:
            return self.per_sign(name, last).lt(self.magnitude)
        high = self.per_sign(f"{name}, high", lambda negative: last(negative) >> WORD_BITS)
        low = self.per_sign(f"{name}, low", lambda negative: last(negative) & ((1 << WORD_BITS) - 1))
        return high.lt(self.magnitude) | (high.eq(self.magnitude) & low.lt(self.low))


def take_apart(real: Real, element: Element, policy: EncodePolicy, draw: Draw | None) -> Source:
    """Apply `negative_input` (Definition 10), after `flush_inputs` and `via`."""
    sign, magnitude, low = real.signed & SIGN, real.magnitude, real.low
    is_nan = _is_nan(real)
    if element.has_negative:
        return Source(real, sign, magnitude, low, is_nan, (False, True), None, draw)
    is_negative = (sign >> 31) & sign.builder.const(0).lt(magnitude if low is None else magnitude | low)
    if policy.negative_input is NegativeInput.ABS:
        sign = is_negative.where(0, sign)
    else:
        magnitude = is_negative.where(0, magnitude)
        low = None if low is None else is_negative.where(0, low)
    if not isinstance(element, CodebookElement):  # in codebooks the sign of zero selects -0.0
        sign = sign.builder.const(0)
    becomes_zero = policy.negative_input is NegativeInput.CLAMP and element.has_zero
    keeps_value = policy.negative_input is NegativeInput.ABS or becomes_zero
    return Source(real, sign, magnitude, low, is_nan, (False,), None if keeps_value else is_negative, draw)


def _is_nan(real: Real) -> Word:
    magnitude, low, infinity = real.magnitude, real.low, real.layout.infinity
    if low is None:
        return magnitude.builder.const(infinity).lt(magnitude)
    return magnitude.builder.const(infinity >> WORD_BITS).lt(magnitude | low.min(1))


def nan_instead(
    result: Word, source: Source, element: Element | ListedElement, policy: EncodePolicy, instead: int
) -> Word:
    """Replace results of NaN inputs by `instead`, or by a user-defined code, if NaN does not become NaN.

    Under `error` there is no NaN here: the caller has raised already.
    """
    builder, code = result.builder, policy.nan_input
    if code is NanInput.ERROR:
        return result
    if not isinstance(code, int):
        return source.is_nan.where(builder.param("for NaN", instead), result)
    top = 1 << (element.bits - 1) if element.has_negative else 0
    chosen = builder.param("for NaN", code) ^ source.negative.where(builder.param("sign of NaN", top), 0)
    return source.is_nan.where(chosen, result)
