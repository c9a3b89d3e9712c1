"""Elements with a sign, an exponent field and a mantissa field.

A *magnitude* is a code without its sign bit. Every number here is exact: integers, or float64 values that
`problems` has proven to be representable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from statqat_sim.spec.base import MAX_BIAS, MAX_BITS, KeyProblem, Spec, Worded


class Subnormals(StrEnum):
    """The meaning of exponent field 0."""

    GRADUAL = "gradual"
    FLUSH = "flush"
    NONE = "none"
    RAW = "raw"


class Zero(StrEnum):
    """The zeros that exist: +0 and -0, only +0, or none."""

    SIGNED = "signed"
    POSITIVE = "positive"
    NONE = "none"


class NanCodes(StrEnum):
    """Which codes are NaN."""

    NONE = "none"
    IEEE = "ieee"
    ALL_ONES = "all_ones"
    NEGATIVE_ZERO = "negative_zero"


class InfCodes(StrEnum):
    """Which codes are infinite."""

    NONE = "none"
    IEEE = "ieee"
    MAX_CODE = "max_code"


def _default_bias(known: dict[str, Any]) -> int:
    exponent_bits: int = known["exponent_bits"]
    return (1 << (exponent_bits - 1)) - 1


def _default_zero(known: dict[str, Any]) -> Zero:
    has_minus_zero = known["signed"] and known["nan"] is not NanCodes.NEGATIVE_ZERO
    return Zero.SIGNED if has_minus_zero else Zero.POSITIVE


class FloatElement(Spec):
    """Sign, exponent field, mantissa field: (2^m + M)·2^(E - bias - m), subnormals and specials as declared."""

    kind: Literal["float"]
    exponent_bits: Annotated[int, Field(ge=1, le=31)]
    mantissa_bits: Annotated[int, Field(ge=0, le=31)]
    signed: bool = True
    bias: Annotated[int, Field(ge=-MAX_BIAS, le=MAX_BIAS)] = Field(default_factory=_default_bias)
    subnormals: Worded[Subnormals] = Subnormals.GRADUAL
    nan: Worded[NanCodes] = NanCodes.NONE
    inf: Worded[InfCodes] = InfCodes.NONE
    zero: Worded[Zero] = Field(default_factory=_default_zero)

    @classmethod
    def ieee(cls, exponent_bits: int, mantissa_bits: int) -> FloatElement:
        """The element that IEEE 754 has of these widths."""
        return cls(
            kind="float",
            exponent_bits=exponent_bits,
            mantissa_bits=mantissa_bits,
            nan=NanCodes.IEEE,
            inf=InfCodes.IEEE,
        )

    @property
    def magnitude_bits(self) -> int:
        return self.exponent_bits + self.mantissa_bits

    @property
    def bits(self) -> int:
        return self.magnitude_bits + self.signed

    @property
    def sign_bit(self) -> int:
        """The sign bit as a word, 0 for an unsigned format."""
        return 1 << self.magnitude_bits if self.signed else 0

    @property
    def emin(self) -> int:
        """Exponent of the binade of exponent field 0 or 1; the quantum is constant below it."""
        return -self.bias if self.subnormals in (Subnormals.NONE, Subnormals.RAW) else 1 - self.bias

    @property
    def max_magnitude(self) -> int:
        """Magnitude of the largest finite value."""
        if self.nan is NanCodes.IEEE:
            return (((1 << self.exponent_bits) - 1) << self.mantissa_bits) - 1
        specials = (self.nan is NanCodes.ALL_ONES) + (self.inf is InfCodes.MAX_CODE)
        return (1 << self.magnitude_bits) - 1 - specials

    @property
    def min_magnitude(self) -> int:
        """Magnitude of the smallest nonzero value."""
        if self.zero is Zero.NONE:
            return 0
        return 1 << self.mantissa_bits if self.subnormals is Subnormals.FLUSH else 1

    @property
    def inf_code(self) -> int | None:
        """Code of +Inf."""
        if self.inf is InfCodes.NONE:
            return None
        return self.max_magnitude + 1

    @property
    def nan_code(self) -> int | None:
        """The NaN that encoders produce for a positive NaN: IEEE payload 10...0."""
        ones = (1 << self.magnitude_bits) - 1
        match self.nan:
            case NanCodes.NONE:
                return None
            case NanCodes.IEEE:
                return (self.max_magnitude + 1) | (1 << (self.mantissa_bits - 1))
            case NanCodes.ALL_ONES:
                return ones
            case NanCodes.NEGATIVE_ZERO:
                return self.sign_bit

    @property
    def signed_nan(self) -> bool:
        """Whether NaN exists with both signs."""
        return self.signed and self.nan in (NanCodes.IEEE, NanCodes.ALL_ONES)

    @property
    def zero_code(self) -> int:
        """Code of +0, if the format has one."""
        return 0

    @property
    def has_zero(self) -> bool:
        return self.zero is not Zero.NONE

    @property
    def has_negative(self) -> bool:
        return self.signed

    def magnitude_value(self, magnitude: int) -> float:
        """Exact value of a magnitude, read as finite."""
        exponent, mantissa = divmod(magnitude, 1 << self.mantissa_bits)
        hidden = 1 << self.mantissa_bits
        if exponent:
            return math.ldexp(hidden + mantissa, exponent - self.bias - self.mantissa_bits)
        if magnitude == 0 and self.has_zero:
            return 0.0
        match self.subnormals:
            case Subnormals.GRADUAL:
                return math.ldexp(mantissa, 1 - self.bias - self.mantissa_bits)
            case Subnormals.FLUSH:
                return 0.0
            case Subnormals.NONE:
                return math.ldexp(hidden + mantissa, -self.bias - self.mantissa_bits)
            case Subnormals.RAW:
                return math.ldexp(mantissa, -self.bias - self.mantissa_bits)

    def value(self, code: int) -> float:
        """Exact value of a code: finite, ±0.0, ±Inf or NaN."""
        magnitude = code & ((1 << self.magnitude_bits) - 1)
        negative = bool(code & self.sign_bit)
        if self.nan is NanCodes.NEGATIVE_ZERO and negative and magnitude == 0:
            return math.nan
        if magnitude > self.max_magnitude:
            infinite = magnitude == self.inf_code
            return (-math.inf if negative else math.inf) if infinite else math.nan
        value = self.magnitude_value(magnitude)
        if value == 0 and self.zero is not Zero.SIGNED:
            return 0.0
        return -value if negative else value

    @property
    def highest(self) -> float:
        return self.magnitude_value(self.max_magnitude)

    @property
    def lowest(self) -> float:
        """The most negative value; for an unsigned format, the smallest one."""
        if self.signed:
            return -self.highest
        return 0.0 if self.has_zero else self.magnitude_value(0)

    @property
    def smallest(self) -> float:
        """The smallest value above zero."""
        return self.magnitude_value(self.min_magnitude)

    @property
    def min_normal(self) -> float:
        """Smallest value with a full significand; above `highest` if the specials leave only subnormals."""
        first = self.min_magnitude if self.subnormals is Subnormals.NONE else 1 << self.mantissa_bits
        return self.magnitude_value(first)

    @property
    def min_subnormal(self) -> float | None:
        has_some = self.subnormals in (Subnormals.GRADUAL, Subnormals.RAW) and self.mantissa_bits > 0
        return self.magnitude_value(1) if has_some else None

    @property
    def ulp_at_one(self) -> float | None:
        """Distance from 1 to the next larger value, if both exist."""
        if self.bias > 0 or self.subnormals is Subnormals.NONE:
            one = self.bias << self.mantissa_bits
        else:  # 1 is at most a subnormal
            one = 1 << max(self.mantissa_bits - self.emin, 0)
        if not 0 <= one < self.max_magnitude or self.magnitude_value(one) != 1:
            return None
        return self.magnitude_value(one + 1) - 1

    @property
    def nan_count(self) -> int:
        signs = 1 + self.signed
        match self.nan:
            case NanCodes.NONE:
                return 0
            case NanCodes.IEEE:
                return signs * ((1 << self.mantissa_bits) - 1)
            case NanCodes.ALL_ONES:
                return signs
            case NanCodes.NEGATIVE_ZERO:
                return 1

    @property
    def inf_count(self) -> int:
        return 0 if self.inf is InfCodes.NONE else 1 + self.signed

    def produces(self, code: int) -> bool:
        """Whether some finite input encodes to this code or to one of the same value."""
        return math.isfinite(self.value(code))

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        if self.bits > MAX_BITS:
            yield "mantissa_bits", f"{self.bits} bits in all; allowed: {MAX_BITS}"
            return
        if (self.nan is NanCodes.IEEE) != (self.inf is InfCodes.IEEE):
            key = "nan" if self.nan is NanCodes.IEEE else "inf"
            yield key, "'ieee' must stand in both nan and inf, or in neither"
        elif self.nan is NanCodes.IEEE and self.mantissa_bits == 0:
            yield "nan", "'ieee' needs mantissa_bits of at least 1, to tell NaN from Inf"
        if self.nan is NanCodes.NEGATIVE_ZERO and not self.signed:
            yield "nan", "'negative_zero' needs a signed format; allowed: none, ieee, all_ones"
        if self.nan is NanCodes.NEGATIVE_ZERO and self.zero is Zero.SIGNED:
            yield "zero", "'signed' needs the code that nan: negative_zero takes; allowed: positive"
        elif self.zero is Zero.SIGNED and not self.signed:
            yield "zero", "'signed' needs a signed format; allowed: positive, none"
        if self.zero is Zero.NONE and self.subnormals is not Subnormals.NONE:
            yield "zero", f"'none' needs subnormals: none, not {self.subnormals.value}"
        elif self.zero is Zero.NONE and self.nan is NanCodes.NEGATIVE_ZERO:
            yield "zero", "'none' would give the smallest negative value the code of NaN; allowed: positive"
        if self.max_magnitude < max(self.min_magnitude, 0):
            yield "exponent_bits", "no finite value other than zero is left; use more bits or fewer specials"
            return
        emax = self._floor_log2(self.max_magnitude)
        quantum = self.emin - self.mantissa_bits if self.mantissa_bits else self._floor_log2(self.min_magnitude)
        low, high = self.bias + emax - 1023, self.bias + quantum + 1074
        if low > high:
            yield "exponent_bits", f"the values span 2^{quantum} to 2^{emax}, more than float64; use fewer bits"
        elif emax > 1023:
            yield "bias", f"the largest value is at least 2^{emax}, beyond float64; allowed: {low} to {high}"
        elif quantum < -1074:
            yield "bias", f"the smallest step is 2^{quantum}, finer than float64; allowed: {low} to {high}"

    def _floor_log2(self, magnitude: int) -> int:
        """Exponent of a value, which may be beyond float64."""
        exponent, mantissa = divmod(magnitude, 1 << self.mantissa_bits)
        if exponent or self.subnormals is Subnormals.NONE:
            return exponent - self.bias
        return mantissa.bit_length() - 1 + self.emin - self.mantissa_bits
