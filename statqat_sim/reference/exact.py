"""The oracle: the meaning of codes and the encoding of inputs, in exact rational arithmetic.

It reads only the declared fields of a spec and derives everything else from the Definitions of `formats/LANGUAGE.md`,
independently, so that it also checks what the spec classes derive. Numbers in parentheses are those of the Definitions;
where these are silent, the docstring of the function concerned states the decision.

The producible values of a format form a `Grid`; rounding finds the neighbours of an input there, and their midpoint.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from statqat_sim.reference import policies
from statqat_sim.reference.codebook_grid import CodebookGrid
from statqat_sim.reference.float_grid import FloatGrid
from statqat_sim.reference.grid import Grid, Number, Special
from statqat_sim.reference.ieee import BFLOAT16, FLOAT32, FLOAT64, Layout
from statqat_sim.reference.int_grid import IntGrid
from statqat_sim.reference.lns_grid import lns_grid
from statqat_sim.reference.posit_grid import posit_grid
from statqat_sim.reference.rounding import rounded
from statqat_sim.reference.takum_grid import takum_grid
from statqat_sim.reference.tapered_grid import tapered_grid
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy, NegativeInput, Via, ZeroInput
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.lns import LnsElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.posit import PositElement
from statqat_sim.spec.takum import TakumElement
from statqat_sim.spec.tapered import TaperedElement

__all__ = [
    "Number",
    "Special",
    "decode",
    "decode_float32",
    "decode_float64",
    "encode",
    "encode_integer",
    "encode_number",
    "grid_of",
]


def decode(format: NumberFormat, code: int) -> Number:
    """The exact value of a code, which must not have bits above the format's width."""
    return grid_of(format.element).decode(code)


def decode_float32(format: NumberFormat, code: int) -> int:
    """Bits of the float32 that kernels decode a code to: the exact value rounded once, to nearest even (6)."""
    return FLOAT32.nearest(decode(format, code))


def decode_float64(format: NumberFormat, code: int) -> int:
    """Bits of the float64 that kernels decode a code to: the exact value (6)."""
    return FLOAT64.nearest(decode(format, code))


def encode(format: NumberFormat, bits: int, layout: Layout = FLOAT32, *, random: int | None = None) -> int:
    """The code of the input with these bits, by the order of Definition 8.

    Args:
        format: any number format.
        bits: the input as a word.
        layout: the floating-point type of the word.
        random: R, of `random_bits` bits, for stochastic rounding; otherwise None.

    Raises:
        ValueError: for NaN under `nan_input: error`; for a missing or wrong R if the rounding is stochastic.
    """
    number = layout.number(bits)
    if format.encode.flush_inputs and bits & layout.sign - 1 < layout.min_normal:
        number = Special.NEGATIVE_ZERO if bits & layout.sign else Fraction(0)
    return encode_number(format, through(format.encode.via, number), random=random)


def encode_integer(format: NumberFormat, integer: int, *, random: int | None = None) -> int:
    """The code of an input of an integer type, which has no negative zero and no subnormal values."""
    return encode_number(format, through(format.encode.via, Fraction(integer)), random=random)


def through(via: Via, number: Number) -> Number:
    """A number rounded once to the intermediate, to nearest even, with overflow to Inf (8)."""
    match via:
        case Via.EXACT:
            return number
        case Via.FLOAT32:
            return FLOAT32.number(FLOAT32.nearest(number))
        case Via.BFLOAT16:
            return BFLOAT16.number(BFLOAT16.nearest(number))


def encode_number(format: NumberFormat, number: Number, *, random: int | None = None) -> int:
    """`encode` from the NaN step on, for any number, as inputs are after `flush_inputs` and `via`.

    `negative_input` applies to every x < 0. -0 counts as 0 (10), also if `flush_inputs` or `via` made it from a tiny
    negative input.

    Raises:
        ValueError: as `encode`.
    """
    target, policy = grid_of(format.element), format.encode
    if number is Special.NAN or number is Special.NEGATIVE_NAN:
        return policies.nan_input(target, policy, negative=number is Special.NEGATIVE_NAN)
    if not target.has_negative and (number is Special.NEGATIVE_INF or isinstance(number, Fraction) and number < 0):
        if policy.negative_input is not NegativeInput.ABS:
            return policies.negative_input(target, policy)
        number = -number if isinstance(number, Fraction) else Special.INF
    if number is Special.INF or number is Special.NEGATIVE_INF:
        return policies.inf_input(target, policy, negative=number is Special.NEGATIVE_INF)
    if number is Special.NEGATIVE_ZERO or number == 0:
        return _zero_input(target, policy, number is Special.NEGATIVE_ZERO, random)
    assert isinstance(number, Fraction)  # specials have returned above
    return _settled(target, policy, number, random)


def _settled(target: Grid, policy: EncodePolicy, x: Fraction, random: int | None) -> int:
    """Code of a finite x: rounding, underflow, overflow."""
    rank = rounded(target, policy, x, *target.neighbours(x), random)
    return policies.code_of_rank(target, policy, rank, negative=x < 0)


def _zero_input(target: Grid, policy: EncodePolicy, negative: bool, random: int | None) -> int:
    """The code of ±0 (12). In a format without zero -0 counts as +0; a codebook without zero rounds 0 as any value."""
    if target.has_zero:
        return policies.zero(target, negative)
    if policy.zero_input is ZeroInput.NAN:
        return policies.nan(target, negative=False)
    if target.zero is not None:
        return target.code(target.zero + 1, False)
    return _settled(target, policy, Fraction(0), random)


@lru_cache(maxsize=16)
def grid_of(element: Element) -> Grid:
    """The grid of an element, cached for recently used elements."""
    match element:
        case FloatElement():
            return FloatGrid(element)
        case IntElement():
            return IntGrid(element)
        case CodebookElement():
            return CodebookGrid(element)
        case PositElement():
            return posit_grid(element)
        case TakumElement():
            return takum_grid(element)
        case LnsElement():
            return lns_grid(element)
        case TaperedElement():
            return tapered_grid(element)
