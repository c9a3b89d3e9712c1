"""Number formats as a package of synthesizable SystemVerilog."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from statqat_sim.export.functions import Function, functions, heading, identifier
from statqat_sim.export.lines import Operand, lines_of
from statqat_sim.plan.step import Op, Step
from statqat_sim.spec.number import NumberFormat

MODULAR: Final = {
    Op.ADD: "{} + {}",
    Op.SUB: "{} - {}",
    Op.MUL: "{} * {}",
    Op.AND: "{} & {}",
    Op.OR: "{} | {}",
    Op.XOR: "{} ^ {}",
}
"""Operations whose low bits depend on their operands' low bits alone: operands get the result's width."""

COMPARING: Final = {
    Op.EQ: "{} == {}",
    Op.LT: "{} < {}",
    Op.MIN: "({} < {}) ? {} : {}",
    Op.MAX: "({1} < {0}) ? {2} : {3}",
}
"""Operations that compare: operands get the width of the wider one, those chosen from, the last two, the result's."""


def to_systemverilog(format: NumberFormat, *, floats: Sequence[str] = ("float32",)) -> str:
    """A number format as a SystemVerilog package, of functions that can be synthesized.

    In package `NAME_pkg`, for each kind of `floats`, `from_float32(x)` is the code of a float given as its bits; with
    stochastic rounding it takes `random`, too. `to_float32(code)` are the bits of a code's float32, and so for float64
    if that is named. Results are those of `Codec`. Functions are straight lines of integer operations without loops or
    state, and each word has the width that is proven for it.

    Args:
        format: a number format. NAME is its name, with `_` for what SystemVerilog does not take.
        floats: what encoders read: `"float16"`, `"bfloat16"`, `"float32"`, `"float64"`.

    Raises:
        TypeError: if `format` is no format, or `floats` a string.
        ValueError: if `floats` are none, or none that encoders read.
        UnsupportedError: for block formats, and for formats that refuse NaN.
    """
    parts = functions(format, floats)
    package = f"{identifier(format.name)}_pkg"
    text = [*(f"// {line}" for line in heading(format)), f"package {package};"]
    for function in parts:
        text += ["", *(f"  {line}".rstrip() for line in _definition(function))]
    return "\n".join([*text, "", f"endpackage : {package}", ""])


@dataclass(frozen=True, slots=True)
class _Printer:
    """Expressions of one function."""

    function: Function

    def stream(self, step: Step) -> str:
        argument = self.function.arguments[step.value]
        if step.op is Op.INPUT_HIGH:
            return f"{argument.name}[63:32]"
        return f"{argument.name}[31:0]" if argument.storage.bits > 32 else argument.name

    def number(self, number: int) -> str:
        return _number(number, max(number.bit_length(), 1))

    def table(self, name: str, index: Operand) -> str:
        bits = _index_bits(self.function.table(name))
        return f"{_table_name(self.function, name)}({_sized(index, bits)})"

    def operation(self, op: Op, args: list[Operand], bits: int) -> str:
        if op is Op.AND and args[1].number is not None and _ones(bits) & ~args[1].number == 0:
            return _sized(args[0], bits)
        if op in MODULAR:
            return MODULAR[op].format(*(_sized(arg, bits) for arg in args))
        if op in COMPARING:
            widest = max(arg.bits for arg in args)
            return COMPARING[op].format(*(_sized(arg, widest) for arg in args), *(_sized(arg, bits) for arg in args))
        word, other, *rest = args
        match op:
            case Op.SELECT:
                condition = word.text if word.bits == 1 else f"({word.text} != {_number(0, word.bits)})"
                return f"{condition} ? {_sized(other, bits)} : {_sized(rest[0], bits)}"
            case Op.MULHI:
                return f"{bits}'(({_sized(word, 64)} * {_sized(other, 64)}) >> 32)"
            case Op.SHR if other.number is not None and word.number is None:
                return f"{word.text}[{_places(other.number + bits - 1, other.number)}]"
            case Op.SHR:
                shifted = f"{word.text} >> {other.text}"
                return shifted if word.bits == bits else f"{bits}'({shifted})"
        return f"{_sized(word, bits)} << {other.text if other.number is None else other.number}"


def _definition(function: Function) -> Iterator[str]:
    """A function, after those that hold its tables."""
    for table in function.plan.shape.tables:
        yield from _table(_table_name(function, table), function.table(table))
        yield ""
    lines, outputs = lines_of(function.plan, _Printer(function))
    arguments = ", ".join(f"input {_logic(argument.storage.bits)} {argument.name}" for argument in function.arguments)
    yield f"// {function.meaning}"
    yield f"function automatic {_logic(function.result_bits)} {function.name}({arguments});"
    yield from (f"  {_logic(line.bits)} {line.name};" for line in lines)
    yield "  begin"
    for line in lines:
        yield f"    {line.name} = {line.expression};{f'  // {line.comment}' if line.comment else ''}"
    low, *high = outputs
    result = f"{{{_sized(high[0], 32)}, {_sized(low, 32)}}}" if high else _sized(low, function.result_bits)
    yield f"    {function.name} = {result};"
    yield "  end"
    yield "endfunction"


def _table(name: str, words: list[int]) -> Iterator[str]:
    """A table as a function of its index."""
    index, bits = _index_bits(words), max(max(words).bit_length(), 1)
    yield f"function automatic {_logic(bits)} {name}(input {_logic(index)} place);"
    yield "  case (place)"
    yield from (
        f"    {_number(place, index)}: {name} = {_number(word, bits)};" for place, word in enumerate(words[:-1])
    )
    yield f"    default: {name} = {_number(words[-1], bits)};"
    yield "  endcase"
    yield "endfunction"


def _table_name(function: Function, table: str) -> str:
    return f"{function.name}_{identifier(table)}"


def _index_bits(words: list[int]) -> int:
    return max((len(words) - 1).bit_length(), 1)


def _sized(operand: Operand, bits: int) -> str:
    """An operand's low bits, or the operand with zeros above."""
    if operand.number is not None:
        return _number(operand.number & _ones(bits), bits)
    if operand.bits > bits:
        return f"{operand.text}[{_places(bits - 1, 0)}]"
    return operand.text if operand.bits == bits else f"{bits}'({operand.text})"


def _ones(bits: int) -> int:
    return (1 << bits) - 1


def _number(number: int, bits: int) -> str:
    return f"{bits}'h{number:x}"


def _places(high: int, low: int) -> str:
    return f"{high}:{low}" if high > low else str(low)


def _logic(bits: int) -> str:
    return f"logic [{bits - 1}:0]" if bits > 1 else "logic"
