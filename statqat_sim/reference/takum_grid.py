"""The meaning of the codes of takums.

Sources: Hunhold, "Beating Posits at Their Own Game: Takum Arithmetic", arXiv 2404.18603; the linear variant: arXiv
2412.20273.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from statqat_sim.reference.bitstring_grid import BitstringGrid, linear_value
from statqat_sim.reference.powers import power_of_e
from statqat_sim.spec.takum import TakumElement, TakumVariant

FULL_WIDTH = 12
"""Bits of sign, direction, regime and the longest characteristic; bits missing from a shorter code are zeros (5)."""


class Fields(NamedTuple):
    """Sign, characteristic c, and the mantissa m = mantissa / 2^mantissa_bits."""

    sign: int
    characteristic: int
    mantissa: int
    mantissa_bits: int


def takum_grid(element: TakumElement) -> BitstringGrid:
    """The values of a takum by rank."""
    meaning = linear_takum if element.variant is TakumVariant.LINEAR else logarithmic_takum
    return BitstringGrid(element.bits, meaning)


def linear_takum(code: int, width: int) -> Fraction:
    """(1 - 3S + m) · 2^((-1)^S · (c + S)), the value of a takum that is not NaR."""
    return linear_value(*takum_fields(code, width)) if code else Fraction(0)


def logarithmic_takum(code: int, width: int) -> Fraction:
    """(-1)^S · √e^l with l = (-1)^S · (c + m), rounded to float64: the value of a takum that is not NaR (6)."""
    if code == 0:
        return Fraction(0)
    sign, characteristic, mantissa, mantissa_bits = takum_fields(code, width)
    length = (characteristic << mantissa_bits) + mantissa
    return -power_of_e(-length, mantissa_bits + 1) if sign else power_of_e(length, mantissa_bits + 1)


def takum_fields(code: int, width: int) -> Fields:
    """Sign, direction (1 bit), regime (3 bits, counted down if the direction is 0), characteristic, mantissa."""
    missing = max(FULL_WIDTH - width, 0)
    code, width = code << missing, width + missing
    sign, direction, regime = code >> width - 1, code >> width - 2 & 1, code >> width - 5 & 7
    if direction == 0:
        regime = 7 - regime
    mantissa_bits = width - 5 - regime
    offset = code >> mantissa_bits & (1 << regime) - 1
    base = (1 << regime) - 1 if direction else 1 - (2 << regime)
    return Fields(sign, base + offset, code & (1 << mantissa_bits) - 1, mantissa_bits)
