"""Functions as text of SystemVerilog."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from statqat_sim.export.arithmetic import FLOAT_OPERATIONS
from statqat_sim.export.functions import Function, identifier
from statqat_sim.export.lines import Operand, float_operation, lines_of
from statqat_sim.plan.step import WORD_BITS, Op, Step

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
        if op in FLOAT_OPERATIONS:
            return f"{float_operation(op, args).name}({', '.join(_sized(arg, WORD_BITS) for arg in args)})"
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


def definition(function: Function) -> Iterator[str]:
    """A function, after those that hold its tables."""
    for table in function.plan.shape.tables:
        yield from _table(_table_name(function, table), function.table(table))
        yield ""
    lines, outputs = lines_of(function, _Printer(function))
    arguments = ", ".join(f"input {logic(argument.storage.bits)} {argument.name}" for argument in function.arguments)
    yield f"// {function.meaning}"
    yield f"function automatic {logic(function.result_bits)} {function.name}({arguments});"
    yield from (f"  {logic(line.bits)} {line.name};" for line in lines)
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
    yield f"function automatic {logic(bits)} {name}(input {logic(index)} place);"
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


def logic(bits: int) -> str:
    """The type of so many bits."""
    return f"logic [{bits - 1}:0]" if bits > 1 else "logic"
