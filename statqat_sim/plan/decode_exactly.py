"""Decoders of floats and integers: code -> the two words of a float64, which holds every value."""

from __future__ import annotations

from typing import Final, TypeAlias

from statqat_sim.plan.builder import Word
from statqat_sim.plan.decode import Specials, finite_or_special, sign_and_magnitude, signed, taken_apart
from statqat_sim.plan.layout import BIAS, FLOAT64, INFINITY, MAGNITUDE, SIGN
from statqat_sim.plan.leading_bit import leading_bit
from statqat_sim.plan.significand import LIFT
from statqat_sim.plan.step import WORD_BITS
from statqat_sim.spec.floating import FloatElement, Subnormals
from statqat_sim.spec.integer import IntElement

SPECIALS: Final = Specials(FLOAT64.infinity >> WORD_BITS, (FLOAT64.infinity >> WORD_BITS) | 1 << 19)

Pair: TypeAlias = tuple[Word, Word]
"""The low and the high word of a float64."""


def decode_float_exactly(code: Word, element: FloatElement) -> Pair:
    """The float64 of a code; code bits above the format's width are ignored."""
    builder = code.builder
    magnitude = code & builder.param("magnitude mask", (1 << element.magnitude_bits) - 1)
    low, high = _to_float64(*taken_apart(magnitude, element), subnormal=_may_be_subnormal(element))
    zero = builder.const(0)
    if element.subnormals is Subnormals.NONE and element.has_zero:
        low, high = magnitude.where(low, zero), magnitude.where(high, zero)
    if element.max_magnitude < (1 << element.magnitude_bits) - 1:
        is_special = builder.param("largest magnitude", element.max_magnitude).lt(magnitude)
        low, high = is_special.where(zero, low), finite_or_special(magnitude, high, element, SPECIALS)
    return low, signed(code, magnitude, high, element, SPECIALS) if element.signed else high


def decode_int_exactly(code: Word, element: IntElement) -> Pair:
    """The float64 of a code; code bits above the format's width are ignored."""
    negative, magnitude = sign_and_magnitude(code, element)
    step = code.builder.param("exponent of step", LIFT - element.fraction_bits)
    low, high = _to_float64(magnitude, step, subnormal=False)
    return low, high if element.full_range[0] == 0 else high | (negative << 31)


def float64_of(word: Word) -> Pair:
    """The float64 of a float32 that is not subnormal."""
    magnitude = word & MAGNITUDE
    high = (magnitude >> 3) + ((FLOAT64.bias - BIAS) << 20)
    high = magnitude.lt(INFINITY).where(high, (magnitude >> 3) | SPECIALS.infinity)
    return magnitude << 29, magnitude.where(high, 0) | (word & SIGN)


def _to_float64(significand: Word, step: Word, *, subnormal: bool) -> Pair:
    """`significand` × 2^(step - LIFT), exactly; `subnormal`: whether that may be below the normal float64."""
    leading = leading_bit(significand)
    normal = significand << ((leading ^ 31) & 31)  # the leading bit in bit 31
    exponent = step + leading
    least = LIFT + FLOAT64.emin
    field = exponent.above(least - 1) if subnormal else exponent - (least - 1)
    high, low = normal >> 11, normal << 21
    if subnormal:
        shift = exponent.builder.const(least).above(exponent)
        right, is_long = shift & 31, shift >> 5
        joined = (low >> right) | ((high << 1) << (right ^ 31))
        low, high = is_long.where(high >> right, joined), is_long.where(0, high >> right)
    high = (high & 0xF_FFFF) + (field << 20)
    return significand.where(low, 0), significand.where(high, 0)


def _may_be_subnormal(element: FloatElement) -> bool:
    """Whether values may lie below the normal float64."""
    return element.emin - element.mantissa_bits < FLOAT64.emin
