"""Numbers of matrix instructions: exact values with the exponents that units use."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from statqat_sim.reference.exact import decode
from statqat_sim.reference.grid import Number, Special
from statqat_sim.reference.ieee import FLOAT64, floor_log2
from statqat_sim.spec.accelerator import Float64, OperandFormat
from statqat_sim.spec.accelerator_dot import Flushed
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.floating import FloatElement, Subnormals


@dataclass(frozen=True, slots=True)
class Value:
    """A finite number, or Inf or NaN, whose `exact` is None.

    `exponent`: of its exponent field; for numbers without one, of the leading bit. `is_subnormal`: in its own format.
    """

    exact: Fraction | None
    negative: bool = False
    is_nan: bool = False
    exponent: int = 0
    is_subnormal: bool = False

    @classmethod
    def of(cls, exact: Fraction, *, negative: bool = False, emin: int | None = None) -> Value:
        """A finite number; `negative`: the sign of a zero."""
        first = floored_exponent(exact) if exact else (emin or 0)
        exponent = first if emin is None else max(first, emin)
        return cls(exact, exact < 0 or (not exact and negative), exponent=exponent)

    @property
    def number(self) -> Number:
        """The number in the representation of the formats' oracle."""
        if self.is_nan:
            return Special.NAN
        if self.exact is None:
            return Special.NEGATIVE_INF if self.negative else Special.INF
        return Special.NEGATIVE_ZERO if not self.exact and self.negative else self.exact

    def flushed(self, rule: Flushed) -> Value:
        """The value with subnormals replaced by zeros; if the rule says so, every zero becomes +0."""
        is_positive = rule is Flushed.POSITIVE
        if not self.is_subnormal and (self.exact != 0 or not is_positive):
            return self
        return replace(self, exact=Fraction(0), negative=self.negative and not is_positive, is_subnormal=False)


ZERO = Value(Fraction(0))
NAN = Value(None, is_nan=True)


@dataclass(frozen=True, slots=True)
class Term:
    """A product, or C, with the exponent it is aligned by; zeros have no exponent of their own."""

    value: Value
    exponent: int
    zero: bool | None = None

    @property
    def is_zero(self) -> bool:
        """Whether it is aligned by the exponent of zeros."""
        return self.value.exact == 0 if self.zero is None else self.zero

    def scaled(self, scale: Value) -> Term:
        """The term times a scale, which is a power of two or NaN."""
        return Term(product(self.value, scale, None).value, self.exponent + scale.exponent)


def floored_exponent(x: Fraction) -> int:
    """The exponent of x ≠ 0."""
    return floor_log2(abs(x))


def quantum(exponent: int) -> Fraction:
    """2^exponent."""
    return Fraction(2) ** exponent


def value_of(format: OperandFormat, code: int) -> Value:
    """The value of a code."""
    number = FLOAT64.number(code) if isinstance(format, Float64) else decode(format, code & (1 << format.bits) - 1)
    emin = _emin(format)
    match number:
        case Special.NAN | Special.NEGATIVE_NAN:
            return NAN
        case Special.INF | Special.NEGATIVE_INF:
            return Value(None, number is Special.NEGATIVE_INF)
        case Special.NEGATIVE_ZERO:
            return Value.of(Fraction(0), negative=True, emin=emin)
        case Fraction():
            value = Value.of(number, emin=emin)
            is_subnormal = emin is not None and bool(number) and floored_exponent(number) < emin
            return replace(value, is_subnormal=is_subnormal)


def _emin(format: OperandFormat) -> int | None:
    """The exponent of subnormals; None for kinds that have no exponent field."""
    if isinstance(format, Float64):
        return FLOAT64.emin
    element = format.element
    if not isinstance(element, FloatElement):
        return None
    return -element.bias if element.subnormals in (Subnormals.NONE, Subnormals.RAW) else 1 - element.bias


def product(x: Value, y: Value, limit: int | None) -> Term:
    """The exact product; infinite from 2^limit on."""
    exponent, negative = x.exponent + y.exponent, x.negative != y.negative
    if x.is_nan or y.is_nan or (None in (x.exact, y.exact) and 0 in (x.exact, y.exact)):
        return Term(NAN, exponent)
    if x.exact is None or y.exact is None:
        return Term(Value(None, negative), exponent)
    exact = x.exact * y.exact
    if limit is not None and abs(exact) >= quantum(limit):
        return Term(Value(None, negative), exponent)
    return Term(Value(exact, negative, exponent=exponent), exponent)


def added(x: Value, y: Value) -> Value:
    """The exact sum of two values."""
    return total_of([x, y])


def total_of(values: list[Value]) -> Value:
    """The exact sum: NaN with a NaN or with Inf of both signs; -0 if the sum is zero and every value is negative."""
    signs = {value.negative for value in values if value.exact is None and not value.is_nan}
    if any(value.is_nan for value in values) or len(signs) > 1:
        return NAN
    if signs:
        return Value(None, signs.pop())
    total = sum((value.exact for value in values if value.exact is not None), Fraction(0))
    return Value.of(total, negative=bool(values) and all(value.negative for value in values))


def kept(x: Fraction, unit: Fraction, mode: Rounding) -> Fraction:
    """The multiple of `unit` that x rounds to."""
    return rounded_integer(x / unit, mode) * unit


def rounded_integer(x: Fraction, mode: Rounding) -> int:
    """The integer that x rounds to."""
    below = math.floor(x)
    rest = x - below
    if not rest:
        return below
    toward_zero = below if x > 0 else below + 1
    away = below + 1 if x > 0 else below
    half = Fraction(1, 2)
    match mode:
        case Rounding.TOWARD_ZERO:
            return toward_zero
        case Rounding.TOWARD_NEGATIVE:
            return below
        case Rounding.TOWARD_POSITIVE:
            return below + 1
        case Rounding.TO_ODD:
            return below if below % 2 else below + 1
        case _ if rest != half:
            return below + (rest > half)
        case Rounding.NEAREST_EVEN:
            return below + below % 2
        case Rounding.NEAREST_AWAY:
            return away
        case Rounding.NEAREST_ZERO:
            return toward_zero
        case Rounding.NEAREST_UP:
            return below + 1
    raise ValueError(f"{mode} is not for sums")
