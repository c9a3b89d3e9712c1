"""Functions as text of C99."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from statqat_sim.export.arithmetic import FLOAT_OPERATIONS
from statqat_sim.export.functions import Function, identifier
from statqat_sim.export.lines import Operand, float_operation, lines_of
from statqat_sim.plan.program import Stream
from statqat_sim.plan.step import Op, Step

OPERATIONS: Final = {
    Op.ADD: "{} + {}",
    Op.SUB: "{} - {}",
    Op.MUL: "{} * {}",
    Op.MULHI: "(uint32_t)((uint64_t){} * {} >> 32)",
    Op.AND: "{} & {}",
    Op.OR: "{} | {}",
    Op.XOR: "{} ^ {}",
    Op.SHL: "{} << {}",
    Op.SHR: "{} >> {}",
    Op.MIN: "{0} < {1} ? {0} : {1}",
    Op.MAX: "{0} < {1} ? {1} : {0}",
    Op.EQ: "{} == {}",
    Op.LT: "{} < {}",
    Op.SELECT: "{} ? {} : {}",
}
"""Of words of 32 bits, each a variable or a number."""

PER_LINE: Final = 8
"""Entries of a table on a line."""


@dataclass(frozen=True, slots=True)
class _Printer:
    """Expressions of one function."""

    function: Function
    format: str

    def stream(self, step: Step) -> str:
        argument = self.function.arguments[step.value]
        if step.op is Op.INPUT_HIGH:
            return f"(uint32_t)({argument.name} >> 32)"
        if argument.storage.bits > 32:
            return f"(uint32_t){argument.name}"
        has_spare = argument.storage.bits < _width(argument.storage.bits)  # bits above a code's width are ignored
        return f"{argument.name} & {(1 << argument.storage.bits) - 1:#x}u" if has_spare else argument.name

    def number(self, number: int) -> str:
        return f"{number:#x}u"

    def table(self, name: str, index: Operand) -> str:
        return f"{self.format}_{self.function.name}_{identifier(name)}[{index.text}]"

    def operation(self, op: Op, args: list[Operand], bits: int) -> str:
        if op in FLOAT_OPERATIONS:
            return f"{self.format}_{float_operation(op, args).name}({', '.join(arg.text for arg in args)})"
        first, *others = (arg.text for arg in args)
        if op in (Op.SHL, Op.SHR) and args[0].number is not None:
            first = f"(uint32_t){first}"  # an int may have 16 bits
        return OPERATIONS[op].format(first, *others)


def definition(name: str, function: Function, suffix: str = "") -> Iterator[str]:
    """A function of a format, on bits, after its tables."""
    prefix = f"{name}_{function.name}"
    for table in function.plan.shape.tables:
        yield from _table(f"{prefix}_{identifier(table)}", function.table(table))
        yield ""
    lines, outputs = lines_of(function, _Printer(function, name))
    arguments = ", ".join(map(declared, function.arguments))
    result = unsigned(function.result_bits)
    yield comment([function.meaning])
    yield f"static inline {result} {prefix}{suffix}({arguments})"
    yield "{"
    read = {step.value for step in function.plan.shape.steps if step.op in (Op.INPUT, Op.INPUT_HIGH)}
    yield from (f"    (void){each.name};" for place, each in enumerate(function.arguments) if place not in read)
    for line in lines:
        told = f" /* {line.comment} */" if line.comment else ""
        yield f"    const uint32_t {line.name} = {line.expression};{told}"
    low, *high = (output.text for output in outputs)
    yield f"    return (uint64_t){high[0]} << 32 | {low};" if high else f"    return ({result}){low};"
    yield "}"


def _table(name: str, words: list[int]) -> Iterator[str]:
    yield f"static const {unsigned(max(words).bit_length())} {name}[{len(words)}] = {{"
    for first in range(0, len(words), PER_LINE):
        yield "    " + " ".join(f"{word:#x}u," for word in words[first : first + PER_LINE])
    yield "};"


def declared(argument: Stream) -> str:
    """An argument, as its bits."""
    return f"{unsigned(argument.storage.bits)} {argument.name}"


def unsigned(bits: int) -> str:
    """The smallest unsigned integer of so many bits."""
    return f"uint{_width(bits)}_t"


def _width(bits: int) -> int:
    return next(width for width in (8, 16, 32, 64) if bits <= width)


def comment(lines: Sequence[str]) -> str:
    """A comment; no line can end it, nor begin another."""
    return "/* " + "\n   ".join(line.replace("*/", "* /").replace("/*", "/ *") for line in lines) + " */"
