"""A plan as lines of a language: one for each step, with the width that is proven for its word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from statqat_sim.export.arithmetic import FLOAT_OPERATIONS, Operation
from statqat_sim.export.functions import Function
from statqat_sim.export.powers import powers
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.ranges import ranges
from statqat_sim.plan.step import Op, Step


@dataclass(frozen=True, slots=True)
class Operand:
    """A word that later lines read: a variable, an argument, or a number of the format."""

    text: str
    bits: int
    number: int | None = None
    is_power: bool = False
    """See `powers`."""


@dataclass(frozen=True, slots=True)
class Line:
    """`name = expression`, and what its numbers mean."""

    name: str
    bits: int
    expression: str
    comment: str


class Printer(Protocol):
    """A language's expressions."""

    def stream(self, step: Step) -> str:
        """A word of an argument."""

    def number(self, number: int) -> str:
        """A number where it stands alone."""

    def table(self, name: str, index: Operand) -> str:
        """An entry of a table."""

    def operation(self, op: Op, args: list[Operand], bits: int) -> str:
        """An operation whose result has so many bits."""


def lines_of(function: Function, printer: Printer) -> tuple[list[Line], list[Operand]]:
    """The lines of a function, and the words that it returns, low word first."""
    plan = function.plan
    lines: list[Line] = []
    words: list[Operand] = []
    steps = zip(plan.shape.steps, ranges(plan), powers(plan, function.powers), strict=True)
    for step, known, is_power in steps:
        if step.op in (Op.CONST, Op.PARAM):
            words.append(Operand(printer.number(known.low), known.bits, known.low, is_power))
            continue
        args = [words[arg] for arg in step.args]
        match step.op:
            case Op.INPUT | Op.INPUT_HIGH:
                expression = printer.stream(step)
            case Op.TABLE:
                expression = printer.table(plan.shape.tables[step.value], *args)
            case _:
                expression = printer.operation(step.op, args, known.bits)
        name = f"v{len(lines)}"
        lines.append(Line(name, known.bits, expression, ", ".join(_named(plan, step))))
        words.append(Operand(name, known.bits, is_power=is_power))
    return lines, [words[output] for output in plan.shape.outputs]


def float_operation(op: Op, args: list[Operand]) -> Operation:
    """Which operation computes a step of floats."""
    return FLOAT_OPERATIONS[op][args[1].is_power]


def _named(plan: CodecPlan, step: Step) -> Iterator[str]:
    """The names of the format's numbers that a step reads."""
    for arg in step.args:
        operand = plan.shape.steps[arg]
        if operand.op is Op.PARAM:
            yield plan.shape.params[operand.value]
