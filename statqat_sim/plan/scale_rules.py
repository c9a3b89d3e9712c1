"""From a block's statistics to its scale before encoding. See `formats/LANGUAGE.md`, Definitions 21, 22, 29."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import FLOAT32, INFINITY, MAGNITUDE, floor_log2
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.members import power_range
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Rule, ScaleLevel, Target

SUBNORMAL_BITS: Final = 24
EXPONENT_OFFSET: Final = 149
"""Added to exponents, so that -149, the exponent of the smallest float32 subnormal, becomes 0."""

FRACTION: Final = FLOAT32.min_normal - 1


def exponent_of(value: float) -> int:
    """e(x) = floor(log2 |x|)."""
    return floor_log2(abs(Fraction(value)))


def target_value(level: ScaleLevel, element: NumberFormat) -> float:
    """The number that `target` stands for."""
    match level.target:
        case Target.MAX:
            return element.max
        case Target.EMAX:
            return 2.0 ** exponent_of(element.max)
    return float(level.target)


@dataclass(frozen=True, slots=True)
class Binade:
    """A positive float32 as exponent and fraction."""

    exponent: Word
    """e(x) + 151, and at least 1."""

    fraction: Word

    @classmethod
    def of(cls, word: Word) -> Binade:
        """From a float32 word; subnormals are first normalised by an exact product."""
        small = word.lt(FLOAT32.min_normal)
        moved = word.fmul(word.builder.const(FLOAT32.pattern(2.0**SUBNORMAL_BITS)))
        normal = small.where(moved, word)
        exponent = (normal >> FLOAT32.mantissa_bits) + small.where(0, SUBNORMAL_BITS)
        return cls(exponent, normal & FRACTION)


EXPONENT_CAP: Final = 1 << 13
"""Larger than every difference of exponents."""

BINADE_BIAS: Final = FLOAT32.bias + SUBNORMAL_BITS
"""The bias of `Binade.exponent`."""


def power_of_two(steps: Word) -> Word:
    """The float32 2^(steps - 149); subnormal below 23 steps."""
    normal = (steps - (FLOAT32.mantissa_bits - 1)) << FLOAT32.mantissa_bits
    subnormal = steps.builder.const(1) << steps.min(FLOAT32.mantissa_bits)
    return steps.lt(FLOAT32.mantissa_bits).where(subnormal, normal)


def power_of_two_range(format: NumberFormat) -> tuple[int, int]:
    """The range of exponents of a format's powers of two that are float32."""
    powers = power_range(format.element)
    if powers is None:
        raise UnsupportedError(f"{format.name}: it has no powers of two in a row, which a power-of-two rule gives")
    return max(powers[0], -EXPONENT_OFFSET), min(powers[1], FLOAT32.bias)


def power_of_two_rule(amax: Word, level: ScaleLevel, format: NumberFormat, element: NumberFormat) -> Word:
    """2^k by a rule that reads exponents, with k clamped to the powers of two of the level's `format`."""
    builder, binade = amax.builder, Binade.of(amax)
    is_rceil = level.rule is Rule.RCEIL
    target = exponent_of(element.max if is_rceil else target_value(level, element))
    bounds = (bound + target + BINADE_BIAS + EXPONENT_CAP for bound in power_of_two_range(format))
    least, most = (builder.param(name, bound) for name, bound in zip(("least k", "most k"), bounds, strict=True))
    exponent = (binade.exponent + EXPONENT_CAP + _increment(binade.fraction, level, element)).max(least).min(most)
    steps = exponent - builder.param("target's exponent", target + BINADE_BIAS + EXPONENT_CAP - EXPONENT_OFFSET)
    return power_of_two(steps)


def _increment(fraction: Word, level: ScaleLevel, element: NumberFormat) -> Word | int:
    """Whether the exponent is rounded up."""
    builder = fraction.builder
    match level.rule:
        case Rule.CEIL:
            return builder.const(0).lt(fraction)
        case Rule.EVEN:
            kept = _mantissa_bits(element)
            least = (1 << FLOAT32.mantissa_bits) - (1 << max(FLOAT32.mantissa_bits - 1 - kept, 0))
            return builder.param("even from", least - 1).lt(fraction) if kept < FLOAT32.mantissa_bits else 0
        case Rule.RCEIL:
            significand = Fraction(element.max) / Fraction(2) ** exponent_of(element.max)
            return builder.param("largest's fraction", math.floor((significand - 1) * (FRACTION + 1))).lt(fraction)
    return 0


def _mantissa_bits(element: NumberFormat) -> int:
    match element.element:
        case FloatElement(mantissa_bits=bits):
            return bits
        case IntElement(fraction_bits=fraction_bits):
            return exponent_of(element.max * 2.0**fraction_bits)
    raise UnsupportedError(f"{element.name}: rule even reads the mantissa of a float or an int")


def exponent_step(amax: Word, outer: Word, level: ScaleLevel, element: NumberFormat, *, add: bool) -> Word:
    """±(e(amax) - e(T) - e(outer)), clamped to the level's codes; the exponents of 0 and Inf are beyond all others."""
    magnitude, target = outer & MAGNITUDE, exponent_of(target_value(level, element))
    inner = Binade.of(amax).exponent + (EXPONENT_CAP - target)
    finite = Binade.of(magnitude).exponent + EXPONENT_CAP
    outside = magnitude.where(magnitude.eq(INFINITY).where(4 * EXPONENT_CAP, finite), 0)
    difference = inner.above(outside) if add else outside.above(inner)
    return difference.min((1 << level.format.bits) - 1)
