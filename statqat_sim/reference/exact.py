"""The oracle: what codes mean and how float32 inputs become codes, in exact rational arithmetic.

It reads only the declared fields of a spec and derives all else from the language's Definitions once more, so that it
also checks what the spec classes derive. Numbers in parentheses are those of the Definitions; where they are silent,
the house's decision stands in the docstring of the function that carries it out.

The producible values of a format form a `Grid`, ascending by *rank*: the n of an int, the index among the distinct
values of a codebook, and 0, ±1, ±2, … for the zero and the nonzero magnitudes of a float.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.float_grid import FloatGrid
from statqat_sim.reference.grid import CodebookGrid, Grid, IntGrid, Number, Special, scaled
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import (
    Element,
    EncodePolicy,
    InfInput,
    NanInput,
    NegativeInput,
    Overflow,
    Rounding,
    Underflow,
    Via,
    ZeroInput,
)
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat

__all__ = ["Number", "Special", "decode", "decode_float32", "encode", "encode_number"]

FLOAT32_SIGN = 0x8000_0000
FLOAT32_INF = 0x7F80_0000
FLOAT32_NAN = 0x7FC0_0000
FLOAT32_MIN_NORMAL = 0x0080_0000


def decode(format: NumberFormat, code: int) -> Number:
    """The exact meaning of a code. Codes with bits above the format's width are outside the contract."""
    return grid_of(format.element).decode(code)


def decode_float32(format: NumberFormat, code: int) -> int:
    """Bits of the float32 that `decode` of kernels gives: the exact value rounded once, to nearest even (6)."""
    number = grid_of(format.element).decode(code)
    match number:
        case Special.NAN:
            return FLOAT32_NAN
        case Special.NEGATIVE_NAN:
            return FLOAT32_SIGN | FLOAT32_NAN
        case Special.NEGATIVE_ZERO:
            return FLOAT32_SIGN
        case Special.INF:
            return FLOAT32_INF
        case Special.NEGATIVE_INF:
            return FLOAT32_SIGN | FLOAT32_INF
        case Fraction():
            sign = FLOAT32_SIGN if number < 0 else 0
            return sign | nearest_pattern(abs(number), mantissa_bits=23)


def encode(format: NumberFormat, bits: int) -> int:
    """The code of the float32 with these bits, by the order of Definition 8.

    Raises:
        ValueError: for NaN under `nan_input: error`.
    """
    return encode_number(format, float32_number(prepared(format.encode, bits)))


def encode_number(format: NumberFormat, number: Number) -> int:
    """`encode` from the NaN step on, of any number: what other input types become after `flush_inputs` and `via`.

    `negative_input` meets every x < 0. -0 counts as 0 (10), and so does a tiny negative that `flush_inputs` or
    `via` made -0.

    Raises:
        ValueError: for NaN under `nan_input: error`.
    """
    target, policy = grid_of(format.element), format.encode
    if number is Special.NAN or number is Special.NEGATIVE_NAN:
        return _nan_input(target, policy, negative=number is Special.NEGATIVE_NAN)
    if not target.has_negative and (number is Special.NEGATIVE_INF or isinstance(number, Fraction) and number < 0):
        if policy.negative_input is not NegativeInput.ABS:
            return _negative_input(target, policy)
        number = -number if isinstance(number, Fraction) else Special.INF
    if number is Special.INF or number is Special.NEGATIVE_INF:
        return _inf_input(target, policy, negative=number is Special.NEGATIVE_INF)
    if number is Special.NEGATIVE_ZERO or number == 0:
        return _zero_input(target, policy, negative=number is Special.NEGATIVE_ZERO)
    assert isinstance(number, Fraction)  # the specials have left
    return settle(target, policy, number, *target.neighbours(number))


