"""Encoders of integers and fixed-point numbers: source -> code."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import BIAS, EMIN, HIDDEN_BIT, MANTISSA_BITS, nearest_magnitude, power_of_two
from statqat_sim.plan.rounding import round_by_sum, round_up, shift_right
from statqat_sim.plan.significand import ALL_BITS, LIFT, TOP, has_short_significand, short_significand, significand
from statqat_sim.plan.source import Source, nan_instead
from statqat_sim.plan.step import WORD_BITS
from statqat_sim.spec.encode import EncodePolicy, NanInput, Overflow, Underflow
from statqat_sim.spec.integer import Encoding, IntElement


def encode_int(source: Source, element: IntElement, policy: EncodePolicy, *, magic: bool) -> Word:
    """The code of an input; `magic` chooses the lowering, which `has_magic` must allow."""
    ends, layout, step = _ends(element), source.layout, power_of_two(-element.fraction_bits)
    if magic:
        total, _ = _magic(source, element, policy)
        integer = total & (HIDDEN_BIT - 1)
    else:
        integer = _round(source, element, policy)
    if policy.underflow is Underflow.MIN:
        least = source.per_sign("least", lambda negative: min(ends[negative], 1))
        reaches_step = source.above("below step", lambda _: layout.ceil_magnitude(step) - 1)
        integer = reaches_step.where(integer, integer.max(source.nonzero.where(least, 0)))
    if policy.underflow is Underflow.MIN or not magic:
        wraps = policy.overflow is Overflow.WRAP
        over = source.is_infinite if wraps else source.above("last in range", _last_in_range(source, element))
        integer = over.where(source.per_sign("end of range", ends.__getitem__), integer)
    code = _integer_code(integer, source, element)
    return nan_instead(code, source, element, policy, _instead_of_nan(element, policy))


def round_to_value(source: Source, element: IntElement, policy: EncodePolicy) -> Word:
    """decode(encode(input)) without computing the code; requires `has_value_shortcut`."""
    total, magic = _magic(source, element, policy)
    magnitude = total.fsub(magic)
    value = magnitude | source.sign_shifted(0)
    if element.has_negative and element.encoding is not Encoding.SIGN_MAGNITUDE:
        value = magnitude.where(value, 0)  # zero has one sign
    instead = nearest_magnitude(Fraction(element.value(_instead_of_nan(element, policy))))
    return nan_instead(value, source, element, policy, instead)


def has_magic(element: IntElement, policy: EncodePolicy) -> bool:
    """Whether the FPU may round a float32: to integers that float32 holds."""
    return policy.overflow is Overflow.SATURATE and element.bits + policy.drawn_bits < MANTISSA_BITS


def has_value_shortcut(element: IntElement, policy: EncodePolicy) -> bool:
    """Whether the rounded value can be computed without its code."""
    is_plain = policy.underflow is not Underflow.MIN and isinstance(policy.nan_input, NanInput)
    return is_plain and has_magic(element, policy)


def fits_float32(element: IntElement, policy: EncodePolicy) -> bool:
    """Whether every boundary between two results, except 0, is a normal float32 with an even last bit."""
    precision = element.bits + policy.drawn_bits
    in_range = -element.fraction_bits - policy.drawn_bits > EMIN and element.bits - element.fraction_bits < BIAS
    return policy.overflow is Overflow.SATURATE and precision + 2 < MANTISSA_BITS and in_range


def _ends(element: IntElement) -> dict[bool, int]:
    """The largest magnitude of each sign, by whether it is negative, in steps."""
    low, high = element.range
    return {False: high, True: -low}


def _last_in_range(source: Source, element: IntElement) -> Callable[[bool], int]:
    """The pattern of the largest magnitude of each sign."""
    ends, step = _ends(element), power_of_two(-element.fraction_bits)
    return lambda negative: source.layout.floor_magnitude(ends[negative] * step)


def _instead_of_nan(element: IntElement, policy: EncodePolicy) -> int:
    """The code of NaN, unless the user chose one."""
    return element.zero_code if policy.nan_input is NanInput.ZERO else element.code(element.range[1])


def _magic(source: Source, element: IntElement, policy: EncodePolicy) -> tuple[Word, Word]:
    """Add a float whose ulp is the format's step: the sum, whose low bits are the integer, and that float."""
    builder, one = source.magnitude.builder, BIAS - element.fraction_bits
    magic = builder.param("magic", (one + MANTISSA_BITS) << MANTISSA_BITS)
    half = builder.param("half a step", (one - 1) << MANTISSA_BITS)
    magnitude = source.magnitude.min(source.per_sign("last in range", _last_in_range(source, element)))
    return round_by_sum(policy.rounding, magnitude, magic, half, source.negative, source.draw), magic


def _round(source: Source, element: IntElement, policy: EncodePolicy) -> Word:
    """|x|·2^fraction_bits rounded to an integer: its low 32 bits. Integers beyond 32 bits are valid only under wrap."""
    if _has_short_cut(source, element, policy):
        exponent, word = short_significand(source)
        one = source.sign.builder.param(
            "exponent of one step", source.layout.bias + MANTISSA_BITS - element.fraction_bits
        )
        short = shift_right(word, one.above(exponent).min(ALL_BITS))
        return short.kept + round_up(policy.rounding, short, short.kept & 1, source.negative)
    found = significand(source, source.layout.emin)
    place = source.sign.builder.param("place of step", LIFT + TOP - element.fraction_bits)
    if policy.overflow is Overflow.WRAP:
        cut = found.cut_wrapping((place + WORD_BITS).above(found.exponent))
    else:
        cut = found.cut(place.above(found.exponent).max(WORD_BITS))
    return cut.kept + cut.rounded_up(policy.rounding, cut.kept & 1, source.negative, source.draw)


def _has_short_cut(source: Source, element: IntElement, policy: EncodePolicy) -> bool:
    """Whether integers beyond the significand's bits are out of range, and a step is no less than the smallest one."""
    fits = element.bits <= MANTISSA_BITS and element.fraction_bits < source.layout.bias
    return fits and policy.overflow is Overflow.SATURATE and has_short_significand(source, element.bits)


def _integer_code(magnitude: Word, source: Source, element: IntElement) -> Word:
    """Sign and magnitude -> the element's encoding."""
    builder = magnitude.builder
    mask = builder.param("code mask", (1 << element.bits) - 1)
    if element.encoding is Encoding.SIGN_MAGNITUDE:
        return magnitude | source.sign_shifted(32 - element.bits)
    if element.has_negative:
        flip = builder.const(0) - source.negative
        magnitude = (magnitude ^ flip) - flip
    if element.encoding is Encoding.OFFSET_BINARY:
        magnitude = magnitude + builder.param("offset", element.code_offset)
    return magnitude & mask
