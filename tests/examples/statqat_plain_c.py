"""A backend of a third party: plans as C, compiled by the system's compiler. See CONTRIBUTING.md.

Its door is the entry point in `statqat_plain_c-0.1.dist-info`, which pip writes for an installed package.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from statqat_sim.arrays import as_numpy, as_scale, in_kind, result_array
from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.program import CodecPlan, Packed, PlanShape
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.streams import random_fields, words

INFIX = {Op.ADD: "+", Op.SUB: "-", Op.MUL: "*", Op.AND: "&", Op.OR: "|", Op.XOR: "^", Op.SHL: "<<", Op.SHR: ">>"}
INFIX |= {Op.EQ: "==", Op.LT: "<"}
FLOAT = {Op.FADD: "+", Op.FSUB: "-", Op.FMUL: "*", Op.FDIV: "/"}
C = """
#include <stdint.h>
#include <string.h>
static float of(uint32_t word) { float x; memcpy(&x, &word, 4); return x; }
static uint32_t bits(float x) { uint32_t word; memcpy(&word, &x, 4); return word; }
void run(uint64_t count, uint64_t **in, uint64_t *out, const uint32_t *p, const uint32_t **t)
{ for (uint64_t i = 0; i < count; i++) { %s } }
"""


def expression(step: Step) -> str:
    """One step in C."""
    a, value = [f"v{arg}" for arg in step.args], step.value
    match step.op:
        case op if op in INFIX:
            return f"{a[0]} {INFIX[op]} {a[1]}"
        case op if op in FLOAT:
            return f"bits(of({a[0]}) {FLOAT[op]} of({a[1]}))"
        case Op.MIN | Op.MAX as op:
            return f"{a[0]} {'<' if op is Op.MIN else '>'} {a[1]} ? {a[0]} : {a[1]}"
        case Op.SELECT:
            return f"{a[0]} ? {a[1]} : {a[2]}"
        case Op.MULHI:
            return f"(uint64_t){a[0]} * {a[1]} >> 32"
    named = {Op.CONST: f"{value}u", Op.PARAM: f"p[{value}]", Op.INPUT: f"in[{value}][i]"}
    named |= {Op.INPUT_HIGH: f"in[{value}][i] >> 32", Op.TABLE: f"t[{value}][{''.join(a)}]"}
    return named[step.op]


@cache
def compiled(shape: PlanShape) -> Any:
    """The loop over a shape's steps. Constants of a format are arguments, so that formats share it."""
    body = " ".join(f"uint32_t v{place} = {expression(step)};" for place, step in enumerate(shape.steps))
    low, *high = shape.outputs
    source = C % f"{body} out[i] = v{low}{f' | (uint64_t)v{high[0]} << 32' if high else ''};"
    folder = Path(tempfile.mkdtemp())
    command = ["cc", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / "plan.so")]
    subprocess.run(command, input=source, text=True, check=True)
    return ctypes.CDLL(str(folder / "plan.so")).run


class PlainC:
    """See `statqat_sim.runtime.Backend`. It has no block formats: `compile_block` is left out."""

    name = "plain_c"

    def available(self) -> str | None:
        return None if shutil.which("cc") else "there is no C compiler; install one that answers to `cc`"

    def versions(self) -> Mapping[str, str]:
        return {}

    def owns(self, array: object) -> bool:
        return False  # named only: numpy's arrays are numba's

    def compile(self, plan: CodecPlan) -> Any:
        """A kernel: see `statqat_sim.runtime.Kernel`."""
        shape, x_stream = plan.shape, plan.shape.streams[0]
        if isinstance(x_stream.storage, Packed) or isinstance(shape.result, Packed):
            raise UnsupportedError("plain_c has no dense codes; allowed: one code to a byte or more")
        run, params = compiled(shape), np.array(plan.params, "<u4")
        tables = [np.frombuffer(table, "<u4") for table in plan.tables]

        def kernel(x: Any, *, out: Any = None, scale: Any = None, seed: int = 0, offset: int = 0, **_: Any) -> Any:
            source = as_numpy(x, x_stream.storage, x_stream.name)
            target = result_array(out, source.shape, shape.result)
            read = {"scale": lambda _: as_scale(scale, source.shape)}
            read["random"] = lambda storage: random_fields(seed, offset, source.shape, storage)
            arrays = [source, *(read[stream.name](stream.storage) for stream in shape.streams[1:])]
            streams = [words(np.broadcast_to(array, source.shape)).astype(np.uint64) for array in arrays]
            results = np.empty(source.shape, np.uint64)
            run(source.size, pointers(streams), address(results), address(params), pointers(tables))
            target[...] = results.astype(f"u{target.itemsize}").view(target.dtype)
            return in_kind(target, x) if out is None else out

        return kernel


def address(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def pointers(arrays: list[Any]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*[array.ctypes.data for array in arrays])
