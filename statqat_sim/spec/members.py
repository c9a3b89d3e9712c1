"""Membership tests: whether a format has a value, and its powers of two."""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction

from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.encode import Element
from statqat_sim.spec.floating import FloatElement, Subnormals
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.listed import ListedElement


def holds(element: Element, value: float) -> bool:
    """Whether the encoder produces this finite value."""
    if isinstance(element, ListedElement):
        return value in element.levels
    if isinstance(element, IntElement):
        integer = Fraction(value) * Fraction(2) ** element.fraction_bits
        return integer.denominator == 1 and element.range[0] <= integer <= element.range[1]
    if value == 0:
        return element.has_zero
    if value < 0 and not element.signed:
        return False
    magnitudes = range(element.min_magnitude, element.max_magnitude + 1)
    index = bisect_left(magnitudes, abs(value), key=element.magnitude_value)
    return index < len(magnitudes) and element.magnitude_value(magnitudes[index]) == abs(value)


def includes(element: Element, other: Element) -> bool:
    """Whether the encoder of `element` produces every value of `other`, NaN and Inf too.

    An `other` of more than 16 bits is included only in itself and, if both are floats, in a wider one.
    """
    if element == other:
        return True
    if (other.nan_count and not element.nan_count) or (other.inf_count and not element.inf_count):
        return False
    if isinstance(element, FloatElement) and isinstance(other, FloatElement) and _is_wider(element, other):
        return True
    if other.bits > MAX_TABLE_BITS:
        return False
    return all(holds(element, value) for value in map(other.value, range(1 << other.bits)) if math.isfinite(value))


def _is_wider(element: FloatElement, other: FloatElement) -> bool:
    """Whether `element` has at least the precision, the smallest step and the largest value of `other`."""
    if element.subnormals is not Subnormals.GRADUAL or element.mantissa_bits < other.mantissa_bits:
        return False
    has_steps = element.emin - element.mantissa_bits <= other.emin - other.mantissa_bits
    return has_steps and element.lowest <= other.lowest and other.highest <= element.highest


def power_range(element: Element) -> tuple[int, int] | None:
    """Exponents of the smallest and the largest positive power of two, if all between them are values, too.

    None for other kinds than float and int, and for floats whose subnormals leave a gap in the powers.
    """
    if isinstance(element, ListedElement) or element.highest <= 0:
        return None
    last = math.frexp(element.highest)[1] - 1
    first = -element.fraction_bits if isinstance(element, IntElement) else _first_power(element)
    return None if first is None or first > last else (first, last)


def only_powers_of_two(element: Element) -> bool:
    """Whether every positive value is a power of two, as in a float without mantissa."""
    return isinstance(element, FloatElement) and element.mantissa_bits == 0


def _first_power(element: FloatElement) -> int | None:
    if element.subnormals is Subnormals.RAW and element.mantissa_bits:
        return None
    if element.subnormals is Subnormals.GRADUAL:
        return element.emin - element.mantissa_bits
    return -element.bias if not element.has_zero else 1 - element.bias
