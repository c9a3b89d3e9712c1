"""The words that each step of a plan may give, proven from the steps before it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from statqat_sim.plan.layout import HIDDEN_BIT, INFINITY
from statqat_sim.plan.step import ARITY, WORD, WORD_BITS, Op, Step

if TYPE_CHECKING:
    from statqat_sim.plan.program import CodecPlan, PlanShape

RISING: Final[dict[Op, Callable[[int, int], int]]] = {
    Op.ADD: operator.add,
    Op.MUL: operator.mul,
    Op.MULHI: lambda a, b: a * b >> WORD_BITS,
    Op.SHL: operator.lshift,
    Op.MIN: min,
    Op.MAX: max,
}
"""Operations that rise with both operands, before they wrap."""

BITWISE: Final[dict[Op, Callable[[int, int], int]]] = {
    Op.AND: operator.and_,
    Op.OR: operator.or_,
    Op.XOR: operator.xor,
}


@dataclass(frozen=True, slots=True)
class Range:
    """Words from `low` to `high`."""

    low: int
    high: int

    @property
    def number(self) -> int | None:
        """The only word, if there is but one."""
        return self.low if self.low == self.high else None

    @property
    def bits(self) -> int:
        """The width that holds all of them, at least 1."""
        return max(self.high.bit_length(), 1)

    @property
    def ones(self) -> int:
        """All bits that may be set."""
        return (1 << self.high.bit_length()) - 1


ANY: Final = Range(0, WORD)

LINKS: Final = 2
"""How far back is looked for the word that another was made from."""


def ranges(plan: CodecPlan) -> tuple[Range, ...]:
    """The range of each step's word.

    Raises:
        ValueError: if the program is malformed: operands out of order, a shift by 32 or more, a table read outside its
            bounds.
    """
    found: list[Range] = []
    for index, step in enumerate(plan.shape.steps):
        if len(step.args) != ARITY[step.op] or any(not 0 <= arg < index for arg in step.args):
            raise ValueError(f"step {index}: wrong operands in {step}")
        if not 0 <= step.value < _values(plan.shape, step.op):
            raise ValueError(f"step {index}: wrong value in {step}")
        found.append(_range(plan, step, found))
    return tuple(found)


def _values(shape: PlanShape, op: Op) -> int:
    """The number of valid values of a step of this kind; 1 if its value is unused."""
    match op:
        case Op.INPUT | Op.INPUT_HIGH:
            return len(shape.streams)
        case Op.PARAM:
            return len(shape.params)
        case Op.TABLE:
            return len(shape.tables)
        case Op.CONST:
            return WORD + 1
    return 1


def _range(plan: CodecPlan, step: Step, found: Sequence[Range]) -> Range:
    """The range of a step's word, from those of earlier steps."""
    args = [found[arg] for arg in step.args]
    match step.op:
        case Op.INPUT | Op.INPUT_HIGH:
            return Range(0, min((1 << plan.shape.streams[step.value].storage.bits) - 1, WORD))
        case Op.CONST:
            return Range(step.value, step.value)
        case Op.PARAM:
            return Range(plan.params[step.value], plan.params[step.value])
        case Op.TABLE:
            return _looked_up(plan, step.value, *args)
        case Op.SELECT:
            return _selected(*args)
        case Op.EQ | Op.LT:
            return _compared(step.op, *args)
        case Op.AND | Op.OR | Op.XOR:
            return _of_bits(step.op, *args)
        case Op.SUB:
            return _wrapped(*_difference(plan, step, found))
        case Op.SHL | Op.SHR if args[1].high >= WORD_BITS:
            raise ValueError(f"a shift by up to {args[1].high}; allowed: {WORD_BITS - 1}")
        case Op.SHR:
            return Range(args[0].low >> args[1].high, args[0].high >> args[1].low)
        case Op.FADD if max(args[0].high, args[1].high) <= INFINITY:  # positive floats order as words do
            twice = max(args[0].high, args[1].high) + HIDDEN_BIT
            return Range(max(args[0].low, args[1].low), min(twice, INFINITY))
        case Op.FMUL if max(args[0].high, args[1].high) < INFINITY:
            return Range(0, INFINITY)
    if step.op in RISING:
        rise, (a, b) = RISING[step.op], args
        return _wrapped(rise(a.low, b.low), rise(a.high, b.high))
    return ANY


def _looked_up(plan: CodecPlan, number: int, index: Range) -> Range:
    words = np.frombuffer(plan.tables[number], "<u4")
    if index.high >= len(words):
        raise ValueError(f"table {number} is read at up to {index.high}, outside its bounds")
    read = words[index.low : index.high + 1]
    return Range(int(read.min()), int(read.max()))


def _wrapped(low: int, high: int) -> Range:
    """Integers from `low` to `high`, modulo 2^32."""
    return Range(low & WORD, high & WORD) if low >> WORD_BITS == high >> WORD_BITS else ANY


def _difference(plan: CodecPlan, step: Step, found: Sequence[Range]) -> tuple[int, int]:
    """The least and the greatest difference, which is not negative where its form shows it."""
    steps, (first, second) = plan.shape.steps, step.args
    low, high = found[first].low - found[second].high, found[first].high - found[second].low
    other = _limited(steps, step)
    if other is not None:
        return max(low, 0), max(found[other].high - found[second].low, 0)
    return (max(low, 0), max(high, 0)) if _is_at_most(steps, second, first, LINKS) else (low, high)


def _limited(steps: Sequence[Step], step: Step) -> int | None:
    """The step a of max(a, b) - b, if a difference has this form."""
    first, second = step.args
    larger = steps[first]
    if larger.op is not Op.MAX or second not in larger.args:
        return None
    return larger.args[0] if larger.args[1] == second else larger.args[1]


def _is_at_most(steps: Sequence[Step], index: int, other: int, links: int) -> bool:
    """Whether a step's word never exceeds another's, as a chain of so many links may show."""
    if index == other:
        return True
    if not links:
        return False
    step = steps[index]
    sources: Sequence[int] = ()
    match step.op:
        case Op.AND | Op.MIN:
            sources = step.args
        case Op.SHR:
            sources = step.args[:1]
        case Op.SUB:
            limited = _limited(steps, step)
            sources = () if limited is None else (limited,)
    return any(_is_at_most(steps, source, other, links - 1) for source in sources)


def _selected(condition: Range, yes: Range, no: Range) -> Range:
    if condition.low > 0:
        return yes
    if condition.high == 0:
        return no
    return Range(min(yes.low, no.low), max(yes.high, no.high))


def _compared(op: Op, a: Range, b: Range) -> Range:
    """0 to 1, or what always holds."""
    if op is Op.LT:
        return Range(int(a.high < b.low), int(a.low < b.high))
    meet = a.low <= b.high and b.low <= a.high
    return Range(int(meet and a.number is not None and a.number == b.number), int(meet))


def _of_bits(op: Op, a: Range, b: Range) -> Range:
    if a.number is not None and b.number is not None:
        word = BITWISE[op](a.number, b.number)
        return Range(word, word)
    if op is Op.AND:
        return Range(0, min(a.high, b.high))
    return Range(max(a.low, b.low) if op is Op.OR else 0, a.ones | b.ones)
