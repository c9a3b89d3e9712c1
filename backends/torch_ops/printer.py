"""Prints a plan as a Python function of straight-line torch operations, which torch's compiler traces as one graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from statqat_sim.backends.torch_ops.affine import Affine
from statqat_sim.backends.torch_ops.operations import Operand, expression
from statqat_sim.plan.layout import INFINITY, MAGNITUDE
from statqat_sim.plan.program import CodecPlan, PlanShape
from statqat_sim.plan.ranges import ranges
from statqat_sim.plan.step import Op, Step

NAME = "run"


def printed(plan: CodecPlan) -> str:
    """The source of `run(streams, tables, device)`, which maps each stream's (low, high) words to the plan's outputs.

    Words are int32 tensors that broadcast against each other; the high word of a narrow stream is None. An output that
    depends on no stream has shape ().
    """
    return "\n".join([f"def {NAME}(streams, tables, device):", *(f"    {line}" for line in _lines(plan))]) + "\n"


def _lines(plan: CodecPlan) -> Iterator[str]:
    shape = plan.shape
    known: list[Operand] = []
    sheltered = frozenset(_sheltered(plan.shape))
    for index, (step, reach) in enumerate(zip(shape.steps, ranges(plan), strict=True)):
        if reach.number is not None:
            known.append(Operand.known(reach.number))
            continue
        args = [known[arg] for arg in step.args]
        if index in sheltered:
            args[1] = replace(args[1], magnitude=min(args[1].magnitude, INFINITY))
        name, table = f"v{index}", _affine(plan, step, args)
        if table is not None:
            yield f"{name} = {table.at(args[0])}"
            known.append(Operand(name, None, reach.high, table.most, is_float=True))
            continue
        if step.op in (Op.INPUT, Op.INPUT_HIGH):
            yield f"{name} = streams[{step.value}][{int(step.op is Op.INPUT_HIGH)}]"
        else:
            yield f"{name} = {expression(step.op, args, step.value)}"
        known.append(Operand.result(name, step.op, args, reach))
    yield f"return ({', '.join(_result(known[output]) for output in shape.outputs)},)"


def _sheltered(shape: PlanShape) -> Iterator[int]:
    """The products that are read only where their second operand, a scale, is not NaN."""
    steps = shape.steps
    reads = Counter(chain(shape.outputs, *(step.args for step in steps)))
    for condition, _, product in (step.args for step in steps if step.op is Op.SELECT):
        is_read_here = steps[product].op is Op.FMUL and reads[product] == 1
        if is_read_here and _tested_for_nan(steps, steps[condition]) == steps[product].args[1]:
            yield product


def _tested_for_nan(steps: Sequence[Step], condition: Step) -> int | None:
    """The step whose word `block_scale.is_nan` tests with this condition."""
    if condition.op is Op.LT and steps[condition.args[0]] == Step(Op.CONST, (), INFINITY):
        magnitude = steps[condition.args[1]]
        if magnitude.op is Op.AND and steps[magnitude.args[1]] == Step(Op.CONST, (), MAGNITUDE):
            return magnitude.args[0]
    return None


def _affine(plan: CodecPlan, step: Step, args: list[Operand]) -> Affine | None:
    """The table that a step reads, if its words can be computed."""
    return Affine.of(plan.tables[step.value], args[0].limit) if step.op is Op.TABLE else None


def _result(operand: Operand) -> str:
    return operand.word if operand.constant is None else f"word({operand.word}, device)"
