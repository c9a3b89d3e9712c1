"""Formats compared: operands and scales with the same codes, and the dtype in which kernels compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from statqat_sim.spec.accelerator import Float64, Instruction, OperandFormat, Scaling
from statqat_sim.spec.accelerator_dot import Precision
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat

HALF: Final = Precision(exponent_bits=5, mantissa_bits=10)
SINGLE: Final = Precision(exponent_bits=8, mantissa_bits=23)


def have_same_codes(a: OperandFormat, b: OperandFormat) -> bool:
    """Whether two formats decode codes to the same values, and encode numbers to the same codes."""
    if isinstance(a, Float64) or isinstance(b, Float64):
        return a == b
    return (a.element, a.encode) == (b.element, b.encode)


def operand_of(operands: Sequence[OperandFormat], format: Format) -> NumberFormat | None:
    """The operand that decodes codes like a number format, or like a block format's elements; None without one."""
    number = format.element if isinstance(format, BlockFormat) else format
    numbers = [each for each in operands if not isinstance(each, Float64)]
    return next((each for each in numbers if each.element == number.element), None)


def means_scales(format: Format, scaling: Scaling) -> bool:
    """Whether a format, taken as unsigned, decodes codes like an instruction's scale format."""
    if not isinstance(format, NumberFormat):
        return False
    wanted = scaling.format.element
    unsigned = {"signed": False, "zero": getattr(wanted, "zero", None)}
    return format.element.model_copy(update=unsigned) == wanted


def value_dtype(instruction: Instruction) -> str:
    """The dtype in which the values of A, B, C and D are stored."""
    if isinstance(instruction.d, Float64):
        return "float64"
    return "int32" if isinstance(instruction.d.element, IntElement) else "float32"
