"""Elements that are integers or fixed-point numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from statqat_sim.spec.base import MAX_BITS, KeyProblem, Spec, Worded


class Encoding(StrEnum):
    """The binary encoding of integers."""

    TWOS_COMPLEMENT = "twos_complement"
    UNSIGNED = "unsigned"
    SIGN_MAGNITUDE = "sign_magnitude"
    OFFSET_BINARY = "offset_binary"


def _default_offset(known: dict[str, Any]) -> int | None:
    half: int = 1 << (known["bits"] - 1)
    return half if known["encoding"] is Encoding.OFFSET_BINARY else None


class IntElement(Spec):
    """n·2^-fraction_bits for an integer n, in the declared encoding. `min` and `max` limit only the encoder."""

    kind: Literal["int"]
    bits: Annotated[int, Field(ge=1, le=MAX_BITS)]
    encoding: Worded[Encoding] = Encoding.TWOS_COMPLEMENT
    offset: int | None = Field(default_factory=_default_offset)
    fraction_bits: Annotated[int, Field(ge=-64, le=64)] = 0
    min: int | None = None
    max: int | None = None

    @property
    def sign_bit(self) -> int:
        """The sign bit as a word; 0 without one."""
        return 1 << (self.bits - 1) if self.encoding is Encoding.SIGN_MAGNITUDE else 0

    @property
    def code_offset(self) -> int:
        """The number added to n to give the code; 0 except in offset_binary."""
        return (self.offset or 0) if self.encoding is Encoding.OFFSET_BINARY else 0

    @property
    def full_range(self) -> tuple[int, int]:
        """Least and greatest n that the bits can hold."""
        top = (1 << self.bits) - 1
        match self.encoding:
            case Encoding.UNSIGNED:
                return 0, top
            case Encoding.TWOS_COMPLEMENT:
                return -(1 << (self.bits - 1)), top >> 1
            case Encoding.SIGN_MAGNITUDE:
                return -(top >> 1), top >> 1
            case Encoding.OFFSET_BINARY:
                return -self.code_offset, top - self.code_offset

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest n that the encoder produces."""
        low, high = self.full_range
        return low if self.min is None else self.min, high if self.max is None else self.max

    def integer(self, code: int) -> int:
        """The n of a code."""
        match self.encoding:
            case Encoding.TWOS_COMPLEMENT:
                return code - (code >> (self.bits - 1) << self.bits)
            case Encoding.SIGN_MAGNITUDE:
                magnitude = code & ~self.sign_bit
                return -magnitude if code & self.sign_bit else magnitude
            case _:
                return code - self.code_offset

    def code(self, integer: int) -> int:
        """The code of n, which must be in the full range; for 0, the code of +0."""
        if self.encoding is Encoding.SIGN_MAGNITUDE and integer < 0:
            return self.sign_bit | -integer
        return (integer + self.code_offset) & ((1 << self.bits) - 1)

    def integer_value(self, integer: int) -> float:
        return math.ldexp(integer, -self.fraction_bits)

    def value(self, code: int) -> float:
        """Exact value of a code; sign_magnitude has -0.0."""
        integer = self.integer(code)
        if integer == 0 and code & self.sign_bit:
            return -0.0
        return self.integer_value(integer)

    @property
    def inf_code(self) -> None:
        return None

    @property
    def nan_code(self) -> None:
        return None

    @property
    def signed_nan(self) -> bool:
        return False

    @property
    def zero_code(self) -> int:
        """Code of +0, if the format has one."""
        return self.code(0)

    @property
    def has_zero(self) -> bool:
        return True

    @property
    def has_negative(self) -> bool:
        return self.range[0] < 0

    @property
    def highest(self) -> float:
        return self.integer_value(self.range[1])

    @property
    def lowest(self) -> float:
        return self.integer_value(self.range[0])

    @property
    def smallest(self) -> float:
        """The smallest value above zero; for a format without one, the smallest nonzero magnitude."""
        return self.integer_value(1 if self.range[1] > 0 else -1)

    @property
    def min_normal(self) -> float:
        return self.smallest

    @property
    def min_subnormal(self) -> None:
        return None

    @property
    def ulp_at_one(self) -> float | None:
        """Distance from 1 to the next larger value, if both exist."""
        return self.smallest if self.fraction_bits >= 0 and self.highest > 1 else None

    @property
    def nan_count(self) -> int:
        return 0

    @property
    def inf_count(self) -> int:
        return 0

    def produces(self, code: int) -> bool:
        """Whether the encoder produces this code: `min` and `max` leave codes out."""
        low, high = self.range
        return low <= self.integer(code) <= high

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        if self.offset is not None and self.encoding is not Encoding.OFFSET_BINARY:
            yield "offset", "only encoding: offset_binary has an offset"
        top = (1 << self.bits) - 1
        if not 0 <= self.code_offset <= top:
            yield "offset", f"{self.offset} leaves no code for zero; allowed: 0 to {top}"
            return
        low, high = self.full_range
        if self.min is not None and not low <= self.min <= 0:
            yield "min", f"{self.min} is outside the {self.bits}-bit range, or above zero; allowed: {low} to 0"
        if self.max is not None and not 0 <= self.max <= high:
            yield "max", f"{self.max} is outside the {self.bits}-bit range, or below zero; allowed: 0 to {high}"
        if self.range == (0, 0):
            key = "bits" if low == high == 0 else "min" if self.max is None else "max"
            yield key, "no value other than zero is left"
