"""The oracle's view of an int: n·2^-fraction_bits by rank n (4)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from statqat_sim.reference.grid import Number, Special, scaled
from statqat_sim.spec.integer import Encoding, IntElement


@dataclass(frozen=True)
class IntGrid:
    """Rank n is n·2^-fraction_bits; ranks continue beyond `min` and `max`, as `wrap` needs them."""

    element: IntElement
    zero = 0
    nan = inf = None
    has_zero = has_successor = True
    signed_nan = False

    @property
    def bits(self) -> int:
        return self.element.bits

    @cached_property
    def sign(self) -> int:
        return 1 << self.bits - 1 if self.element.encoding is Encoding.SIGN_MAGNITUDE else 0

    @cached_property
    def offset(self) -> int:
        if self.element.encoding is not Encoding.OFFSET_BINARY:
            return 0
        return 1 << self.bits - 1 if self.element.offset is None else self.element.offset

    @cached_property
    def lowest(self) -> int:
        if self.element.min is not None:
            return self.element.min
        match self.element.encoding:
            case Encoding.UNSIGNED:
                return 0
            case Encoding.TWOS_COMPLEMENT:
                return -(1 << self.bits - 1)
            case Encoding.SIGN_MAGNITUDE:
                return 1 - (1 << self.bits - 1)
            case Encoding.OFFSET_BINARY:
                return -self.offset

    @cached_property
    def highest(self) -> int:
        if self.element.max is not None:
            return self.element.max
        match self.element.encoding:
            case Encoding.UNSIGNED:
                return (1 << self.bits) - 1
            case Encoding.TWOS_COMPLEMENT | Encoding.SIGN_MAGNITUDE:
                return (1 << self.bits - 1) - 1
            case Encoding.OFFSET_BINARY:
                return (1 << self.bits) - 1 - self.offset

    @cached_property
    def has_negative(self) -> bool:
        return self.lowest < 0

    def decode(self, code: int) -> Number:
        match self.element.encoding:
            case Encoding.SIGN_MAGNITUDE if code == self.sign:
                return Special.NEGATIVE_ZERO
            case Encoding.SIGN_MAGNITUDE if code & self.sign:
                return self.value(self.sign - code)
            case Encoding.TWOS_COMPLEMENT if code >> self.bits - 1:
                return self.value(code - (1 << self.bits))
            case _:
                return self.value(code - self.offset)

    def value(self, rank: int) -> Fraction:
        return scaled(rank, -self.element.fraction_bits)

    def parity(self, rank: int) -> int:
        return rank & 1

    def code(self, rank: int, negative: bool) -> int:
        """Negative inputs that round to zero become -0, unless the format has no negative value (`min: 0`)."""
        if self.sign:
            return abs(rank) | (self.sign if rank < 0 or (rank == 0 and negative and self.has_negative) else 0)
        return self.wrapped(rank)

    def wrapped(self, rank: int) -> int:
        """Code under `overflow: wrap`."""
        return (rank + self.offset) % (1 << self.bits)

    def neighbours(self, x: Fraction) -> tuple[int, int]:
        n, rest = divmod(x, self.value(1))
        return n, n + 1 if rest else n
