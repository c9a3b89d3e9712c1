"""What all encoders share: a float32 word taken apart by its policies, and what NaN becomes at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from statqat_sim.plan.builder import Word
from statqat_sim.plan.float32 import INFINITY, MAGNITUDE, MIN_NORMAL, SIGN
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy, NegativeInput, Via


@dataclass(frozen=True, slots=True)
class Source:
    """An input word and what its policies made of it."""

    word: Word
    sign: Word  # bit 31; 0 where the format has one sign
    magnitude: Word
    is_nan: Word
    signs: tuple[bool, ...]  # that inputs have by now: False for positive, True for negative
    below_zero: Word | None  # inputs that `negative_input` gives a code of its own: NaN, or the smallest of all

    @property
    def negative(self) -> Word:
        """1 for a negative input."""
        return self.sign >> 31

    def sign_shifted(self, shift: int) -> Word:
        """The sign bit `shift` bits below bit 31, for formats with negative values; 0 for others."""
        if self.signs == (False,):
            return self.sign
        builder = self.word.builder
        return (self.word >> builder.param("sign shift", shift)) & builder.param("sign bit", SIGN >> shift)

    def per_sign(self, name: str, number: Callable[[bool], int]) -> Word:
        """A number of the format that may depend on the input's sign."""
        builder, numbers = self.sign.builder, [number(negative) for negative in self.signs]
        if len(set(numbers)) == 1:
            return builder.param(name, numbers[0])
        return self.negative.where(builder.param(f"{name} (negative)", numbers[1]), builder.param(name, numbers[0]))


def take_apart(word: Word, element: Element, policy: EncodePolicy) -> Source:
    """Steps 8 (`flush_inputs`, `via`) and 10 (`negative_input`) of the language's Definitions.

    A NaN's magnitude is meaningless: whoever uses it selects by `is_nan` at the end.
    """
    sign, magnitude = word & SIGN, word & MAGNITUDE
    is_nan = word.builder.const(INFINITY).lt(magnitude)
    if policy.flush_inputs:
        magnitude = magnitude.lt(MIN_NORMAL).where(0, magnitude)
    if policy.via is Via.BFLOAT16:
        magnitude = _nearest_bfloat16(magnitude)
    if element.has_negative:
        return Source(word, sign, magnitude, is_nan, (False, True), None)
    is_negative = (sign >> 31) & word.builder.const(0).lt(magnitude)
    if policy.negative_input is NegativeInput.ABS:
        sign = is_negative.where(0, sign)
    else:
        magnitude = is_negative.where(0, magnitude)
    if not isinstance(element, CodebookElement):  # whose entry -0.0 serves inputs with the sign bit
        sign = word.builder.const(0)
    becomes_zero = policy.negative_input is NegativeInput.CLAMP and element.has_zero
    keeps_value = policy.negative_input is NegativeInput.ABS or becomes_zero
    return Source(word, sign, magnitude, is_nan, (False,), None if keeps_value else is_negative)


def _nearest_bfloat16(magnitude: Word) -> Word:
    magnitude = magnitude.min(INFINITY)
    odd = (magnitude >> 16) & 1
    return (magnitude + 0x7FFF + odd) & 0x7FFF_0000


def nan_instead(result: Word, source: Source, element: Element, policy: EncodePolicy, instead: int) -> Word:
    """What NaN becomes where it does not become NaN: `instead`, or a code of the user's.

    Under `error` no NaN comes here: the caller has raised.
    """
    builder, code = result.builder, policy.nan_input
    if not isinstance(code, int):
        return source.is_nan.where(builder.param("for NaN", instead), result)
    top = 1 << (element.bits - 1) if element.has_negative else 0
    chosen = builder.param("for NaN", code) ^ source.negative.where(builder.param("sign of NaN", top), 0)
    return source.is_nan.where(chosen, result)
