"""Encoders of integers and fixed-point numbers: source -> code."""

from __future__ import annotations

from collections.abc import Callable

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import BIAS, EMIN, HIDDEN_BIT, MANTISSA_BITS, power_of_two
from statqat_sim.plan.rounding import round_by_sum
from statqat_sim.plan.significand import LIFT, TOP, significand
from statqat_sim.plan.source import WORD_BITS, Source, nan_instead
from statqat_sim.spec.encode import EncodePolicy, NanInput, Overflow, Underflow
from statqat_sim.spec.integer import Encoding, IntElement


def encode_int(source: Source, element: IntElement, policy: EncodePolicy, *, magic: bool) -> Word:
    """The code of an input; `magic` chooses the lowering, which `has_magic` must allow."""
    low, high = element.range
    ends = {False: high, True: -low}
    layout, step = source.layout, power_of_two(-element.fraction_bits)

    def last(negative: bool) -> int:
        return layout.floor_magnitude(ends[negative] * step)

    integer = _magic(source, last, element, policy) if magic else _round(source, element, policy)
    if policy.underflow is Underflow.MIN:
        least = source.per_sign("least", lambda negative: min(ends[negative], 1))
        reaches_step = source.above("below step", lambda _: layout.ceil_magnitude(step) - 1)
        integer = reaches_step.where(integer, integer.max(source.nonzero.where(least, 0)))
    if policy.underflow is Underflow.MIN or not magic:
        wraps = policy.overflow is Overflow.WRAP
        over = source.is_infinite if wraps else source.above("last in range", last)
        integer = over.where(source.per_sign("end of range", ends.__getitem__), integer)
    instead = element.zero_code if policy.nan_input is NanInput.ZERO else element.code(high)
    return nan_instead(_integer_code(integer, source, element), source, element, policy, instead)


def has_magic(element: IntElement, policy: EncodePolicy) -> bool:
    """Whether the FPU may round a float32: to integers that float32 holds."""
    return policy.overflow is Overflow.SATURATE and element.bits + policy.drawn_bits < MANTISSA_BITS


def fits_float32(element: IntElement, policy: EncodePolicy) -> bool:
    """Whether every boundary between two results, except 0, is a normal float32 with an even last bit."""
    precision = element.bits + policy.drawn_bits
    in_range = -element.fraction_bits - policy.drawn_bits > EMIN and element.bits - element.fraction_bits < BIAS
    return policy.overflow is Overflow.SATURATE and precision + 2 < MANTISSA_BITS and in_range


def _magic(source: Source, last: Callable[[bool], int], element: IntElement, policy: EncodePolicy) -> Word:
    """Add a float whose ulp is the format's step: the sum's low bits are the integer."""
    builder, one = source.magnitude.builder, BIAS - element.fraction_bits
    magic = builder.param("magic", (one + MANTISSA_BITS) << MANTISSA_BITS)
    half = builder.param("half a step", (one - 1) << MANTISSA_BITS)
    magnitude = source.magnitude.min(source.per_sign("last in range", last))
    return round_by_sum(policy.rounding, magnitude, magic, half, source.negative, source.draw) & (HIDDEN_BIT - 1)


def _round(source: Source, element: IntElement, policy: EncodePolicy) -> Word:
    """|x|·2^fraction_bits rounded to an integer: its low 32 bits. Integers beyond 32 bits are valid only under wrap."""
    found = significand(source, source.layout.emin)
    place = source.sign.builder.param("place of step", LIFT + TOP - element.fraction_bits)
    if policy.overflow is Overflow.WRAP:
        cut = found.cut_wrapping((place + WORD_BITS).above(found.exponent))
    else:
        cut = found.cut(place.above(found.exponent).max(WORD_BITS))
    return cut.kept + cut.rounded_up(policy.rounding, cut.kept & 1, source.negative, source.draw)


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
