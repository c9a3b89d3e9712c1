"""Values of D as the arrays that callers get."""

from __future__ import annotations

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.spec.accelerator import Float64, Instruction
from statqat_sim.spec.accelerator_dot import Precision, Sum

HALF = Precision(exponent_bits=5, mantissa_bits=10)
QUIET = {"float16": 0x7E00, "float32": 0x7FC00000, "float64": 0x7FF8 << 48}


def stored(instruction: Instruction, d: Array) -> Array:
    """D in its own dtype, each NaN with the instruction's code."""
    if instruction.dot is not None and instruction.dot.sum is Sum.INTEGER:
        return d.astype(np.int32, copy=False)
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(d.astype(_dtype(instruction), copy=False))
    return canonical(instruction, result)


def canonical(instruction: Instruction, result: Array) -> Array:
    """The same array; every NaN has the instruction's code."""
    wrong = np.isnan(result)
    if wrong.any():
        nan = instruction.special.nan
        code = QUIET[result.dtype.name] if nan is None else nan
        result.view(f"u{result.itemsize}")[wrong] = code
    return result


def _dtype(instruction: Instruction) -> str:
    d = instruction.d
    if isinstance(d, Float64):
        return "float64"
    return d.name if d.name in QUIET else "float32"
