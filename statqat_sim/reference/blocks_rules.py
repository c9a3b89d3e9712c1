"""The scale of one block by its level's rule, before encoding (21, 22), and shared exponents (29)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference import exact
from statqat_sim.reference.blocks_float32 import ONE, ZERO, fl, is_inf, is_nan, over, product, real, times
from statqat_sim.reference.blocks_scale import all_zero_code, number_format, powers_of
from statqat_sim.reference.grid import Number, scaled
from statqat_sim.reference.ieee import floor_log2
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Combine, Order, Rule, ScaleLevel, Target

FLOAT32_POWERS = (-149, 127)


@dataclass(frozen=True, slots=True)
class Outside:
    """The state of the levels outside of a block.

    `factors` are their decoded scales, outermost first; `target` and `amax` are those of the next one.
    """

    factors: tuple[Number, ...] = ()
    target: Number | None = None
    amax: Fraction = ZERO

    @property
    def scale(self) -> Number:
        return product(self.factors)


def amax_of(values: Sequence[Fraction]) -> Fraction:
    """The largest magnitude; 0 without values."""
    return max(map(abs, values), default=ZERO)


def target_of(target: Target | float, element: NumberFormat) -> Fraction:
    """`target` as a number (21)."""
    largest = _largest(element)
    match target:
        case Target.MAX:
            return largest
        case Target.EMAX:
            return scaled(1, floor_log2(largest))
        case _:
            return Fraction(target)


def raw_scale(level: ScaleLevel, element: NumberFormat, values: Sequence[Fraction], outside: Outside) -> Number:
    """The scale of a block that is not all zero, before encoding; `values` are the finite ones in C order.

    Raises:
        UnsupportedError: for rules that need more than the values, and for combinations that a validated level cannot
            have.
    """
    if level.rule in (Rule.ABSMAX, Rule.SIGNED_ABSMAX):
        return absmax(level.order, target_of(level.target, element), peak(level.rule, values), outside)
    if level.rule.is_power_of_two:
        return power_of_two(level, element, amax_of(values), outside)
    raise UnsupportedError(f"rule: {level.rule.value} has no raw scale of its own")


def peak(rule: Rule, values: Sequence[Fraction]) -> Fraction:
    """amax, or the first value of largest magnitude."""
    amax = amax_of(values)
    return next(value for value in values if abs(value) == amax) if rule is Rule.SIGNED_ABSMAX else amax


def absmax(order: Order, target: Fraction, amax: Fraction, outside: Outside) -> Number:
    """amax/T/S_out in the level's order of operations (22); T is a float32."""
    t = fl(target)
    match order:
        case Order.TARGET_FIRST:
            return over(over(amax, t), outside.scale)
        case Order.PRODUCT:
            return over(amax, times(t, outside.scale))
        case Order.ENCODE if outside.target is not None:
            gain = over(outside.target, outside.amax)
            return times(amax, times(gain, over(ONE, t)))
    raise UnsupportedError("order: encode needs a level outside of it")


def power_of_two(level: ScaleLevel, element: NumberFormat, amax: Fraction, outside: Outside) -> Number:
    """2^k, with k clamped to the powers of two that the scale format has and float32 holds (21)."""
    low, high = FLOAT32_POWERS
    if isinstance(level.format, NumberFormat):
        least, greatest = powers_of(level.format)
        low, high = max(low, least), min(high, greatest)
    a = over(amax, outside.scale)
    if is_nan(a) or is_inf(a):
        return scaled(1, high)
    if real(a) == 0:
        return scaled(1, low)
    k = exponent(level.rule, abs(real(a)), target_of(level.target, element), element)
    return scaled(1, min(max(k, low), high))


def exponent(rule: Rule, a: Fraction, target: Fraction, element: NumberFormat) -> int:
    """K of one of the four published rules, for a > 0."""
    largest = _largest(element)
    e, m = _split(a)
    match rule:
        case Rule.FLOOR:
            return e - floor_log2(abs(target))
        case Rule.CEIL:
            return e + (m > 1) - floor_log2(abs(target))
        case Rule.EVEN:
            return e + (m >= 2 - scaled(1, -_mantissa_bits(element) - 1)) - floor_log2(abs(target))
        case Rule.RCEIL:
            return e - floor_log2(largest) + (m > _split(largest)[1])
    raise UnsupportedError(f"rule: {rule.value} has no exponent")


def _split(x: Fraction) -> tuple[int, Fraction]:
    """e(x) and m(x)."""
    e = floor_log2(x)
    return e, x / scaled(1, e)


def _mantissa_bits(element: NumberFormat) -> int:
    match element.element:
        case FloatElement(mantissa_bits=bits):
            return bits
        case IntElement():
            return floor_log2(Fraction(exact.grid_of(element.element).highest))
    raise UnsupportedError("rule: even needs elements of kind float or int")


def _largest(element: NumberFormat) -> Fraction:
    grid = exact.grid_of(element.element)
    return grid.value(grid.highest)


def exponent_code(level: ScaleLevel, element: NumberFormat, amax: Fraction, outside: Outside) -> int:
    """The code of a scale that is added to, or subtracted from, the outer exponent (29).

    k_outer is the exponent of the scale so far; that of 0 is below all others, that of Inf above.
    """
    most = (1 << number_format(level).bits) - 1
    subtracts = level.combine is Combine.EXPONENT_SUBTRACT
    outer = outside.scale
    if is_nan(outer) or amax == 0:
        return all_zero_code(level)
    if is_inf(outer) or real(outer) == 0:
        return most if is_inf(outer) == subtracts else 0
    k = floor_log2(amax) - floor_log2(abs(target_of(level.target, element))) - floor_log2(abs(real(outer)))
    return min(max(-k if subtracts else k, 0), most)
