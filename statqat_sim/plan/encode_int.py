"""Encoders of integers and fixed-point numbers: float32 word -> code."""

from __future__ import annotations

from statqat_sim.plan.builder import Word
from statqat_sim.plan.float32 import (
    BIAS,
    HIDDEN_BIT,
    INFINITY,
    MANTISSA_BITS,
    ceil_magnitude,
    floor_magnitude,
    power_of_two,
)
from statqat_sim.plan.rounding import round_by_sum, round_up, shift_right
from statqat_sim.plan.source import Source, nan_instead, take_apart
from statqat_sim.spec.encode import EncodePolicy, NanInput, Overflow, Underflow
from statqat_sim.spec.integer import Encoding, IntElement


def encode_int(word: Word, element: IntElement, policy: EncodePolicy, *, magic: bool) -> Word:
    """The code of a float32 word; `magic` chooses the lowering, which `has_magic` must allow."""
    source = take_apart(word, element, policy)
    low, high = element.range
    ends = {False: high, True: -low}
    step = power_of_two(-element.fraction_bits)
    last = source.per_sign("last in range", lambda negative: floor_magnitude(ends[negative] * step))
    integer = _magic(source, last, element, policy) if magic else _round(source, element, policy)
    if policy.underflow is Underflow.MIN:
        least = source.per_sign("least", lambda negative: min(ends[negative], 1))
        below_step = source.magnitude.lt(word.builder.param("step", ceil_magnitude(step)))
        integer = below_step.where(integer.max(source.magnitude.where(least, 0)), integer)
    if policy.underflow is Underflow.MIN or not magic:
        wraps = policy.overflow is Overflow.WRAP
        over = source.magnitude.eq(INFINITY) if wraps else last.lt(source.magnitude)
        integer = over.where(source.per_sign("end of range", ends.__getitem__), integer)
    instead = element.zero_code if policy.nan_input is NanInput.ZERO else element.code(high)
    return nan_instead(_integer_code(integer, source, element), source, element, policy, instead)


def has_magic(element: IntElement, policy: EncodePolicy) -> bool:
    """Whether the FPU may do the rounding: of integers that float32 holds."""
    return policy.overflow is Overflow.SATURATE and element.bits < MANTISSA_BITS


def _magic(source: Source, last: Word, element: IntElement, policy: EncodePolicy) -> Word:
    """Add the float whose step is the format's: the sum's low bits are the integer."""
    builder, one = source.magnitude.builder, BIAS - element.fraction_bits
    magic = builder.param("magic", (one + MANTISSA_BITS) << MANTISSA_BITS)
    half = builder.param("half a step", (one - 1) << MANTISSA_BITS)
    return round_by_sum(policy.rounding, source.magnitude.min(last), magic, half, source.negative) - magic


def _round(source: Source, element: IntElement, policy: EncodePolicy) -> Word:
    """|x|·2^fraction_bits, rounded to an integer; its low 32 bits."""
    builder, field = source.magnitude.builder, source.magnitude >> MANTISSA_BITS
    significand = (source.magnitude & (HIDDEN_BIT - 1)) | (field.min(1) << MANTISSA_BITS)
    one = builder.param("exponent of 1 as a step", BIAS + MANTISSA_BITS - element.fraction_bits)
    exponent = field.max(1)
    left = exponent.above(one)
    scaled = significand << left.min(31)
    if policy.overflow is Overflow.WRAP:
        scaled = left.lt(32).where(scaled, 0)
    cut = shift_right(scaled, one.above(exponent).min(31))
    return cut.kept + round_up(policy.rounding, cut, cut.kept & 1, source.negative)


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
