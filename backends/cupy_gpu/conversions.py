"""Conversions between float dtypes: cupy's own kernels flush float32 subnormals to zero and lose the signs of NaN."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from statqat_sim.backends.cupy_gpu.kernel_text import THREADS, KernelText
from statqat_sim.backends.cupy_gpu.launcher import Launcher
from statqat_sim.plan.program import Storage

_WORDS: Final = {Storage.FLOAT16: "u16", Storage.FLOAT32: "u32", Storage.FLOAT64: "u64"}

_BODIES: Final = {
    (Storage.FLOAT16, Storage.FLOAT32): """
    const u32 sign = (a & 0x8000u) << 16, rest = a & 0x7fffu;
    const u32 subnormal = word_mul(__float_as_uint((float)rest), 0x33800000u);
    const u32 number = rest < 0x400u ? subnormal : (rest << 13) + (112u << 23);
    result[i] = sign | (rest < 0x7c00u ? number : rest == 0x7c00u ? 0x7f800000u : 0x7fc00000u);
""",
    (Storage.FLOAT64, Storage.FLOAT32): """
    const u32 sign = (u32)(a >> 63) << 31, number = __float_as_uint(narrowed(__longlong_as_double(a)));
    result[i] = is_nan(number) ? sign | 0x7fc00000u : number;
""",
    (Storage.FLOAT32, Storage.FLOAT64): """
    result[i] = __double_as_longlong(widened(__uint_as_float(a)));
""",
}
"""C statements that convert word `a`, element `i`. Subnormal float16 are multiplied by 2^-24, others rebiased."""


def converted(source: Any, floats: Storage, target: Any, to: Storage, launcher: Launcher) -> Any:
    """Convert `source` into `target`, both in C order, and return `target`. Payloads of NaN are not kept."""
    count = math.prod(source.shape)
    if count:
        arguments = [launcher.pointer(source), launcher.pointer(target), np.uint64(count)]
        launcher.load(_text(floats, to))(-(-count // THREADS), THREADS, arguments, source)
    return target


def _text(floats: Storage, to: Storage) -> KernelText:
    body = f"""
const u64 i = (u64)blockIdx.x * {THREADS} + threadIdx.x;
if (i < count) {{
    const {_WORDS[floats]} a = x[i];
{_BODIES[floats, to].strip(chr(10))}
}}
"""
    return KernelText(f"{floats}_to_{to}", (f"const {_WORDS[floats]} *x", f"{_WORDS[to]} *result", "u64 count"), body)
