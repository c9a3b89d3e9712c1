"""Decoders of floats and integers: code -> float32 word, rounded once to nearest even where float32 is coarser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import BIAS, EMIN, INFINITY, MANTISSA_BITS, QUIET_NAN, SIGN
from statqat_sim.plan.leading_bit import leading_bit
from statqat_sim.plan.rounding import round_up, shift_right
from statqat_sim.plan.significand import LIFT
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.floating import FloatElement, NanCodes, Subnormals, Zero
from statqat_sim.spec.integer import Encoding, IntElement

WIDE: Final = 26
"""Bits of a significand before it is rounded to 24: two more, the last one sticky, so that one rounding suffices."""


@dataclass(frozen=True, slots=True)
class Specials:
    """The highest words of a result's Inf and quiet NaN."""

    infinity: int
    nan: int


FLOAT32_SPECIALS: Final = Specials(INFINITY, QUIET_NAN)


def decode_float(code: Word, element: FloatElement) -> Word:
    """The float32 word of a code; code bits above the format's width are ignored."""
    builder = code.builder
    magnitude = code & builder.param("magnitude mask", (1 << element.magnitude_bits) - 1)
    if _is_float32_aligned(element):
        value = magnitude << builder.param("mantissa shift", MANTISSA_BITS - element.mantissa_bits)
    elif has_magic_decode(element) and not builder.lean:
        value = _magic(_gradual(magnitude, element), element)
    else:
        value = _convert(magnitude, element)
    if element.subnormals is Subnormals.NONE and element.has_zero:
        value = magnitude.where(value, 0)
    if element.max_magnitude < (1 << element.magnitude_bits) - 1:
        value = finite_or_special(magnitude, value, element, FLOAT32_SPECIALS)
    return signed(code, magnitude, value, element, FLOAT32_SPECIALS) if element.signed else value


def _is_float32_aligned(element: FloatElement) -> bool:
    """Whether a magnitude is a truncated float32 magnitude, as in bfloat16."""
    return (
        element.bias == BIAS
        and element.subnormals is Subnormals.GRADUAL
        and element.mantissa_bits <= MANTISSA_BITS
        and element.max_magnitude >> element.mantissa_bits < 2 * BIAS + 1
    )


def has_magic_decode(element: FloatElement) -> bool:
    """Whether one exact subtraction of normal floats gives every value."""
    emax = max(element.max_magnitude >> element.mantissa_bits, 1) - element.bias
    return (
        element.mantissa_bits < MANTISSA_BITS
        and element.magnitude_bits < 31
        and emax + MANTISSA_BITS - element.mantissa_bits <= BIAS
        and element.emin - element.mantissa_bits >= EMIN
    )


def _gradual(magnitude: Word, element: FloatElement) -> Word:
    """The magnitude in a format whose first binade is `emin` and whose underflow is gradual."""
    first_normal = magnitude.builder.param("first normal", 1 << element.mantissa_bits)
    match element.subnormals:
        case Subnormals.GRADUAL:
            return magnitude
        case Subnormals.FLUSH:
            return magnitude.lt(first_normal).where(0, magnitude)
        case Subnormals.NONE:
            return magnitude + first_normal
        case Subnormals.RAW:
            return magnitude + magnitude.lt(first_normal).where(0, first_normal)


def _magic(magnitude: Word, element: FloatElement) -> Word:
    """Put the significand into the low bits of a float whose ulp is the binade's step, and subtract that float."""
    builder = magnitude.builder
    first = builder.param("first magic", (element.emin + BIAS + MANTISSA_BITS - element.mantissa_bits) << MANTISSA_BITS)
    fields = builder.param("exponent field", ((1 << 31) - 1) >> element.mantissa_bits << element.mantissa_bits)
    binade = (magnitude & fields).above(builder.param("first normal", 1 << element.mantissa_bits))
    magic = first + (binade << builder.param("mantissa shift", MANTISSA_BITS - element.mantissa_bits))
    return (magic + (magnitude - binade)).fsub(magic)


def _convert(magnitude: Word, element: FloatElement) -> Word:
    """Convert any float to float32 with integers."""
    return _rounded(*taken_apart(magnitude, element), bits=element.mantissa_bits + 1)


def _rounded(significand: Word, step: Word, bits: int) -> Word:
    """A significand of so many bits × 2^(step - LIFT): normalised, cut at float32's ulp, rounded once; or Inf."""
    if bits <= WIDE:
        return _to_float32(significand, step)
    excess = leading_bit(significand).above(WIDE - 1).min(31)
    kept = significand >> excess
    lost = significand - (kept << excess)
    return _to_float32(kept | lost.min(1), step + excess)


