"""Encoders of floats: source -> code."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import (
    BIAS,
    EMIN,
    FLOAT32,
    INFINITY,
    MANTISSA_BITS,
    QUIET_NAN,
    Layout,
    nearest_magnitude,
    power_of_two,
)
from statqat_sim.plan.rounding import boundary, round_by_sum, round_up, shift_right, stops_at_end
from statqat_sim.plan.significand import ALL_BITS, LIFT, TOP, has_short_significand, short_significand, significand
from statqat_sim.plan.source import Source, nan_instead, to_float32_exponents
from statqat_sim.spec.encode import (
    EncodePolicy,
    InfInput,
    NanInput,
    NegativeInput,
    Overflow,
    Underflow,
    ZeroInput,
)
from statqat_sim.spec.floating import FloatElement, NanCodes, Subnormals, Zero

CODE_MASK: Final = 0xFFFF
"""The code bits in the low half of the FPU's sum."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The output domain of rounding: codes, or the float32 bit patterns they decode to."""

    element: FloatElement
    values: bool

    def word(self, magnitude: int) -> int:
        """A magnitude code, or the float32 magnitude of its value."""
        if not self.values:
            return magnitude
        if magnitude > self.element.max_magnitude:
            return INFINITY if magnitude == self.element.inf_code else QUIET_NAN
        return nearest_magnitude(Fraction(self.element.magnitude_value(magnitude)))

    @property
    def sign_shift(self) -> int:
        """How far the sign bit lies below bit 31."""
        return 0 if self.values else 31 - self.element.magnitude_bits


def encode_float(source: Source, element: FloatElement, policy: EncodePolicy, *, magic: bool) -> Word:
    """The code of an input; `magic` chooses the lowering, which `has_magic` must allow."""
    codes = Domain(element, values=False)
    if magic:
        code = _magic(source, codes, policy)
    else:
        code = _close_gap(_round(source, element, policy), source, element, policy)
    return _finish(code, source, codes, policy, clamped=magic and _saturates_exactly(source, element, policy))


def round_to_value(source: Source, element: FloatElement, policy: EncodePolicy) -> Word:
    """decode(encode(input)) without computing the code; requires `has_value_shortcut`."""
    values = Domain(element, values=True)
    value = _magic(source, values, policy)
    return _finish(value, source, values, policy, clamped=_saturates_exactly(source, element, policy))


def _finish(result: Word, source: Source, domain: Domain, policy: EncodePolicy, *, clamped: bool) -> Word:
    """Underflow, overflow unless the input was clamped, and the special inputs."""
    element = domain.element
    if policy.underflow is Underflow.MIN and element.has_zero:
        least = source.sign.builder.param("least", domain.word(element.min_magnitude))
        result = result.max(source.nonzero.where(least, 0))
    if not clamped:
        result = _overflow(result, source, domain, policy)
    return _specials(result, source, domain, policy)


def has_magic(layout: Layout, element: FloatElement, policy: EncodePolicy) -> bool:
    """Whether the FPU may round a one-word source: half of every target step must be a normal number of its layout.

    With `mantissa_bits: 0` the significand is always odd, but ties go by the exponent's parity.
    """
    emax = max(element.max_magnitude >> element.mantissa_bits, 1) - element.bias
    precision = element.mantissa_bits + policy.drawn_bits
    return (
        element.subnormals is Subnormals.GRADUAL
        and element.mantissa_bits >= 1
        and element.bits <= CODE_MASK.bit_length()
        and precision < MANTISSA_BITS - 1  # the sum must stay in the binade of the float added
        and emax + MANTISSA_BITS - element.mantissa_bits + layout.bias <= 2 * BIAS
        and element.emin - precision > layout.emin
    )


def fits_float32(element: FloatElement, policy: EncodePolicy) -> bool:
    """Whether every boundary between two results, except 0, is a normal float32 with an even last bit.

    Then a float64 may first be rounded to float32, to odd: it stays on its side of every boundary.
    """
    emax = max(element.max_magnitude >> element.mantissa_bits, 1) - element.bias
    precision = element.mantissa_bits + policy.drawn_bits
    return precision + 3 < MANTISSA_BITS and emax + 1 < BIAS and element.emin - precision > EMIN


def has_value_shortcut(layout: Layout, element: FloatElement, policy: EncodePolicy) -> bool:
    """Whether the rounded value can be computed without its code: NaN must keep the sign that its code would have."""
    keeps_nan_sign = element.nan is not NanCodes.NEGATIVE_ZERO or "nan" not in (policy.overflow, policy.inf_input)
    return has_magic(layout, element, policy) and isinstance(policy.nan_input, NanInput) and keeps_nan_sign


