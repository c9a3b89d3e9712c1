"""What formats have in common: operands whose codes mean the same, scales, and the dtype that kernels compute in."""

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
    """Whether codes mean the same, and numbers become the same codes, in two formats."""
    if isinstance(a, Float64) or isinstance(b, Float64):
        return a == b
    return (a.element, a.encode) == (b.element, b.encode)


def operand_of(operands: Sequence[OperandFormat], format: Format) -> NumberFormat | None:
    """The operand whose codes mean what those of a format, or of a block format's elements, do."""
    number = format.element if isinstance(format, BlockFormat) else format
    numbers = [each for each in operands if not isinstance(each, Float64)]
    return next((each for each in numbers if each.element == number.element), None)


def means_scales(format: Format, scaling: Scaling) -> bool:
    """Whether codes of a format, without a sign, mean what those of an instruction's scales do."""
    if not isinstance(format, NumberFormat):
        return False
    wanted = scaling.format.element
    unsigned = {"signed": False, "zero": getattr(wanted, "zero", None)}
    return format.element.model_copy(update=unsigned) == wanted


def value_dtype(instruction: Instruction) -> str:
    """Of values of A, B, C and D."""
    if isinstance(instruction.d, Float64):
        return "float64"
    return "int32" if isinstance(instruction.d.element, IntElement) else "float32"
