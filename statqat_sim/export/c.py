"""Number formats as a header of C99, which C++ takes too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from statqat_sim.export.functions import Function, functions, heading, identifier
from statqat_sim.export.lines import Operand, lines_of
from statqat_sim.plan.program import Storage, Stream
from statqat_sim.plan.step import Op, Step
from statqat_sim.spec.number import NumberFormat

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

NATIVE: Final = {Storage.FLOAT32: "float", Storage.FLOAT64: "double"}
"""The floats that C has."""

PER_LINE: Final = 8
"""Entries of a table on a line."""


def to_c(format: NumberFormat, *, floats: Sequence[str] = ("float32",)) -> str:
    """A number format as a C99 header, without dependencies but the standard headers.

    For each kind of `floats` it has `NAME_from_float32_bits(x)`, the code of a float given as its bits; with stochastic
    rounding it takes `random`, too. `NAME_to_float32_bits(code)` is a code's float32, and so for float64 if that is
    named. `NAME_from_float32` and `NAME_to_float32` do the same with `float`, and `double`. Results are those of
    `Codec`, on every machine and under every compiler option, as only integers are computed.

    Args:
        format: a number format. NAME is its name, with `_` for what C does not take.
        floats: what encoders read: `"float16"`, `"bfloat16"`, `"float32"`, `"float64"`.

    Raises:
        TypeError: if `format` is no format, or `floats` a string.
        ValueError: if `floats` are none, or none that encoders read.
        UnsupportedError: for block formats, and for formats that refuse NaN.
    """
    parts = functions(format, floats)
    name = identifier(format.name)
    guard = f"{name}_H"
    text = [_comment([*heading(format)]), f"#ifndef {guard}", f"#define {guard}", ""]
    text += ["#include <stdint.h>", "#include <string.h>", ""]
    for function in parts:
        text += [*_definition(name, function), ""]
        if function.floats in NATIVE:
            text += [*_on_floats(name, function), ""]
    return "\n".join([*text, "#endif", ""])


@dataclass(frozen=True, slots=True)
class _Printer:
    """Expressions of one function."""

    function: Function
    prefix: str

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
        return f"{self.prefix}_{identifier(name)}[{index.text}]"

    def operation(self, op: Op, args: list[Operand], bits: int) -> str:
        first, *others = (arg.text for arg in args)
        if op in (Op.SHL, Op.SHR) and args[0].number is not None:
            first = f"(uint32_t){first}"  # an int may have 16 bits
        return OPERATIONS[op].format(first, *others)


def _definition(name: str, function: Function) -> Iterator[str]:
    """A function on bits, after its tables."""
    prefix = f"{name}_{function.name}"
    for table in function.plan.shape.tables:
        yield from _table(f"{prefix}_{identifier(table)}", function.table(table))
        yield ""
    lines, outputs = lines_of(function.plan, _Printer(function, prefix))
    arguments = ", ".join(map(_declared, function.arguments))
    result = _unsigned(function.result_bits)
    yield _comment([function.meaning])
    yield f"static inline {result} {prefix}_bits({arguments})"
    yield "{"
    read = {step.value for step in function.plan.shape.steps if step.op in (Op.INPUT, Op.INPUT_HIGH)}
    yield from (f"    (void){each.name};" for place, each in enumerate(function.arguments) if place not in read)
    for line in lines:
        comment = f" /* {line.comment} */" if line.comment else ""
        yield f"    const uint32_t {line.name} = {line.expression};{comment}"
    low, *high = (output.text for output in outputs)
    yield f"    return (uint64_t){high[0]} << 32 | {low};" if high else f"    return ({result}){low};"
    yield "}"


def _on_floats(name: str, function: Function) -> Iterator[str]:
    """The function on C's own floats."""
    prefix, native = f"{name}_{function.name}", NATIVE[function.floats]
    bits = _unsigned(function.floats.bits)
    if function.encodes:
        first, *others = function.arguments
        arguments = ", ".join(
            [f"{native} {first.name}", *(f"{_unsigned(each.storage.bits)} {each.name}" for each in others)]
        )
        yield f"static inline {_unsigned(function.result_bits)} {prefix}({arguments})"
        yield "{"
        yield f"    {bits} bits;"
        yield f"    memcpy(&bits, &{first.name}, sizeof bits);"
        yield f"    return {prefix}_bits({', '.join(['bits', *(each.name for each in others)])});"
    else:
        (code,) = function.arguments
        yield f"static inline {native} {prefix}({_declared(code)})"
        yield "{"
        yield f"    const {bits} bits = {prefix}_bits({code.name});"
        yield f"    {native} value;"
        yield "    memcpy(&value, &bits, sizeof value);"
        yield "    return value;"
    yield "}"


def _table(name: str, words: list[int]) -> Iterator[str]:
    yield f"static const {_unsigned(max(words).bit_length())} {name}[{len(words)}] = {{"
    for first in range(0, len(words), PER_LINE):
        yield "    " + " ".join(f"{word:#x}u," for word in words[first : first + PER_LINE])
    yield "};"


def _declared(argument: Stream) -> str:
    return f"{_unsigned(argument.storage.bits)} {argument.name}"


def _unsigned(bits: int) -> str:
    """The smallest unsigned integer of so many bits."""
    return f"uint{_width(bits)}_t"


def _width(bits: int) -> int:
    return next(width for width in (8, 16, 32, 64) if bits <= width)


def _comment(lines: Sequence[str]) -> str:
    """A comment; no line can end it, nor begin another."""
    return "/* " + "\n   ".join(line.replace("*/", "* /").replace("/*", "/ *") for line in lines) + " */"
