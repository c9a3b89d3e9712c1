"""The codes of scales (22, 23), and the values of scale formats."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import inf

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference import exact
from statqat_sim.reference.blocks_float32 import ONE, ZERO, fl, is_finite, is_negative, is_zero, real
from statqat_sim.reference.grid import Grid, Number, Special, scaled
from statqat_sim.reference.ieee import floor_log2
from statqat_sim.spec.encode import InfInput, NanInput, NegativeInput, Overflow, Rounding, Underflow, ZeroInput
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import AllZero, Combine, ScaleLevel

LEAST = scaled(1, -149)
"""The smallest positive float32."""


def scale_code(level: ScaleLevel, raw: Number) -> int:
    """The code of the raw scale of a block that is not all zero (22), also if the raw scale underflowed to 0."""
    if is_zero(raw) and level.underflow is Underflow.MIN:
        raw = -LEAST if is_negative(raw) else LEAST
    return encoded_scale(level, raw if level.clamp is None else _within(*level.clamp, raw))


def _within(low: float, high: float, raw: Number) -> Number:
    """The raw scale within the ends of `clamp` as float32; NaN becomes the upper one."""
    ends = fl(Fraction(low)), fl(Fraction(high))
    return min(max(ends[0], raw, key=_place), ends[1], key=_place)


def _place(number: Number) -> Fraction | float:
    """Where a number lies on the line; NaN lies above all."""
    if is_finite(number):
        return real(number)
    return -inf if number is Special.NEGATIVE_INF else inf


def given_code(level: ScaleLevel, given: Number) -> int:
    """The code of a caller's scale: rounded to nearest even, not clamped, and 0 is allowed."""
    return saturated(number_format(level), given, Rounding.NEAREST_EVEN, Underflow.ZERO)


def encoded_scale(level: ScaleLevel, raw: Number) -> int:
    """The code of a number by the level's `rounding` and `underflow`."""
    return saturated(number_format(level), raw, level.rounding, level.underflow)


def saturated(format: NumberFormat, number: Number, rounding: Rounding, underflow: Underflow) -> int:
    """The code of a number, saturating; under `underflow: min` nonzero numbers do not round to 0."""
    policy = format.encode.model_copy(
        update={
            "rounding": rounding,
            "overflow": Overflow.SATURATE,
            "inf_input": InfInput.SATURATE,
            "underflow": underflow,
            "zero_input": ZeroInput.MIN,
            "negative_input": NegativeInput.CLAMP,
            "nan_input": NanInput.MAX if nan_code(format) is None else NanInput.NAN,
        }
    )
    return exact.encode_number(format.model_copy(update={"encode": policy}), number)


def clamped(level: ScaleLevel, code: int) -> int:
    """The code of the nearest candidate within `clamp`, whose ends are values of the format."""
    if level.clamp is None:
        return code
    low, high = map(Fraction, level.clamp)
    value = real(exact.decode(number_format(level), code))
    return code if low <= value <= high else code_of(number_format(level), low if value < low else high)


def all_zero_code(level: ScaleLevel) -> int:
    """The code of the scale of a block of zeros (23); of exponents, 0 or that of the smallest factor."""
    if level.combine is not Combine.MULTIPLY:
        is_last = level.all_zero is AllZero.MIN and level.combine is Combine.EXPONENT_SUBTRACT
        return (1 << number_format(level).bits) - 1 if is_last else 0
    return encoded_scale(level, all_zero_raw(level))


def all_zero_raw(level: ScaleLevel) -> Number:
    """The scale that `all_zero` specifies, before encoding.

    Raises:
        UnsupportedError: for `min` of a nested format, which has no smallest value of its own.
    """
    match level.all_zero:
        case AllZero.ONE:
            return ONE
        case AllZero.MIN:
            least = fl(smallest(number_format(level)))
            return LEAST if is_zero(least) else least
        case AllZero.ZERO:
            return ZERO


def nan_code(format: NumberFormat) -> int | None:
    """The code of the NaN of a scale format."""
    return exact.grid_of(format.element).nan


def known_nan_code(level: ScaleLevel) -> int:
    """The code of a NaN scale."""
    code = nan_code(number_format(level))
    if code is None:
        raise UnsupportedError("nonfinite: nan_block needs a scale format with NaN")
    return code


def scale_value(level: ScaleLevel, code: int) -> Number:
    """The factor that a code stands for, as float32."""
    match level.combine:
        case Combine.MULTIPLY:
            return fl(exact.decode(number_format(level), code))
        case Combine.EXPONENT_ADD:
            return fl(scaled(1, code))
        case Combine.EXPONENT_SUBTRACT:
            return fl(scaled(1, -code))


# --- formats of scales -----------------------------------------------------------------------------------------


def number_format(level: ScaleLevel) -> NumberFormat:
    """The format of a level that is not nested."""
    if not isinstance(level.format, NumberFormat):
        raise UnsupportedError("a nested scale has no code of its own")
    return level.format


def code_of(format: NumberFormat, value: Fraction) -> int:
    """The code of a value of the format."""
    grid = exact.grid_of(format.element)
    rank, above = grid.neighbours(value)
    if rank != above or grid.value(rank) != value:
        raise UnsupportedError(f"{format.name} has no value {float(value)}")
    return grid.code(rank, False)


def smallest(format: NumberFormat) -> Fraction:
    """The smallest value above zero."""
    grid = exact.grid_of(format.element)
    return grid.value(_first_positive(grid))


def positive_codes(format: NumberFormat) -> list[int]:
    """The codes of all values above zero, ascending by value."""
    grid = exact.grid_of(format.element)
    return [grid.code(rank, False) for rank in range(_first_positive(grid), grid.highest + 1)]


def _first_positive(grid: Grid) -> int:
    rank = grid.neighbours(ZERO)[1]
    while grid.value(rank) <= 0:
        rank += 1
    return rank


@lru_cache(maxsize=64)
def powers_of(format: NumberFormat) -> tuple[int, int]:
    """The exponents of the smallest and the largest positive power of two among the values.

    Raises:
        UnsupportedError: for a format without any.
    """
    grid = exact.grid_of(format.element)
    exponents = range(floor_log2(smallest(format)), floor_log2(grid.value(grid.highest)) + 1)
    found = [k for k in exponents if _has(grid, scaled(1, k))]
    if not found:
        raise UnsupportedError(f"{format.name} has no power of two")
    return found[0], found[-1]


def _has(grid: Grid, value: Fraction) -> bool:
    low, high = grid.neighbours(value)
    return low == high and grid.lowest <= low <= grid.highest and grid.value(low) == value