def _magic(source: Source, domain: Domain, policy: EncodePolicy) -> Word:
    """Add a float whose step is the target's step here: the FPU rounds. The sum's low bits count steps.

    The added float is offset such that adding the binade's exponent field, shifted into place, makes the sum's low
    bits the code.
    """
    element, magnitude = domain.element, source.magnitude
    builder, coarser = magnitude.builder, MANTISSA_BITS - element.mantissa_bits
    if _saturates_exactly(source, element, policy):
        magnitude = magnitude.min(builder.param("largest", source.layout.floor_magnitude(Fraction(element.highest))))
    first = (element.emin + source.layout.bias) << MANTISSA_BITS
    binade = (magnitude & INFINITY).max(builder.param("first binade", first))
    magic = binade + builder.param("to magic", (coarser << MANTISSA_BITS) + (-(first >> coarser) & CODE_MASK))
    half = binade - builder.param("to half a step", (element.mantissa_bits + 1) << MANTISSA_BITS)
    rounded = round_by_sum(policy.rounding, magnitude, magic, half, source.negative, source.draw)
    if domain.values:
        value = rounded.fsub(magic)
        return value if source.layout is FLOAT32 else to_float32_exponents(value)
    return (rounded + (binade >> builder.param("mantissa shift", coarser))) & CODE_MASK


def _saturates_exactly(source: Source, element: FloatElement, policy: EncodePolicy) -> bool:
    """Whether clamping the input to the largest value handles overflow completely, Inf included."""
    representable = source.layout.floor_magnitude(Fraction(element.highest))
    exact = representable < source.layout.infinity - 1 and element.mantissa_bits <= MANTISSA_BITS
    follows = policy.inf_input in (InfInput.OVERFLOW, InfInput.SATURATE)
    return policy.overflow is Overflow.SATURATE and exact and follows


def _round(source: Source, element: FloatElement, policy: EncodePolicy) -> Word:
    """The rounded magnitude, with gradual underflow below `emin` and without an upper limit."""
    builder, mode, emin = source.sign.builder, policy.rounding, _first_binade(element)
    if source.low is None and source.draw is None and emin == EMIN and element.mantissa_bits <= MANTISSA_BITS:
        # a truncated float32, as bfloat16
        cut = shift_right(source.magnitude, builder.param("mantissa shift", MANTISSA_BITS - element.mantissa_bits))
        return cut.kept + round_up(mode, cut, cut.kept & 1, source.negative)
    if emin >= source.layout.emin and has_short_significand(source, element.mantissa_bits):
        first = builder.param("first exponent", emin + source.layout.bias)
        exponent, word = short_significand(source)
        below = first.above(exponent) + builder.param("bits below step", MANTISSA_BITS - element.mantissa_bits)
        cut = shift_right(word, below.min(ALL_BITS))
        magnitude = (exponent.above(first) << builder.param("mantissa bits", element.mantissa_bits)) + cut.kept
        return magnitude + round_up(mode, cut, magnitude & 1, source.negative)
    found = significand(source, emin)
    first = builder.param("first exponent", emin + LIFT)
    long_cut = found.cut(first.above(found.exponent) + builder.param("bits below step", TOP - element.mantissa_bits))
    binades = found.exponent.above(first) << builder.param("mantissa bits", element.mantissa_bits)
    magnitude = binades + long_cut.kept
    magnitude = magnitude + long_cut.rounded_up(mode, magnitude & 1, source.negative, source.draw)
    return magnitude if emin >= source.layout.emin else source.nonzero.where(magnitude, 0)


def _first_binade(element: FloatElement) -> int:
    """Exponent of the binade from which codes count on; with `mantissa_bits: 0` exponent field 0 has no binade."""
    return element.emin if element.mantissa_bits else 1 - element.bias


@dataclass(frozen=True, slots=True)
class Gap:
    """Neighbouring magnitude codes whose values are not one step apart, and the number of codes skipped there."""

    low: int
    high: int
    skipped: int


def _gap(element: FloatElement) -> Gap | None:
    first_normal = 1 << element.mantissa_bits
    skipped = first_normal if element.mantissa_bits else 0
    match element.subnormals:
        case Subnormals.GRADUAL:
            return None
        case Subnormals.FLUSH:
            return Gap(0, first_normal, 0)
        case Subnormals.NONE if element.has_zero:
            return Gap(0, 1, skipped)
        case Subnormals.NONE:  # no value lies below the smallest one
            return Gap(0, 0, skipped) if element.mantissa_bits else Gap(0, 1, 0)
        case Subnormals.RAW:
            return Gap(first_normal - 1, first_normal, skipped)


def _close_gap(code: Word, source: Source, element: FloatElement, policy: EncodePolicy) -> Word:
    """Magnitude codes as the format numbers them: unchanged below the gap, minus the skipped codes above it."""
    gap = _gap(element)
    if gap is None:
        return code
    builder, low, high = code.builder, *(Fraction(element.magnitude_value(c)) for c in (gap.low, gap.high))
    above = code - builder.param("skipped codes", gap.skipped)
    beyond = source.above("inside gap", lambda _: source.layout.ceil_magnitude(high) - 1)
    above = beyond.where(above, builder.param("high side of gap", gap.high))
    if gap.low == gap.high:
        return above

    def last(negative: bool) -> int:
        return boundary(policy.rounding, low, high, bool(gap.low & 1), negative).first(source.layout) - 1

    goes_up = (
        source.above("below turn of gap", last) if source.draw is None else beyond | _drawn(source, element, policy)
    )
    return goes_up.where(above, code.min(builder.param("low side of gap", gap.low)))


