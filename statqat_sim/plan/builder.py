"""Writes plans: word arithmetic as ordinary Python expressions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from statqat_sim.plan.program import CodecPlan, Packed, PlanShape, Storage, Stream
from statqat_sim.plan.step import WORD, Op, Step

Number = TypeVar("Number", int, bytes)


class Builder:
    """Records steps; equal steps are recorded once.

    Args:
        lean: ask for integer operations alone, and for tables no longer than the list of a format's values: what a
            circuit has.
    """

    def __init__(self, *, lean: bool = False) -> None:
        self.lean = lean
        self._steps: dict[Step, int] = {}
        self._streams: list[Stream] = []
        self._params: dict[str, int] = {}
        self._tables: dict[str, bytes] = {}
        self._scope = ""

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of parameters and tables made inside with this name, so that parts do not clash."""
        outer, self._scope = self._scope, f"{self._scope}{name}: "
        try:
            yield
        finally:
            self._scope = outer

    def input(self, name: str, storage: Storage | Packed) -> Word:
        """The next stream, of up to 32 bits."""
        self._streams.append(Stream(name, storage))
        return self._emit(Op.INPUT, value=len(self._streams) - 1)

    def input_pair(self, name: str, storage: Storage) -> tuple[Word, Word]:
        """The next stream, of 64 bits: its high and low words."""
        low = self.input(name, storage)
        return self._emit(Op.INPUT_HIGH, value=len(self._streams) - 1), low

    def const(self, value: int) -> Word:
        """A number fixed by the lowering: part of the shape."""
        return self._emit(Op.CONST, value=value & WORD)

    def param(self, name: str, value: int) -> Word:
        """A number fixed by the format, not part of the shape; each name stands for one number."""
        name = self._scope + name
        if self._params.setdefault(name, value & WORD) != value & WORD:
            raise ValueError(f"parameter {name!r} has two values")
        return self._emit(Op.PARAM, value=list(self._params).index(name))

    def table(self, name: str, words: bytes, index: Word) -> Word:
        """The word at `index` of a table fixed by the format; `words` are little-endian uint32."""
        name = self._scope + name
        if self._tables.setdefault(name, words) != words:
            raise ValueError(f"table {name!r} has two contents")
        return self._emit(Op.TABLE, index, value=list(self._tables).index(name))

    def finish(self, results: Word | tuple[Word, ...], storage: Storage | Packed) -> CodecPlan:
        """The plan that computes `results`, low words first, without unused steps and numbers."""
        outputs = [word.index for word in (results if isinstance(results, tuple) else (results,))]
        recorded = list(self._steps)
        order = _needed(recorded, outputs)
        place = {old: new for new, old in enumerate(order)}
        params, tables = (
            sorted({recorded[i].value for i in order if recorded[i].op is op}) for op in (Op.PARAM, Op.TABLE)
        )
        values = {Op.PARAM: params, Op.TABLE: tables}
        steps = []
        for step in (recorded[i] for i in order):
            value = values[step.op].index(step.value) if step.op in values else step.value
            steps.append(Step(step.op, tuple(place[arg] for arg in step.args), value))
        names, numbers = _kept(self._params, params)
        table_names, table_words = _kept(self._tables, tables)
        ends = tuple(place[index] for index in outputs)
        shape = PlanShape(tuple(steps), tuple(self._streams), names, table_names, storage, ends)
        return CodecPlan(shape, numbers, table_words)

    def _emit(self, op: Op, *args: Word, value: int = 0) -> Word:
        step = Step(op, tuple(arg.index for arg in args), value)
        return Word(self, self._steps.setdefault(step, len(self._steps)))


def _kept(named: dict[str, Number], indices: list[int]) -> tuple[tuple[str, ...], tuple[Number, ...]]:
    """Names and numbers of the entries at these places."""
    names, numbers = list(named), list(named.values())
    return tuple(names[i] for i in indices), tuple(numbers[i] for i in indices)


def _needed(steps: list[Step], results: list[int]) -> list[int]:
    """The steps that `results` depend on, in order."""
    needed = set(results)
    for index in range(max(results), -1, -1):
        if index in needed:
            needed.update(steps[index].args)
    return sorted(needed)


@dataclass(frozen=True, slots=True)
class Word:
    """The result of a step. Plain integers on the right-hand side become constants of the shape."""

    builder: Builder
    index: int

    def on(self, op: Op, *others: Operand) -> Word:
        """An operation whose first operand is this word."""
        words = [other if isinstance(other, Word) else self.builder.const(other) for other in others]
        return self.builder._emit(op, self, *words)

    def __add__(self, other: Operand) -> Word:
        return self.on(Op.ADD, other)

    def __sub__(self, other: Operand) -> Word:
        return self.on(Op.SUB, other)

    def __mul__(self, other: Operand) -> Word:
        return self.on(Op.MUL, other)

    def mul_high(self, other: Operand) -> Word:
        """The high word of the product."""
        return self.on(Op.MULHI, other)

    def __and__(self, other: Operand) -> Word:
        return self.on(Op.AND, other)

    def __or__(self, other: Operand) -> Word:
        return self.on(Op.OR, other)

    def __xor__(self, other: Operand) -> Word:
        return self.on(Op.XOR, other)

    def __lshift__(self, other: Operand) -> Word:
        return self.on(Op.SHL, other)

    def __rshift__(self, other: Operand) -> Word:
        return self.on(Op.SHR, other)

    def min(self, other: Operand) -> Word:
        return self.on(Op.MIN, other)

    def max(self, other: Operand) -> Word:
        return self.on(Op.MAX, other)

    def eq(self, other: Operand) -> Word:
        return self.on(Op.EQ, other)

    def lt(self, other: Operand) -> Word:
        return self.on(Op.LT, other)

    def above(self, other: Operand) -> Word:
        """Saturating difference: max(self - other, 0)."""
        return self.max(other) - other

    def where(self, yes: Operand, no: Operand) -> Word:
        """`yes` if this word is not 0, else `no`."""
        return self.on(Op.SELECT, yes, no)

    def fadd(self, other: Operand) -> Word:
        return self.on(Op.FADD, other)

    def fsub(self, other: Operand) -> Word:
        return self.on(Op.FSUB, other)

    def fmul(self, other: Operand) -> Word:
        return self.on(Op.FMUL, other)

    def fdiv(self, other: Operand) -> Word:
        return self.on(Op.FDIV, other)


Operand: TypeAlias = Word | int