def settle(target: Grid, policy: EncodePolicy, x: Fraction, low: int, high: int) -> int:
    """Code of a finite x between the neighbouring ranks `low` and `high`: rounding, underflow, overflow.

    Underflow to the smallest value happens where the policy asks for it, and always in a float without zero (12),
    whose rank 0 exists here for the search alone. On a side without values zero stays.
    """
    rank = rounded(target, policy.rounding, x, low, high)
    negative = x < 0
    if rank == target.zero and x != 0 and (policy.underflow is Underflow.MIN or not target.has_zero):
        step = rank - 1 if negative else rank + 1
        rank = step if target.lowest <= step <= target.highest else rank
    if target.lowest <= rank <= target.highest:
        return target.code(rank, negative)
    return _overflow(target, policy, rank, negative)


def rounded(target: Grid, mode: Rounding, x: Fraction, low: int, high: int) -> int:
    """Which of the neighbours x becomes (13 to 15).

    Parity tries the neighbour nearer zero first: both neighbours of the gap of `flush` have even codes, so a tie there
    is 0 for `nearest_even`, and the smallest normal for `to_odd`. In a codebook whose neighbours straddle zero,
    `toward_zero` takes the smaller magnitude, and of equal magnitudes the higher, as the ties of Definition 15 do.
    """
    if low == high:
        return low
    twice_middle = target.value(low) + target.value(high)
    smaller = low if twice_middle > 0 else high
    larger = low if twice_middle < 0 else high
    near, far = (low, high) if smaller == low else (high, low)
    match mode:
        case Rounding.TOWARD_NEGATIVE:
            return low
        case Rounding.TOWARD_POSITIVE:
            return high
        case Rounding.TOWARD_ZERO:
            return smaller
        case Rounding.TO_ODD:
            return near if target.parity(near) == 1 else far
    if 2 * x != twice_middle:
        return high if 2 * x > twice_middle else low
    match mode:
        case Rounding.NEAREST_EVEN:
            return near if target.parity(near) == 0 else far
        case Rounding.NEAREST_AWAY:
            return larger
        case Rounding.NEAREST_ZERO:
            return smaller
        case Rounding.NEAREST_UP:
            return high


@lru_cache(maxsize=64)
def grid_of(element: Element) -> Grid:
    """The grid of an element, kept for the elements used last."""
    match element:
        case FloatElement():
            return FloatGrid(element)
        case IntElement():
            return IntGrid(element)
        case CodebookElement():
            return CodebookGrid(element)


# --- policies of the special inputs ----------------------------------------------------------------------------


def _nan_input(target: Grid, policy: EncodePolicy, negative: bool) -> int:
    """NaN (9). An integer is a code; its top bit flips for a negative NaN if the format has negative values."""
    rule = policy.nan_input
    if rule is None:
        rule = NanInput.MAX if target.nan is None else NanInput.NAN
    match rule:
        case NanInput.NAN:
            return _nan(target, negative)
        case NanInput.MAX:
            return target.code(target.highest, False)
        case NanInput.ZERO:
            return target.code(_known(target.zero, "zero"), False)
        case NanInput.ERROR:
            raise ValueError("NaN in the input, which nan_input: error refuses")
        case int():
            return rule ^ (1 << (target.bits - 1)) if negative and target.has_negative else rule


def _negative_input(target: Grid, policy: EncodePolicy) -> int:
    """A negative input of a format without negative values (10).

    `clamp` is final: `underflow` does not lift it. If the smallest value is zero and a codebook lists both zeros, the
    input's sign bit picks -0.0.
    """
    if policy.negative_input is NegativeInput.NAN:
        return _nan(target, negative=False)
    return target.code(target.lowest, True)


def _inf_input(target: Grid, policy: EncodePolicy, negative: bool) -> int:
    """±Inf (11): `overflow` without that rule's exceptions for direction; under `wrap`, Inf saturates."""
    rule = policy.inf_input.value
    if policy.inf_input is InfInput.OVERFLOW:
        rule = policy.overflow.value
    match rule:
        case "inf":
            return _inf(target, negative)
        case "nan":
            return _nan(target, negative)
        case _:
            return _largest(target, negative)


