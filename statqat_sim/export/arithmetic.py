"""The float operations of plans as plans of integer operations: a circuit has no floats, and C compilers may bend them.

Results are those of `Op.FADD` and the others, bit for bit: rounded once to nearest even, subnormals kept, NaN as
`layout.MADE_NAN` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.layout import BIAS, HIDDEN_BIT, INFINITY, MADE_NAN, MAGNITUDE, MANTISSA_BITS, QUIET_NAN, SIGN
from statqat_sim.plan.leading_bit import leading_bit
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.step import WORD_BITS, Op

TOP: Final = WORD_BITS - 1
"""The place of the leading bit of a normalized significand."""

EXTRA: Final = TOP - MANTISSA_BITS
"""How many more bits it has than a float's."""

LIFT: Final = 64
"""Added to exponents: those of subnormal numbers stay positive."""

GUARDS: Final = 2
"""Bits of a significand that decide on rounding, below a float's last one; the last of them tells of all below."""

LARGEST: Final = 2 * BIAS
"""The exponent field of the largest numbers."""

BEYOND: Final = 4 * LARGEST
"""Larger than every exponent, lifted."""

BELOW: Final = 2 * HIDDEN_BIT - 1
"""A remainder, less than a float's significand, has no other bits."""


@dataclass(frozen=True, slots=True)
class _Number:
    """significand · 2^(exponent - LIFT - BIAS - TOP)."""

    exponent: Word
    significand: Word
    """The leading bit is at `TOP`, but for zero."""

    @classmethod
    def of(cls, magnitude: Word) -> _Number:
        field, fraction = magnitude >> MANTISSA_BITS, magnitude & HIDDEN_BIT - 1
        significand = field.min(1) << MANTISSA_BITS | fraction
        shift = magnitude.builder.const(TOP) - leading_bit(significand)
        return cls(field.max(1) + (LIFT + EXTRA) - shift, significand << shift)


@dataclass(frozen=True, slots=True)
class _Operands:
    """Two floats."""

    first: Word
    second: Word

    @property
    def sign(self) -> Word:
        """The sign of their product or quotient."""
        return (self.first ^ self.second) & SIGN

    @property
    def numbers(self) -> tuple[_Number, _Number]:
        return _Number.of(self.first & MAGNITUDE), _Number.of(self.second & MAGNITUDE)

    def are(self, magnitude: int) -> tuple[Word, Word]:
        """Whether each of them has this magnitude."""
        return (self.first & MAGNITUDE).eq(magnitude), (self.second & MAGNITUDE).eq(magnitude)

    def unless_nan(self, result: Word) -> Word:
        """The result; the NaN where an operand is one."""
        for word in (self.second, self.first):
            result = word.builder.const(INFINITY).lt(word & MAGNITUDE).where(word | QUIET_NAN, result)
        return result


def _product(both: _Operands) -> Word:
    a, b = both.numbers
    high, low = a.significand.mul_high(b.significand), a.significand * b.significand
    leads = high >> TOP
    significand = leads.where(high, high << 1) | low.min(1)
    return _of_product(both, _rounded(a.exponent + b.exponent + leads, 2 * LIFT + BIAS, significand))


def _product_with_power(both: _Operands) -> Word:
    a, power = both.numbers
    return _of_product(both, _rounded(a.exponent + power.exponent, 2 * LIFT + BIAS, a.significand))


def _of_product(both: _Operands, magnitude: Word) -> Word:
    (zero_first, zero_second), (infinite_first, infinite_second) = both.are(0), both.are(INFINITY)
    is_zero, is_infinite = zero_first | zero_second, infinite_first | infinite_second
    number = both.sign | is_zero.where(0, magnitude)
    return both.unless_nan(is_infinite.where(is_zero.where(MADE_NAN, both.sign | INFINITY), number))


def _quotient(both: _Operands) -> Word:
    """By long division, bit by bit."""
    a, b = both.numbers
    rest, divisor = a.significand >> EXTRA, b.significand >> EXTRA
    is_less = rest.lt(divisor)
    rest = (rest << is_less) - divisor & BELOW
    bits = rest.builder.const(1)
    for _ in range(MANTISSA_BITS + GUARDS):
        rest = rest << 1
        is_out = rest.lt(divisor)
        rest = is_out.where(rest, rest - divisor) & BELOW
        bits = bits << 1 | is_out ^ 1
    significand = bits << EXTRA - GUARDS | rest.min(1)
    return _of_quotient(both, _rounded(a.exponent + BEYOND - b.exponent - is_less, BEYOND - BIAS, significand))


