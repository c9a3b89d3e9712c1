"""The executable definition of every op: a plan executed by numpy, one line per op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.step import Op

Words = NDArray[Any]


def interpret(plan: CodecPlan, streams: Sequence[Words]) -> Words:
    """Run a plan.

    Args:
        plan: the program.
        streams: one array of unsigned integers per stream; they broadcast against each other.

    Returns:
        The result words, uint32; 8- and 16-bit results are zero-extended. Several outputs are along a last axis.
    """
    shape = plan.shape
    tables = [np.frombuffer(table, "<u4") for table in plan.tables]
    lengths = np.broadcast_shapes(*(np.shape(stream) for stream in streams))
    results: list[Words] = []
    with np.errstate(all="ignore"):
        for step in shape.steps:
            args = [results[arg] for arg in step.args]
            results.append(_execute(step.op, step.value, args, plan.params, tables, streams))
    outputs = [np.broadcast_to(results[index], lengths).astype(np.uint32) for index in shape.outputs]
    if len(outputs) > 1:
        return np.stack(outputs, axis=-1)
    return outputs[0] & np.uint32((1 << min(shape.result.bits, 32)) - 1)


def _execute(
    op: Op, value: int, a: list[Words], params: Sequence[int], tables: Sequence[Words], streams: Sequence[Words]
) -> Words:
    match op:
        case Op.INPUT:
            return streams[value].astype(np.uint32)  # the low word
        case Op.INPUT_HIGH:
            return (streams[value] >> np.uint64(32)).astype(np.uint32)
        case Op.CONST:
            return np.uint32(value)  # type: ignore[return-value]  # a scalar broadcasts like an array
        case Op.PARAM:
            return np.uint32(params[value])  # type: ignore[return-value]
        case Op.ADD:
            return a[0] + a[1]
        case Op.SUB:
            return a[0] - a[1]
        case Op.MUL:
            return a[0] * a[1]
        case Op.MULHI:
            return (a[0].astype(np.uint64) * a[1] >> np.uint64(32)).astype(np.uint32)
        case Op.AND:
            return a[0] & a[1]
        case Op.OR:
            return a[0] | a[1]
        case Op.XOR:
            return a[0] ^ a[1]
        case Op.SHL:
            return a[0] << a[1]
        case Op.SHR:
            return a[0] >> a[1]
        case Op.MIN:
            return np.minimum(a[0], a[1])
        case Op.MAX:
            return np.maximum(a[0], a[1])
        case Op.EQ:
            return np.asarray(a[0] == a[1]).astype(np.uint32)
        case Op.LT:
            return np.asarray(a[0] < a[1]).astype(np.uint32)
        case Op.SELECT:
            return np.where(a[0] != 0, a[1], a[2])
        case Op.TABLE:
            return tables[value][a[0]]
        case Op.FADD:
            return _bits(_float(a[0]) + _float(a[1]))
        case Op.FSUB:
            return _bits(_float(a[0]) - _float(a[1]))
        case Op.FMUL:
            return _bits(_float(a[0]) * _float(a[1]))
        case Op.FDIV:
            return _bits(_float(a[0]) / _float(a[1]))


def _float(words: Words) -> NDArray[np.float32]:
    return np.asarray(words).view(np.float32)


def _bits(values: NDArray[np.float32]) -> Words:
    return np.asarray(values, np.float32).view(np.uint32)
