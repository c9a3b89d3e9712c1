"""Elements that are takums."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from statqat_sim.spec.base import MAX_TABLE_BITS, Worded
from statqat_sim.spec.exponential import exp
from statqat_sim.spec.listed import TwosComplementElement

HEADER_BITS = 5
MAX_CHARACTERISTIC_BITS = 7


class TakumVariant(StrEnum):
    """Whether the significand is linear or the whole magnitude is an exponential."""

    LINEAR = "linear"
    LOGARITHMIC = "logarithmic"


class TakumElement(TwosComplementElement):
    """Takums (Hunhold 2024, arXiv 2404.18603); low bits that a short code lacks are zeros."""

    kind: Literal["takum"]
    bits: Annotated[int, Field(ge=2, le=MAX_TABLE_BITS)]
    variant: Worded[TakumVariant] = TakumVariant.LINEAR

    def magnitude(self, code: int, bits: int) -> tuple[int, int]:
        """With fields c and m: (1 + m)·2^c, or the float64 nearest to √e^(c + m)."""
        missing = max(HEADER_BITS + MAX_CHARACTERISTIC_BITS - bits, 0)
        code, bits = code << missing, bits + missing
        header = code >> (bits - HEADER_BITS)
        is_upward, regime = header >> 3, header & 7
        width = regime if is_upward else 7 - regime
        mantissa_bits = bits - HEADER_BITS - width
        field = code >> mantissa_bits & ((1 << width) - 1)
        characteristic = field + ((1 << width) - 1 if is_upward else 1 - (2 << width))
        one = 1 << mantissa_bits
        mantissa = code & (one - 1)
        if self.variant is TakumVariant.LOGARITHMIC:
            power, denominator = exp(
                (characteristic << mantissa_bits) + mantissa, 2 << mantissa_bits
            ).as_integer_ratio()
            return power, 1 - denominator.bit_length()
        return one + mantissa, characteristic - mantissa_bits
