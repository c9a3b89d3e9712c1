"""Plans and words that the GPU's kernels are tried on, behind the shim and on a GPU."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from statqat_sim.plan.program import CodecPlan, Op, PlanShape, Step, Storage, Stream
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.number import NumberFormat

Array = Any

X, Y = Stream("x", Storage.FLOAT32), Stream("scale", Storage.FLOAT32)
FLOAT_OPS = [Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV]
NANS = [0x7FC0_0000, 0x7F80_0001, 0x7FAB_CDEF, 0x7FFF_FFFF, 0xFFC0_0000, 0xFF80_0001, 0xFFFF_FFFF, 0xFFC1_2345]


def of_two_streams(*steps: Step) -> CodecPlan:
    steps = (Step(Op.INPUT), Step(Op.INPUT, (), 1), *steps)
    return CodecPlan(PlanShape(steps, (X, Y), (), (), Storage.UINT32, (len(steps) - 1,)))


def pairs(words: Any) -> tuple[Array, Array]:
    words = np.asarray(words, np.uint32)
    return np.repeat(words, len(words)), np.tile(words, len(words))


@cache
def whole_numbers(bits: int, order: str) -> NumberFormat:
    element = f"{{kind: int, encoding: unsigned, bits: {bits}}}"
    return parse_format(f"name: dense{bits}\nelement: {element}\npack: {{bit_order: {order}}}\n")
