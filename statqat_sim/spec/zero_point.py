"""Integer formats with a zero-point: code q stands for q - zero_point.

Only the range is shifted: rounding, adding the zero-point and then saturating, as ONNX QuantizeLinear does, equals
saturating in the shifted range and then adding the zero-point.
"""

from __future__ import annotations

from statqat_sim.errors import UnsupportedError
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.encode import NegativeInput, Overflow
from statqat_sim.spec.integer import Encoding, IntElement
from statqat_sim.spec.number import NumberFormat

FEWEST_STEPS = 2
"""The smallest allowed range, greatest minus least integer: below it, no values lie on both sides of zero."""

ALLOWED = (
    f"kind int of 3 or more values, of up to {MAX_TABLE_BITS} bits, with fraction_bits: 0, overflow: saturate, "
    "negative_input: clamp, and nan_input: max, zero or error"
)


def integers(format: NumberFormat) -> IntElement:
    """The element of a format that may have zero-points.

    Raises:
        UnsupportedError: if it may not.
    """
    element, why = format.element, _why_not(format)
    if why is not None or not isinstance(element, IntElement):
        raise UnsupportedError(f"{format.name} takes no zero-point: {why}; allowed: {ALLOWED}")
    return element


def with_zero_point(format: NumberFormat, zero_point: int) -> NumberFormat:
    """The format in which the integer q of `format` stands for q - zero_point.

    Its codes count from the least integer that the bits of `format` hold: codes of an unsigned format stay the same, in
    two's complement the top bit is flipped.

    Raises:
        UnsupportedError: if the format may have no zero-point.
        ValueError: if the zero-point is not one of its integers.
    """
    element = integers(format)
    low, high = element.range
    if not low <= zero_point <= high:
        raise ValueError(f"zero_point is {zero_point}; allowed in {format.name}: {low} to {high}")
    shifted = IntElement(
        kind="int",
        bits=element.bits,
        encoding=Encoding.OFFSET_BINARY,
        offset=zero_point - element.full_range[0],
        min=low - zero_point,
        max=high - zero_point,
    )
    return _with_element(format, shifted, f"{format.name} with zero-point {zero_point}")


def with_any_zero_point(format: NumberFormat) -> NumberFormat:
    """The format with one more bit that holds q - zero_point for every zero-point.

    Raises:
        UnsupportedError: if the format may have no zero-point.
    """
    element = integers(format)
    low, high = element.range
    wide = IntElement(kind="int", bits=element.bits + 1, min=low - high, max=high - low)
    return _with_element(format, wide, f"{format.name} with any zero-point")


def _with_element(format: NumberFormat, element: IntElement, name: str) -> NumberFormat:
    return NumberFormat(name=name, element=element, encode=format.encode)


def _why_not(format: NumberFormat) -> str | None:
    element, policy = format.element, format.encode
    if not isinstance(element, IntElement):
        return f"kind is {element.kind}"
    if element.fraction_bits:
        return f"fraction_bits is {element.fraction_bits}"
    if element.bits > MAX_TABLE_BITS:
        return f"it has {element.bits} bits"
    low, high = element.range
    if high - low < FEWEST_STEPS:
        return f"its only integers are {low} and {high}"
    if policy.overflow is not Overflow.SATURATE:
        return f"overflow is {policy.overflow.value}"
    if policy.negative_input is not NegativeInput.CLAMP:
        return f"negative_input is {policy.negative_input.value}"
    return f"nan_input is code {policy.nan_input}" if type(policy.nan_input) is int else None
