"""Which words are powers of two, as scales of MX formats are."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statqat_sim.plan.layout import HIDDEN_BIT, INFINITY, MAGNITUDE, MANTISSA_BITS, SIGN
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.ranges import Range, ranges
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.interpret import interpret

TRIED_BITS: Final = 16
"""Of arguments that are all tried."""


def powers(plan: CodecPlan, arguments: AbstractSet[str]) -> tuple[bool, ...]:
    """Whether each step's word, as a float32, is always a power of two, positive or negative, or 0, Inf or NaN.

    Args:
        plan: its words need not all be floats.
        arguments: the names of streams that are such powers.
    """
    found: list[bool] = []
    known = ranges(plan)
    for step, reach in zip(plan.shape.steps, known, strict=True):
        named = step.op is Op.INPUT and plan.shape.streams[step.value].name in arguments
        found.append(named or _is_number(reach) or _follows(step, [found[arg] for arg in step.args], known))
    return tuple(found)


def gives_powers(plan: CodecPlan, arguments: AbstractSet[str]) -> bool:
    """Whether a plan's result is always such a power: by its steps, or as all codes show that it may read."""
    if powers(plan, arguments)[plan.shape.outputs[0]]:
        return True
    widths = [stream.storage.bits for stream in plan.shape.streams]
    if not 0 < sum(widths) <= TRIED_BITS:
        return False
    codes = np.arange(1 << sum(widths), dtype=np.uint32)
    firsts = [sum(widths[:place]) for place in range(len(widths))]
    streams = [codes >> first & (1 << width) - 1 for first, width in zip(firsts, widths, strict=True)]
    return bool(_are_powers(interpret(plan, streams)).all())


def _is_number(reach: Range) -> bool:
    """Whether a word is known, and such a power."""
    return reach.number is not None and bool(_are_powers(np.array([reach.number], np.uint32))[0])


def _are_powers(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    magnitude = words & np.uint32(MAGNITUDE)
    fraction = magnitude & np.uint32(HIDDEN_BIT - 1)
    is_one_bit = fraction & fraction - np.uint32(1) == 0
    found = (magnitude > INFINITY) | (fraction == 0) | (magnitude < HIDDEN_BIT) & is_one_bit
    return np.asarray(found, np.bool_)


def _follows(step: Step, args: list[bool], known: tuple[Range, ...]) -> bool:
    """Whether a step makes a power of its operands."""
    match step.op:
        case Op.FMUL | Op.FDIV | Op.MIN | Op.MAX:
            return all(args)
        case Op.SELECT:
            return all(args[1:])
        case Op.SHL:
            moved, distance = (known[arg] for arg in step.args)
            return distance.low >= MANTISSA_BITS or moved.number == 1
        case Op.AND | Op.OR | Op.XOR:
            mask = known[step.args[1]].number
            return args[0] and mask in ((MAGNITUDE, SIGN) if step.op is Op.AND else (SIGN,))
    return False
