"""Random programs of integer operations, and what Python's own integers make of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from statqat_sim.plan.builder import Builder
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.step import ARITY, Op

INTEGER_OPS = [op for op in Op if ARITY[op] and not op.value.startswith("f")]
NUMBERS = st.sampled_from([0, 1, 3, 7, 23, 31, 32, 0xFF, 0x8000_0000, 0xFFFF_FFFF])


@st.composite
def programs(draw: st.DrawFn) -> CodecPlan | None:
    """Programs of any integer ops; None if the verifier refuses what was drawn."""
    builder = Builder()
    words = [builder.input("x", draw(st.sampled_from([Storage.UINT8, Storage.UINT32])))]
    for step in range(draw(st.integers(2, 10))):
        number = draw(NUMBERS)
        words.append(builder.const(number) if draw(st.booleans()) else builder.param(f"p{step}", number))
        picked = st.sampled_from(words)
        op = draw(st.sampled_from(INTEGER_OPS))
        args = [draw(picked) for _ in range(ARITY[op])]
        if op in (Op.SHL, Op.SHR, Op.TABLE) and draw(st.integers(0, 3)):  # mostly within bounds
            args[-1] = args[-1].min(draw(st.integers(0, 31)))
        if op is Op.TABLE:
            words.append(builder.table(f"t{step}", draw(st.binary(min_size=32, max_size=256).map(_whole)), *args))
        else:
            words.append(args[0].on(op, *args[1:]))
    try:
        return builder.finish(words[-1], Storage.UINT32)
    except ValueError:
        return None


def _whole(data: bytes) -> bytes:
    return data[: len(data) // 4 * 4]


M = 0xFFFF_FFFF
FEW = np.array([0, 1, 2, 31, 32, 255, 1 << 31, M], np.uint32)
"""Words that are worth a try."""

MODEL: dict[Op, Callable[..., int]] = {
    Op.ADD: lambda a, b: (a + b) & M,
    Op.SUB: lambda a, b: (a - b) & M,
    Op.MUL: lambda a, b: a * b & M,
    Op.MULHI: lambda a, b: a * b >> 32,
    Op.AND: lambda a, b: a & b,
    Op.OR: lambda a, b: a | b,
    Op.XOR: lambda a, b: a ^ b,
    Op.SHL: lambda a, b: (a << b) & M if b < 32 else 1 // 0,
    Op.SHR: lambda a, b: a >> b if b < 32 else 1 // 0,
    Op.MIN: min,
    Op.MAX: max,
    Op.EQ: lambda a, b: int(a == b),
    Op.LT: lambda a, b: int(a < b),
    Op.SELECT: lambda a, b, c: b if a else c,
}


def in_python(plan: CodecPlan, x: int) -> list[int]:
    """The word of each step of a plan of integer ops, for one input."""
    results: list[int] = []
    for step in plan.shape.steps:
        args = [results[arg] for arg in step.args]
        match step.op:
            case Op.INPUT:
                results.append(x)
            case Op.CONST:
                results.append(step.value)
            case Op.PARAM:
                results.append(plan.params[step.value])
            case Op.TABLE:
                word = plan.tables[step.value][4 * args[0] : 4 * args[0] + 4]
                assert len(word) == 4
                results.append(int.from_bytes(word, "little"))
            case _:
                results.append(MODEL[step.op](*args))
    return results