def _zero_input(target: Grid, policy: EncodePolicy, negative: bool) -> int:
    """±0 (12). A float without zero takes -0 as +0; in a codebook without zero, 0 is rounded like any other value."""
    if target.has_zero:
        return target.code(_known(target.zero, "zero"), negative)
    if policy.zero_input is ZeroInput.NAN:
        return _nan(target, negative=False)
    if target.zero is not None:
        return target.code(target.zero + 1, False)
    return settle(target, policy, Fraction(0), *target.neighbours(Fraction(0)))


def _overflow(target: Grid, policy: EncodePolicy, rank: int, negative: bool) -> int:
    """A rank outside the grid (18), with the exceptions for modes that lead back from the end."""
    if policy.overflow is Overflow.WRAP:
        return target.wrapped(rank)
    end = target.lowest if negative else target.highest
    match policy.rounding:
        case Rounding.TOWARD_ZERO:
            back = True
        case Rounding.TOWARD_NEGATIVE:
            back = not negative
        case Rounding.TOWARD_POSITIVE:
            back = negative
        case Rounding.TO_ODD:
            back = target.parity(end) == 1
        case _:
            back = False
    if back or policy.overflow is Overflow.SATURATE:
        return _largest(target, negative)
    return _inf(target, negative) if policy.overflow is Overflow.INF else _nan(target, negative)


def _largest(target: Grid, negative: bool) -> int:
    return target.code(target.lowest if negative else target.highest, negative)


def _nan(target: Grid, negative: bool) -> int:
    code = _known(target.nan, "NaN")
    return code | target.sign if negative and target.signed_nan else code


def _inf(target: Grid, negative: bool) -> int:
    code = _known(target.inf, "Inf")
    return code | target.sign if negative else code


def _known(code: int | None, what: str) -> int:
    """The code of what a policy asks for; a validated spec never asks for what its format lacks."""
    if code is None:
        raise UnsupportedError(f"the format has no {what}")
    return code


# --- float32 inputs and results --------------------------------------------------------------------------------


def prepared(policy: EncodePolicy, bits: int) -> int:
    """The first two steps, on the bits: `flush_inputs`, then `via`, to nearest even with overflow to Inf (8)."""
    sign, magnitude = bits & FLOAT32_SIGN, bits & ~FLOAT32_SIGN
    if policy.flush_inputs and magnitude < FLOAT32_MIN_NORMAL:
        magnitude = 0
    if policy.via is Via.BFLOAT16 and magnitude < FLOAT32_INF:
        magnitude = nearest_pattern(_pattern_value(magnitude), mantissa_bits=7) << 16
    return sign | magnitude


def float32_number(bits: int) -> Number:
    """The number that a float32 is."""
    negative, magnitude = bool(bits & FLOAT32_SIGN), bits & ~FLOAT32_SIGN
    if magnitude > FLOAT32_INF:
        return Special.NEGATIVE_NAN if negative else Special.NAN
    if magnitude == FLOAT32_INF:
        return Special.NEGATIVE_INF if negative else Special.INF
    if magnitude == 0:
        return Special.NEGATIVE_ZERO if negative else Fraction(0)
    return -_pattern_value(magnitude) if negative else _pattern_value(magnitude)


def _pattern_value(magnitude: int) -> Fraction:
    exponent, mantissa = divmod(magnitude, 1 << 23)
    return scaled((1 << 23) + mantissa, exponent - 150) if exponent else scaled(mantissa, -149)


def nearest_pattern(x: Fraction, mantissa_bits: int) -> int:
    """Bits of x >= 0 rounded to nearest even, with float32's 8 exponent bits; beyond the largest value, Inf."""
    quantum = max(floor_log2(x), -126) if x else -126
    # round() of a Fraction takes ties to even; a carry out of the mantissa counts up the exponent field
    pattern = (quantum + 126 << mantissa_bits) + round(x / scaled(1, quantum - mantissa_bits))
    return min(pattern, 0xFF << mantissa_bits)


def floor_log2(x: Fraction) -> int:
    """The exponent of x > 0."""
    estimate = x.numerator.bit_length() - x.denominator.bit_length()
    return estimate if x >= scaled(1, estimate) else estimate - 1
