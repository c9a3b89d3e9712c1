"""Values of D as the arrays that callers get."""

from __future__ import annotations

from typing import Any

import numpy as np

from statqat_sim.arrays import dtype_name
from statqat_sim.arrays.tensors import converted, viewed
from statqat_sim.matmul.formats import HALF, SINGLE, value_dtype
from statqat_sim.spec.accelerator import Float64, Instruction, OperandFormat, precision_of

QUIET = {"float16": 0x7E00, "float32": 0x7FC00000, "float64": 0x7FF8 << 48}


def stored(instruction: Instruction, d: Any) -> Any:
    """D in its own dtype, or in float32, each NaN with the instruction's code."""
    if value_dtype(instruction) == "int32":
        return d
    name = _dtype(instruction.d)
    with np.errstate(over="ignore"):
        result = d if dtype_name(d) == name else converted(d, name)
    put_codes(result, result != result, _nan(instruction, name))
    return result


def put_codes(array: Any, places: Any, code: int) -> None:
    """Write the bits of a code to some places; signed, as no library lacks such integers."""
    bits = 8 * array.itemsize
    viewed(array, f"int{bits}")[places] = code - (1 << bits) if code >> bits - 1 else code


def _dtype(d: OperandFormat) -> str:
    """With D's fields, or float32, which holds all others."""
    if isinstance(d, Float64):
        return "float64"
    return "float16" if precision_of(d) == HALF else "float32"


def _nan(instruction: Instruction, dtype: str) -> int:
    """The code of every NaN; in float32 that holds a D of fewer bits, its sign and its mantissa, quiet."""
    nan, d = instruction.special.nan, instruction.d
    precision = precision_of(d)
    if nan is None or precision is None:
        return QUIET[dtype]
    if dtype != "float32" or precision == SINGLE:
        return nan
    sign, mantissa = nan >> d.bits - 1, nan & (1 << precision.mantissa_bits) - 1
    return QUIET[dtype] | sign << 31 | mantissa << SINGLE.mantissa_bits - precision.mantissa_bits
