"""Values of D converted to the arrays that callers get."""

from __future__ import annotations

from typing import Any

import numpy as np

from statqat_sim.arrays import dtype_name
from statqat_sim.arrays.tensors import converted, viewed
from statqat_sim.matmul.formats import HALF, SINGLE, value_dtype
from statqat_sim.spec.accelerator import Float64, Instruction, OperandFormat, precision_of

QUIET = {"float16": 0x7E00, "float32": 0x7FC00000, "float64": 0x7FF8 << 48}
"""The bits of the default quiet NaN of each dtype."""


def stored(instruction: Instruction, d: Any) -> Any:
    """D in its own dtype, or float32 if it has none, with each NaN replaced by the instruction's code."""
    if value_dtype(instruction) == "int32":
        return d
    name = _dtype(instruction.d)
    with np.errstate(over="ignore"):
        result = d if dtype_name(d) == name else converted(d, name)
    put_codes(result, result != result, _nan(instruction, name))
    return result


def put_codes(array: Any, places: Any, code: int) -> None:
    """Write the bits of a code to some places, as signed integers, which every library has."""
    bits = 8 * array.itemsize
    viewed(array, f"int{bits}")[places] = code - (1 << bits) if code >> bits - 1 else code


def _dtype(d: OperandFormat) -> str:
    """The dtype with D's bit fields, or float32, which holds the values of all other formats."""
    if isinstance(d, Float64):
        return "float64"
    return "float16" if precision_of(d) == HALF else "float32"


def _nan(instruction: Instruction, dtype: str) -> int:
    """The NaN code of D; if float32 holds a narrower D, the quiet float32 NaN with that code's sign and mantissa."""
    nan, d = instruction.special.nan, instruction.d
    precision = precision_of(d)
    if nan is None or precision is None:
        return QUIET[dtype]
    if dtype != "float32" or precision == SINGLE:
        return nan
    sign, mantissa = nan >> d.bits - 1, nan & (1 << precision.mantissa_bits) - 1
    return QUIET[dtype] | sign << 31 | mantissa << SINGLE.mantissa_bits - precision.mantissa_bits