def _quotient_by_power(both: _Operands) -> Word:
    a, power = both.numbers
    return _of_quotient(both, _rounded(a.exponent + BEYOND - power.exponent, BEYOND - BIAS, a.significand))


def _of_quotient(both: _Operands, magnitude: Word) -> Word:
    (zero_first, zero_second), (infinite_first, infinite_second) = both.are(0), both.are(INFINITY)
    number = both.sign | (zero_first | infinite_second).where(0, magnitude)
    beyond = (infinite_first | zero_second).where(both.sign | INFINITY, number)
    return both.unless_nan((zero_first & zero_second | infinite_first & infinite_second).where(MADE_NAN, beyond))


def _sum(both: _Operands) -> Word:
    first, second = both.first & MAGNITUDE, both.second & MAGNITUDE
    is_smaller = first.lt(second)
    larger, smaller = is_smaller.where(both.second, both.first), is_smaller.where(first, second)
    field, other = (larger & MAGNITUDE) >> MANTISSA_BITS, smaller >> MANTISSA_BITS
    a, b = (
        (each.min(1) << MANTISSA_BITS | word & HIDDEN_BIT - 1) << EXTRA - 1
        for each, word in ((field, larger), (other, smaller))
    )
    distance = (field.max(1) - other.max(1)).min(TOP)
    moved = b >> distance
    moved = moved | ((moved << distance) ^ b).min(1)
    total = both.sign.where(a - moved, a + moved)
    place = leading_bit(total)
    magnitude = _rounded(field.max(1) + place + 1, TOP, total << total.builder.const(TOP) - place)
    number = total.where(larger & SIGN | magnitude, both.first & both.second & SIGN)
    infinite_first, infinite_second = both.are(INFINITY)
    beyond = (infinite_first & infinite_second & both.sign >> TOP).where(MADE_NAN, larger)
    return both.unless_nan((infinite_first | infinite_second).where(beyond, number))


def _difference(both: _Operands) -> Word:
    return both.unless_nan(_sum(_Operands(both.first, both.second ^ SIGN)))


def _rounded(exponent: Word, lift: int, significand: Word) -> Word:
    """The magnitude of a number, rounded to nearest even.

    Args:
        exponent: the exponent field that its leading bit asks for, plus `lift`; that of subnormal numbers is below 1.
        lift: a number.
        significand: the leading bit is at `TOP`; the last bit tells whether there is anything below.
    """
    const = significand.builder.const
    kept = significand >> EXTRA - GUARDS
    kept = kept | (significand & (1 << EXTRA - GUARDS) - 1).min(1)
    drop = (const(lift + 1).above(exponent) + GUARDS).min(MANTISSA_BITS + GUARDS + 2)
    is_odd = kept >> drop & 1
    steps = kept + ((const(1) << drop - 1) - 1) + is_odd >> drop
    field = exponent.above(lift + 1).min(LARGEST)
    return ((field << MANTISSA_BITS) + steps).min(INFINITY)


class Operation(NamedTuple):
    """A float operation: what it is called, and how it is computed."""

    name: str
    sign: str
    compute: Callable[[_Operands], Word]
    by_power: bool = False
    """Whether the second operand must be a power of two, or 0, Inf or NaN: no multiplier, and no long division."""


ADD: Final = Operation("add", "+", _sum)
SUBTRACT: Final = Operation("subtract", "-", _difference)
MULTIPLY: Final = Operation("multiply", "*", _product)
MULTIPLY_BY_POWER: Final = Operation("multiply_by_power", "*", _product_with_power, by_power=True)
DIVIDE: Final = Operation("divide", "/", _quotient)
DIVIDE_BY_POWER: Final = Operation("divide_by_power", "/", _quotient_by_power, by_power=True)

FLOAT_OPERATIONS: Final[Mapping[Op, tuple[Operation, Operation]]] = {
    Op.FADD: (ADD, ADD),
    Op.FSUB: (SUBTRACT, SUBTRACT),
    Op.FMUL: (MULTIPLY, MULTIPLY_BY_POWER),
    Op.FDIV: (DIVIDE, DIVIDE_BY_POWER),
}
"""For any two operands; for a second one that is a power."""


@cache
def arithmetic(operation: Operation) -> CodecPlan:
    """A float operation's plan: of streams `a` and `b`."""
    builder = Builder(lean=True)
    both = _Operands(builder.input("a", Storage.FLOAT32), builder.input("b", Storage.FLOAT32))
    return builder.finish(operation.compute(both), Storage.FLOAT32)