def _drawn(source: Source, element: FloatElement, policy: EncodePolicy) -> Word:
    """Whether its random bits round a magnitude inside the gap up.

    The gap lies between 0 and the smallest normal number; or, without zero and mantissa, between the two smallest.
    """
    builder, found = source.sign.builder, significand(source, element.emin)
    below = builder.param("lowest exponent", element.emin + LIFT).above(found.exponent)
    cut, zero = found.cut(below + TOP), builder.const(0)
    goes_up = cut.rounded_up(policy.rounding, zero, zero, source.draw)
    return goes_up if element.has_zero else goes_up & cut.kept


@dataclass(frozen=True, slots=True)
class Limit:
    """The end of the range on one side: above the source's magnitude `last` the result is magnitude code `code`."""

    last: int
    code: int


def _overflow(result: Word, source: Source, domain: Domain, policy: EncodePolicy) -> Word:
    """The overflow rule, and ±Inf where its rule differs."""
    element = domain.element
    limits = {negative: _limit(element, policy, source.layout, negative) for negative in (False, True)}
    over = source.above("last in range", lambda negative: limits[negative].last)
    if source.draw is not None:  # random bits may have rounded to the successor
        over = over | result.builder.param("largest magnitude", domain.word(element.max_magnitude)).lt(result)
    instead = source.per_sign("overflow", lambda negative: domain.word(limits[negative].code))
    result = over.where(instead, result)
    at_infinity = _inf_magnitude(element, policy)
    if all(limits[negative].code == at_infinity for negative in source.signs):
        return result
    return source.is_infinite.where(result.builder.param("for Inf", domain.word(at_infinity)), result)


def _limit(element: FloatElement, policy: EncodePolicy, layout: Layout, negative: bool) -> Limit:
    largest, odd = Fraction(element.highest), bool(element.max_magnitude & 1)
    if policy.overflow is Overflow.SATURATE or stops_at_end(policy.rounding, odd, negative):
        return Limit(layout.floor_magnitude(largest), element.max_magnitude)
    special, successor = _special(element, policy.overflow), _successor(element)
    if policy.rounding.is_stochastic:
        return Limit(layout.ceil_magnitude(successor) - 1, special)
    return Limit(boundary(policy.rounding, largest, successor, odd, negative).first(layout) - 1, special)


def _successor(element: FloatElement) -> Fraction:
    """The value of the magnitude after the largest finite one, if that were finite."""
    exponent, mantissa = divmod(element.max_magnitude + 1, 1 << element.mantissa_bits)
    if not exponent:
        return Fraction(element.magnitude_value(mantissa))
    return ((1 << element.mantissa_bits) + mantissa) * power_of_two(exponent - element.bias - element.mantissa_bits)


def _inf_magnitude(element: FloatElement, policy: EncodePolicy) -> int:
    """The magnitude code of ±Inf; `overflow` ignores the rounding direction here."""
    rule = policy.overflow if policy.inf_input is InfInput.OVERFLOW else Overflow(policy.inf_input.value)
    return element.max_magnitude if rule is Overflow.SATURATE else _special(element, rule)


def _special(element: FloatElement, rule: Overflow) -> int:
    """The code of positive Inf or NaN; the spec's rules guarantee that it exists."""
    code = element.inf_code if rule is Overflow.INF else element.nan_code
    assert code is not None, rule
    return code


def _specials(result: Word, source: Source, domain: Domain, policy: EncodePolicy) -> Word:
    """Handle negative inputs, zero, NaN and the sign, in reverse order of the language's steps."""
    builder, element = result.builder, domain.element

    def nan_if(condition: Word, otherwise: Word) -> Word:
        return condition.where(builder.param("NaN", domain.word(_special(element, Overflow.NAN))), otherwise)

    if policy.zero_input is ZeroInput.NAN:
        result = nan_if(source.nonzero.eq(0), result)
    if source.below_zero is not None and policy.negative_input is NegativeInput.NAN:
        result = nan_if(source.below_zero, result)
    elif source.below_zero is not None:
        result = source.below_zero.where(builder.param("smallest", domain.word(element.min_magnitude)), result)
    signless_nan = domain.values and element.nan is NanCodes.NEGATIVE_ZERO
    keeps_nan = policy.nan_input is NanInput.NAN
    if keeps_nan and not signless_nan:
        result = nan_if(source.is_nan, result)
    if element.signed:
        sign = source.sign_shifted(domain.sign_shift)
        if element.zero is not Zero.SIGNED:  # +0 alone, or no zero: then -0 counts as +0
            sign = (result if element.has_zero else source.nonzero).where(sign, 0)
        result = result | sign
    if keeps_nan:
        return nan_if(source.is_nan, result) if signless_nan else result
    instead = 0 if policy.nan_input is NanInput.ZERO else element.max_magnitude
    return nan_instead(result, source, element, policy, domain.word(instead))
