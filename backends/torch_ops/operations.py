"""Prints steps as torch expressions over int32 tensors, whose sums, differences and products wrap as words do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from statqat_sim.plan.layout import INFINITY, MAGNITUDE, SIGN
from statqat_sim.plan.ranges import Range
from statqat_sim.plan.step import WORD, Op

ONE: Final = 0x3F80_0000
UNITS: Final = (0, SIGN, ONE)
SIGN_PLACE: Final = 31
QUIET: Final = 0x0040_0000


@dataclass(frozen=True, slots=True)
class Operand:
    """A word: a constant known when the plan is printed, or a variable that is an int32, bool or float32 tensor."""

    name: str = ""
    constant: int | None = None
    limit: int = WORD
    magnitude: int = MAGNITUDE
    """Upper bound of the word without its sign bit."""

    is_truth: bool = False
    is_float: bool = False
    least: int = 0
    """Lower bound of the word."""

    sign_of: str = ""
    """The int32 expression whose sign bit the word is, if it is one."""

    @classmethod
    def known(cls, word: int) -> Operand:
        return cls(constant=word, limit=word, magnitude=word & MAGNITUDE, least=word)

    @classmethod
    def result(cls, name: str, op: Op, args: Sequence[Operand], known: Range) -> Operand:
        """The variable that holds the result of `expression`."""
        is_float = is_never_nan(op, args) or (op is Op.SELECT and _selects_floats(*args))
        bound = INFINITY if is_never_nan(op, args) else _magnitude(op, [arg.magnitude for arg in args])
        sign_of = args[0].word if op is Op.SHR and args[1].constant == SIGN_PLACE else ""
        magnitude = min(known.high, bound)
        return cls(name, None, known.high, magnitude, _gives_truth(op, args), is_float, known.low, sign_of)

    @property
    def may_be_nan(self) -> bool:
        return self.magnitude > INFINITY

    @property
    def word(self) -> str:
        """The operand as an int32 expression."""
        if self.constant is not None:
            return str(signed(self.constant))
        if self.is_float:
            return f"{self.name}.view(int32)"
        return f"{self.name}.to(int32)" if self.is_truth else self.name

    @property
    def truth(self) -> str:
        """A variable as a bool expression: whether it is nonzero."""
        if self.sign_of:
            return f"({self.sign_of} < 0)"
        return self.name if self.is_truth else f"({self.word} != 0)"

    @property
    def value(self) -> str:
        """The operand as float32. Constants are tensors: a division by a Python number may become a product."""
        if self.constant is not None:
            return f"fixed({signed(self.constant)}, device)"
        return self.name if self.is_float else f"{self.word}.view(float32)"

    @property
    def ordered(self) -> str:
        """An int32 expression that orders as the unsigned word does, for words that may have `SIGN` set."""
        if self.constant is not None:
            return str(signed(self.constant ^ SIGN))
        return f"({self.word} ^ {signed(SIGN)})"


def signed(word: int) -> int:
    """The int32 with these bits."""
    return word - (1 << 32) if word & SIGN else word


def expression(op: Op, args: Sequence[Operand], value: int) -> str:
    """The expression of a step; bool for EQ, LT, and for AND, OR and XOR of bools, else int32 or float32."""
    match op:
        case Op.ADD | Op.SUB | Op.MUL:
            return f"{args[0].word} {ARITHMETIC[op]} {args[1].word}"
        case Op.AND | Op.OR | Op.XOR if _are_truths(args):
            return f"{args[0].truth} {LOGIC[op]} {args[1].truth}"
        case Op.AND | Op.OR | Op.XOR:
            return f"{args[0].word} {LOGIC[op]} {args[1].word}"
        case Op.EQ:
            return f"{args[0].word} == {args[1].word}"
        case Op.LT:
            first, second = _in_order(args)
            return f"{first} < {second}"
        case Op.MIN | Op.MAX:
            return _extreme(op, args)
        case Op.MULHI:
            first, second = (_wide(arg) for arg in args)
            return f"({first} * {second} >> 32).to(int32)"
        case Op.SHL:
            return f"left({args[0].word}, {args[1].word})"
        case Op.SHR:
            return _shifted_right(*args)
        case Op.SELECT:
            return _selected(*args)
        case Op.TABLE:
            return f"look_up(tables[{value}], {args[0].word})"
        case _:
            return _float(op, *args)


ARITHMETIC: Final = {Op.ADD: "+", Op.SUB: "-", Op.MUL: "*"}
LOGIC: Final = {Op.AND: "&", Op.OR: "|", Op.XOR: "^"}
FLOAT: Final = {Op.FADD: "+", Op.FSUB: "-", Op.FMUL: "*", Op.FDIV: "/"}


def _gives_truth(op: Op, args: Sequence[Operand]) -> bool:
    """Whether `expression` is bool."""
    return op in (Op.EQ, Op.LT) or (op in LOGIC and _are_truths(args))


def _are_truths(args: Sequence[Operand]) -> bool:
    """Whether all operands are bool, or signs beside bool."""
    return any(arg.is_truth for arg in args) and all(arg.is_truth or arg.sign_of for arg in args)


def _are_below_sign(args: Sequence[Operand]) -> bool:
    return all(arg.limit < SIGN for arg in args)


def _in_order(args: Sequence[Operand]) -> list[str]:
    return [arg.word if _are_below_sign(args) else arg.ordered for arg in args]


def _extreme(op: Op, args: Sequence[Operand]) -> str:
    """The minimum or maximum of two unsigned words."""
    variables, constants = ([arg for arg in args if (arg.constant is None) is wanted] for wanted in (True, False))
    if not constants:
        text = f"{'minimum' if op is Op.MIN else 'maximum'}({', '.join(_in_order(args))})"
    else:
        name = _in_order([*variables, *constants])
        text = f"{'clamp_max' if op is Op.MIN else 'clamp_min'}({name[0]}, {name[1]})"
    return text if _are_below_sign(args) else f"{text} ^ {signed(SIGN)}"


def _wide(arg: Operand) -> str:
    """The unsigned word as an int64 expression."""
    if arg.constant is not None:
        return str(arg.constant)
    wide = f"{arg.word}.to(int64)"
    return wide if arg.limit < SIGN else f"({wide} & {WORD})"


def _shifted_right(word: Operand, places: Operand) -> str:
    """Torch shifts arithmetically: copies of the sign bit are masked off if it may be set."""
    text = f"right({word.word}, {places.word})"
    if word.limit < SIGN:
        return text
    if places.constant is not None:
        return f"{text} & {signed(WORD >> places.constant)}"
    return f"{text} & ~left(right({signed(SIGN)}, {places.word}), 1)"


def _selected(condition: Operand, first: Operand, second: Operand) -> str:
    if condition.constant is not None:
        return (first if condition.constant else second).word
    if _selects_floats(condition, first, second):
        return f"where({condition.truth}, {first.value}, {second.value})"
    are_known = None not in (first.constant, second.constant)  # `where` on two numbers would not give int32
    return f"where({condition.truth}, {f'word({first.word}, device)' if are_known else first.word}, {second.word})"


def _selects_floats(condition: Operand, first: Operand, second: Operand) -> bool:
    """Whether to select between float32 values: compilers hoist float constants out of loops, but not integers."""
    chosen = first, second
    return condition.constant is None and not any(
        arg.may_be_nan if arg.constant is not None else not arg.is_float for arg in chosen
    )


def _float(op: Op, a: Operand, b: Operand) -> str:
    """A float32 operation that gives the same NaN on every processor."""
    first, second = a.value if op is Op.FDIV else _hidden(a, b), _hidden(b, a)
    if is_never_nan(op, [a, b]):
        return f"{first} {FLOAT[op]} {second}"
    words = ", ".join(operand.word if operand.may_be_nan else "None" for operand in (a, b))
    if any(operand.constant in UNITS for operand in (a, b)):  # an identity, which a compiler may remove
        return f"quiet({first} {FLOAT[op]} {second}, {words})"
    if a.may_be_nan and b.may_be_nan:  # a compiler may swap the operands
        second = f"unless_nan({second}, {a.value})"
    return f"or_nan({first} {FLOAT[op]} {second}, {words})"


def _hidden(operand: Operand, other: Operand) -> str:
    """The operand as float32, with 0 and 1 hidden from torch's compiler: it takes x + 0 for x, although −0 + 0 is 0."""
    if operand.constant in UNITS and other.constant is None:
        return f"({other.word} & 0 | {signed(operand.constant)}).view(float32)"
    return operand.value


def is_never_nan(op: Op, args: Sequence[Operand]) -> bool:
    """Whether bounds of the operands prove that a float operation never gives NaN; its result is kept as float32."""
    largest, smallest = (choose((arg.magnitude for arg in args), default=WORD) for choose in (max, min))
    match op:
        case Op.FADD if all(arg.limit <= INFINITY for arg in args):
            return True
        case Op.FADD | Op.FSUB:
            return largest <= INFINITY and smallest < INFINITY
        case Op.FMUL:
            return largest < INFINITY
    return False


def _magnitude(op: Op, args: Sequence[int]) -> int:
    """An upper bound of a step's result without its sign bit, from its operands' without theirs."""
    match op:
        case Op.AND:
            return min(args)
        case Op.OR | Op.XOR:
            return sum(args)
        case Op.SELECT:
            return max(args[1:])
    return MAGNITUDE
