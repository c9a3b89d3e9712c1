"""Where the encoder of a number format switches from one value to the next, on the real line, at scale 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.exact import Special, decode, encode_number
from statqat_sim.reference.ieee import BFLOAT16
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.encode import NegativeInput, Overflow, Rounding, Underflow, Via
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.listed import ListedElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory.boundaries import boundaries

Floats: TypeAlias = NDArray[np.float64]

LEAST_NORMAL = 2.0**-126
"""Of float32; `flush_inputs` makes zero of what is smaller."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What every real input becomes.

    Inputs between `thresholds[i - 1]` and `thresholds[i]` become `values[i]`; the first and the last cell reach to
    infinity. What an input that is a threshold becomes is not told here: to no density does it matter.

    Args:
        values: float64, finite, shape `(cells,)`; ascending, but with `negative_input: abs` descending below input 0.
        thresholds: float64, ascending, shape `(cells - 1,)`. Two of them are 0 where nothing but 0 itself becomes zero
            (`underflow: min`); the cell between them is that point.
        zero: the cell of the input 0.
        limits: inputs beyond these become Inf or NaN, or are wrapped; their cells say what they would saturate to.
        zero_is_nan: whether the input 0 becomes NaN; its cell says what it would be under `zero_input: min`.
    """

    values: Floats
    thresholds: Floats
    zero: int
    limits: tuple[float, float] = (-math.inf, math.inf)
    zero_is_nan: bool = False

    def __post_init__(self) -> None:
        self.values.flags.writeable = self.thresholds.flags.writeable = False


def nearest(format: NumberFormat) -> NumberFormat:
    """The format itself, with rounding to nearest, ties to even, in place of a stochastic one."""
    if not format.encode.rounding.is_stochastic:
        return format
    encode = format.encode.model_copy(update={"rounding": Rounding.NEAREST_EVEN})
    return format.model_copy(update={"encode": encode})


@lru_cache(maxsize=512)
def cells(format: NumberFormat) -> Cells:
    """The cells of a format whose rounding is deterministic; the arrays are shared and read-only.

    `via: float32` changes nothing here, as kernels read float32.

    Raises:
        UnsupportedError: for formats of more than 16 bits, and for stochastic rounding (see `nearest`).
    """
    rounding = format.encode.rounding
    if rounding.is_stochastic:
        allowed = ", ".join(mode.value for mode in Rounding if not mode.is_stochastic)
        raise UnsupportedError(f"{format.name}: cells of rounding: {rounding.value}; allowed: {allowed}")
    found = _with_inputs(format, _with_zero(format, *_rounded(format)))
    if format.element.has_negative:
        return found
    return _mirrored(found) if format.encode.negative_input is NegativeInput.ABS else _clamped(format, found)


def _rounded(format: NumberFormat) -> tuple[Floats, Floats, tuple[float, float]]:
    """Values, thresholds and limits by rounding and overflow alone."""
    values = _values(format)
    below, above = _successors(format)
    line = np.concatenate((below, values, above))
    bounds = boundaries(format, line)
    first, last = len(below), len(bounds) - len(above)
    limits = (float(bounds[0]) if len(below) else -math.inf, float(bounds[-1]) if len(above) else math.inf)
    if format.encode.overflow is not Overflow.WRAP:
        # a mode that takes what lies next to the end back to it does so for all beyond
        limits = tuple(math.copysign(math.inf, x) if x in (line[0], line[-1]) else x for x in limits)  # type: ignore
    return values, bounds[first:last], limits


def _values(format: NumberFormat) -> Floats:
    """`format.grid()`, faster."""
    match format.element:
        case FloatElement() if format.bits <= MAX_TABLE_BITS:
            table = format.table()
            return np.unique(table[np.isfinite(table)] + 0.0)
        case IntElement() as element if format.bits <= MAX_TABLE_BITS:
            low, high = element.range
            return np.ldexp(np.arange(low, high + 1, dtype=np.float64), -element.fraction_bits)
    return format.grid()


def _successors(format: NumberFormat) -> tuple[list[float], list[float]]:
    """What follows the least and the greatest value, read as if it were finite, where reaching it is an overflow."""
    element = format.element
    if format.encode.overflow is Overflow.SATURATE:
        return [], []
    match element:
        case IntElement():
            low, high = element.range
            return [element.integer_value(low - 1)] * element.has_negative, [element.integer_value(high + 1)]
        case FloatElement():
            successor = element.magnitude_value(element.max_magnitude + 1)
        case ListedElement():
            successor = math.inf if element.successor is None else element.successor
    return [-successor] * element.has_negative, [successor]


def _with_zero(format: NumberFormat, values: Floats, thresholds: Floats, limits: tuple[float, float]) -> Cells:
    """Cells that know where the input 0 goes, and what goes there with it."""
    became = decode(format, encode_number(format, Fraction(0)))
    is_nan = became is Special.NAN
    value = float(became) if isinstance(became, Fraction) else format.smallest * is_nan
    zero = int(np.searchsorted(values, value))
    if format.encode.underflow is Underflow.MIN and value == 0:
        thresholds[max(zero - 1, 0) : zero + 1] = 0
    return Cells(values, thresholds, zero, limits, is_nan)


def _with_inputs(format: NumberFormat, found: Cells) -> Cells:
    """Thresholds on what the encoder is given, before `flush_inputs` and `via`."""
    thresholds, limits, values = found.thresholds.copy(), found.limits, found.values.tolist()
    if format.encode.via is Via.BFLOAT16:
        pairs = zip(thresholds.tolist(), values[1:], strict=True)
        thresholds = np.array([_before_bfloat16(format, at, {above}) for at, above in pairs])
        low, high = limits
        limits = _before_bfloat16(format, low, {values[0]}), _before_bfloat16(format, high, {None})
    if format.encode.flush_inputs:
        thresholds[: found.zero] = np.minimum(thresholds[: found.zero], -LEAST_NORMAL)
        thresholds[found.zero :] = np.maximum(thresholds[found.zero :], LEAST_NORMAL)
    return replace(found, thresholds=thresholds, limits=limits)


def _before_bfloat16(format: NumberFormat, threshold: float, above: set[float | None]) -> float:
    """The midpoint of two bfloat16 between which an input changes over, if inputs become bfloat16 first.

    Ties of that rounding are points, and do not matter.

    Args:
        format: any format.
        threshold: where what is rounded changes over.
        above: what it changes to; None for Inf and NaN.
    """
    word = BFLOAT16.nearest(Fraction(threshold)) if math.isfinite(threshold) else BFLOAT16.inf
    near = BFLOAT16.number(word)
    if not isinstance(near, Fraction) or near == 0:
        return threshold  # beyond all values, or between 0 and all others
    is_above = near > threshold
    if near == threshold:
        became = decode(format, encode_number(format, near))
        is_above = (float(became) if isinstance(became, Fraction) else None) in above
    other = BFLOAT16.number(word + (-1 if is_above == (threshold > 0) else 1))
    return float(near + other) / 2 if isinstance(other, Fraction) else threshold


def _clamped(format: NumberFormat, found: Cells) -> Cells:
    """Of a format without negative values; the first cell already takes all that lies below."""
    is_nan = format.encode.negative_input is NegativeInput.NAN
    return replace(found, limits=(0.0 if is_nan else -math.inf, found.limits[1]))


def _mirrored(found: Cells) -> Cells:
    """Every input below 0 becomes what its magnitude does; the cells above 0 and the one around it are known."""
    values, thresholds = found.values, found.thresholds
    return replace(
        found,
        values=np.concatenate((values[:0:-1], values)),
        thresholds=np.concatenate((-thresholds[::-1], thresholds)),
        zero=len(values) - 1 + found.zero,
        limits=(-found.limits[1], found.limits[1]),
    )
