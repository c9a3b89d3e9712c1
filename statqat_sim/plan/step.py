"""What plans are made of: one operation on words of 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WORD_BITS: Final = 32
WORD: Final = (1 << WORD_BITS) - 1


class Op(StrEnum):
    """What a step computes. Words are unsigned and wrap; a truth value is 0 or 1."""

    INPUT = "input"  # stream `value`, zero-extended to a word; of a 64-bit stream the low word
    INPUT_HIGH = "input_high"  # the high word of 64-bit stream `value`
    CONST = "const"  # the word `value`, the same in every plan of this shape
    PARAM = "param"  # parameter `value` of the plan: a number of the format
    ADD = "add"
    SUB = "sub"
    MUL = "mul"  # the low word of the product
    MULHI = "mulhi"  # its high word
    AND = "and"
    OR = "or"
    XOR = "xor"
    SHL = "shl"  # by less than 32, which is proven
    SHR = "shr"  # logical, by less than 32, which is proven
    MIN = "min"
    MAX = "max"
    EQ = "eq"
    LT = "lt"
    SELECT = "select"  # a != 0 ? b : c
    TABLE = "table"  # word a of table `value`; the index is proven to lie inside
    FADD = "fadd"  # float32 operations on bit patterns, rounded once to nearest even, subnormals kept
    FSUB = "fsub"
    FMUL = "fmul"
    FDIV = "fdiv"


NULLARY: Final = (Op.INPUT, Op.INPUT_HIGH, Op.CONST, Op.PARAM)
ARITY: Final = dict.fromkeys(Op, 2) | dict.fromkeys(NULLARY, 0) | {Op.TABLE: 1, Op.SELECT: 3}


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on the results of earlier steps."""

    op: Op
    args: tuple[int, ...] = ()
    value: int = 0
