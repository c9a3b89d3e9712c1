"""Values of D as the arrays that callers get."""

from __future__ import annotations

from typing import Any

import numpy as np

from statqat_sim.arrays import dtype_name
from statqat_sim.arrays.tensors import converted, viewed
from statqat_sim.spec.accelerator import Float64, Instruction
from statqat_sim.spec.accelerator_dot import Sum

QUIET = {"float16": 0x7E00, "float32": 0x7FC00000, "float64": 0x7FF8 << 48}


def stored(instruction: Instruction, d: Any) -> Any:
    """D in its own dtype, each NaN with the instruction's code."""
    if instruction.dot is not None and instruction.dot.sum is Sum.INTEGER:
        return d
    name = _dtype(instruction)
    if dtype_name(d) == name:
        return canonical(instruction, d)
    with np.errstate(over="ignore"):
        return canonical(instruction, converted(d, name))


def canonical(instruction: Instruction, result: Any) -> Any:
    """The same array; every NaN has the instruction's code."""
    nan = instruction.special.nan
    put_codes(result, result != result, QUIET[dtype_name(result)] if nan is None else nan)
    return result


def put_codes(array: Any, places: Any, code: int) -> None:
    """Write the bits of a code to some places; signed, as no library lacks such integers."""
    bits = 8 * array.itemsize
    viewed(array, f"int{bits}")[places] = code - (1 << bits) if code >> bits - 1 else code


def _dtype(instruction: Instruction) -> str:
    d = instruction.d
    if isinstance(d, Float64):
        return "float64"
    return d.name if d.name in QUIET else "float32"