def taken_apart(magnitude: Word, element: FloatElement) -> tuple[Word, Word]:
    """Significand and step: the magnitude's value is significand × 2^(step - LIFT)."""
    builder = magnitude.builder
    field = magnitude >> builder.param("mantissa bits", element.mantissa_bits)
    mantissa = magnitude & builder.param("mantissa mask", (1 << element.mantissa_bits) - 1)
    hidden = builder.param("hidden bit", 1 << element.mantissa_bits)
    match element.subnormals:
        case Subnormals.GRADUAL:
            significand, exponent = mantissa | field.where(hidden, 0), field.max(1)
        case Subnormals.FLUSH:
            significand, exponent = field.where(mantissa | hidden, 0), field
        case Subnormals.NONE:
            significand, exponent = mantissa | hidden, field
        case Subnormals.RAW:
            significand, exponent = mantissa | field.where(hidden, 0), field
    return significand, exponent + builder.param("exponent of step", LIFT - element.bias - element.mantissa_bits)


def _to_float32(significand: Word, step: Word) -> Word:
    """`significand` (below 2^26) × 2^(step - LIFT), rounded once to nearest even."""
    builder = significand.builder
    leading = leading_bit(significand)
    first = builder.const(EMIN + LIFT)
    exponent = step + leading
    target_step = exponent.max(first) - MANTISSA_BITS
    scaled = significand << step.above(target_step).min(31)
    cut = shift_right(scaled, target_step.above(step).min(31))
    word = (exponent.above(first) << MANTISSA_BITS) + cut.kept
    word = word + round_up(Rounding.NEAREST_EVEN, cut, cut.kept & 1, builder.const(0))
    word = builder.const(BIAS + LIFT).lt(exponent).where(INFINITY, word)
    return significand.where(word, 0)


def finite_or_special(magnitude: Word, value: Word, element: FloatElement, specials: Specials) -> Word:
    """The value of a magnitude, or Inf or NaN if it encodes these."""
    builder = magnitude.builder
    special: Word | int = specials.nan
    if element.inf_code is not None:
        special = magnitude.eq(builder.param("Inf", element.inf_code)).where(specials.infinity, specials.nan)
    return builder.param("largest magnitude", element.max_magnitude).lt(magnitude).where(special, value)


def signed(code: Word, magnitude: Word, value: Word, element: FloatElement, specials: Specials) -> Word:
    """The value of a magnitude with the code's sign."""
    builder = code.builder
    sign = (code << builder.param("sign place", 31 - element.magnitude_bits)) & SIGN
    word = value | sign
    if element.zero is Zero.POSITIVE:
        nonzero = magnitude
        if element.subnormals is Subnormals.FLUSH:
            nonzero = magnitude >> builder.param("mantissa bits", element.mantissa_bits)
        word = nonzero.where(word, 0)
    if element.nan is NanCodes.NEGATIVE_ZERO:
        word = (magnitude | sign).eq(SIGN).where(specials.nan, word)
    return word


def decode_int(code: Word, element: IntElement) -> Word:
    """The float32 word of a code; code bits above the format's width are ignored."""
    builder = code.builder
    negative, magnitude = sign_and_magnitude(code, element)
    low, width = element.full_range[0], element.bits
    if builder.lean:
        value = _rounded(magnitude, builder.param("exponent of step", LIFT - element.fraction_bits), width)
    else:
        value = _converted(magnitude, element)
    return value if low == 0 else value | (negative << 31)


def _converted(magnitude: Word, element: IntElement) -> Word:
    """The float32 of an integer, by subtracting floats whose ulp is the format's step."""
    builder, step = magnitude.builder, (BIAS + MANTISSA_BITS - element.fraction_bits) << MANTISSA_BITS
    magic = builder.param("magic", step)
    if element.bits < MANTISSA_BITS:
        return (magic + magnitude).fsub(magic)
    high_magic = builder.param("magic of high half", step + (16 << MANTISSA_BITS))
    high = (high_magic + (magnitude >> 16)).fsub(high_magic)
    return high.fadd((magic + (magnitude & 0xFFFF)).fsub(magic))  # the sum of two exact halves rounds once


def sign_and_magnitude(code: Word, element: IntElement) -> tuple[Word, Word]:
    """1 for a negative integer, and its magnitude."""
    builder, top = code.builder, element.bits - 1
    code = code & builder.param("code mask", (1 << element.bits) - 1)
    match element.encoding:
        case Encoding.UNSIGNED:
            return builder.const(0), code
        case Encoding.SIGN_MAGNITUDE:
            return code >> builder.param("sign place", top), code & builder.param("magnitude mask", (1 << top) - 1)
        case Encoding.TWOS_COMPLEMENT:
            negative = code >> builder.param("sign place", top)
            flip = builder.const(0) - negative
            return negative, ((code ^ flip) - flip) & builder.param("code mask", (1 << element.bits) - 1)
        case Encoding.OFFSET_BINARY:
            offset = builder.param("offset", element.code_offset)
            return code.lt(offset), code.max(offset) - code.min(offset)
