"""Plans without what their numbers make superfluous.

Kernels are compiled once for many formats, so a plan's shape knows no numbers. Readers and gates pay for every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.ranges import Range, ranges
from statqat_sim.plan.step import Op

BYTES: Final = 4
"""Bytes of a word of a table."""


def simplified(plan: CodecPlan) -> CodecPlan:
    """The same function in fewer steps: what is known is a number, and what changes nothing is left out."""
    while (shorter := _pass(plan)) != plan:
        plan = shorter
    return plan


def _pass(plan: CodecPlan) -> CodecPlan:
    builder, shape, found = Builder(), plan.shape, ranges(plan)
    inputs: dict[tuple[Op, int], Word] = {}
    for index, stream in enumerate(shape.streams):
        if stream.storage in (Storage.UINT64, Storage.FLOAT64):
            inputs[Op.INPUT_HIGH, index], inputs[Op.INPUT, index] = builder.input_pair(stream.name, stream.storage)
        else:
            inputs[Op.INPUT, index] = builder.input(stream.name, stream.storage)
    tables, words = _read(plan, found), list[Word]()
    for step, known in zip(shape.steps, found, strict=True):
        if step.op in (Op.INPUT, Op.INPUT_HIGH):
            words.append(inputs[step.op, step.value])
        elif step.op is Op.PARAM:
            words.append(builder.param(shape.params[step.value], plan.params[step.value]))
        elif known.number is not None:
            words.append(builder.const(known.number))
        elif step.op is Op.TABLE:
            words.append(builder.table(shape.tables[step.value], tables[step.value], words[step.args[0]]))
        else:
            words.append(_word(step.op, [words[arg] for arg in step.args], [found[arg] for arg in step.args]))
    return builder.finish(tuple(words[output] for output in shape.outputs), shape.result)


def _read(plan: CodecPlan, found: Sequence[Range]) -> list[bytes]:
    """The tables up to the last word that a step may read."""
    ends = [0] * len(plan.tables)
    for step in plan.shape.steps:
        if step.op is Op.TABLE:
            ends[step.value] = max(ends[step.value], found[step.args[0]].high + 1)
    return [table[: BYTES * end] for table, end in zip(plan.tables, ends, strict=True)]


def _word(op: Op, words: Sequence[Word], known: Sequence[Range]) -> Word:
    """The result of an operation, or the operand that it equals."""
    same = _same(op, words, known)
    return words[0].on(op, *words[1:]) if same is None else words[same]


def _same(op: Op, words: Sequence[Word], known: Sequence[Range]) -> int | None:
    """Which operand an operation always gives back, if any."""
    a, b, *rest = known
    match op:
        case Op.SELECT:
            if a.low > 0 or words[1] == words[2]:
                return 1
            if a.high == 0:
                return 2
            return 0 if (a.high, b.number, rest[0].number) == (1, 1, 0) else None
        case Op.ADD | Op.OR | Op.XOR if a.number == 0:
            return 1
        case Op.ADD | Op.OR | Op.XOR | Op.SUB | Op.SHL | Op.SHR if b.number == 0:
            return 0
        case Op.AND if b.number is not None and a.ones & ~b.number == 0:
            return 0
        case Op.AND if a.number is not None and b.ones & ~a.number == 0:
            return 1
        case Op.MIN | Op.MAX if a.high <= b.low:
            return 0 if op is Op.MIN else 1
        case Op.MIN | Op.MAX if b.high <= a.low:
            return 1 if op is Op.MIN else 0
        case Op.LT if a.number == 0 and b.high == 1:
            return 1
        case Op.EQ if b.number == 1 and a.high == 1:
            return 0
    return None
