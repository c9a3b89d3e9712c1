"""The thresholds on the real line at which the encoder of a number format changes its value, at scale 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.errors import UnsupportedError
from statqat_sim.rebuilt import Rebuilt
from statqat_sim.reference.exact import Special, decode, encode_number
from statqat_sim.reference.ieee import BFLOAT16
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.encode import NegativeInput, Overflow, Rounding, Underflow, Via
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.listed import ListedElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory.boundaries import boundaries

LEAST_NORMAL = 2.0**-126
"""The smallest normal float32; `flush_inputs` flushes smaller inputs to zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells(Rebuilt):
    """The value of every real input.

    Inputs between `thresholds[i - 1]` and `thresholds[i]` have the value `values[i]`; the first and the last cell
    extend to infinity. Threshold points are unspecified: they have probability zero.

    Args:
        values: float64, finite, shape `(cells,)`; ascending, but with `negative_input: abs` descending below input 0.
        thresholds: float64, ascending, shape `(cells - 1,)`. Two of them are 0 if only the input 0 has the value zero
            (`underflow: min`); the cell between them is that point.
        zero: the index of the cell of input 0.
        limits: inputs beyond these become Inf or NaN, or wrap; their cells hold the values they would saturate to.
        zero_is_nan: whether the input 0 becomes NaN; its cell then holds its value under `zero_input: min`.
    """

    values: Floats
    thresholds: Floats
    zero: int
    limits: tuple[float, float] = (-math.inf, math.inf)
    zero_is_nan: bool = False

    def __post_init__(self) -> None:
        self.values.flags.writeable = self.thresholds.flags.writeable = False


def nearest(format: NumberFormat) -> NumberFormat:
    """The format, with stochastic rounding replaced by rounding to nearest, ties to even."""
    if not format.encode.rounding.is_stochastic:
        return format
    encode = format.encode.model_copy(update={"rounding": Rounding.NEAREST_EVEN})
    return format.model_copy(update={"encode": encode})


@lru_cache(maxsize=512)
def cells(format: NumberFormat) -> Cells:
    """The cells of a format with deterministic rounding; the arrays are shared and read-only.

    `via: float32` has no effect here, since kernels read float32.

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
    """Values, thresholds and limits that follow from rounding and overflow."""
    values = _values(format)
    below, above = _successors(format)
    line = np.concatenate((below, values, above))
    bounds = boundaries(format, line)
    first, last = len(below), len(bounds) - len(above)
    limits = (float(bounds[0]) if len(below) else -math.inf, float(bounds[-1]) if len(above) else math.inf)
    if format.encode.overflow is not Overflow.WRAP:
        # a rounding mode that maps inputs just beyond the end back to it does so for all inputs beyond
        limits = tuple(math.copysign(math.inf, x) if x in (line[0], line[-1]) else x for x in limits)  # type: ignore
    return values, bounds[first:last], limits


def _values(format: NumberFormat) -> Floats:
    """The values of `format.grid()`, computed faster."""
    match format.element:
        case FloatElement() as element if format.bits <= MAX_TABLE_BITS:
            magnitudes = np.array([element.magnitude_value(each) for each in range(element.max_magnitude + 1)])
            return (
                np.unique(np.concatenate((-magnitudes, magnitudes)) + 0.0) if element.signed else np.unique(magnitudes)
            )
        case IntElement() as element if format.bits <= MAX_TABLE_BITS:
            low, high = element.range
            return np.ldexp(np.arange(low, high + 1, dtype=np.float64), -element.fraction_bits)
    return format.grid()


def _successors(format: NumberFormat) -> tuple[list[float], list[float]]:
    """The values that would follow the least and the greatest one; empty for formats that saturate."""
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
    """The cells with the one of input 0 determined."""
    became = decode(format, encode_number(format, Fraction(0)))
    is_nan = became is Special.NAN
    value = float(became) if isinstance(became, Fraction) else format.smallest * is_nan
    zero = int(np.searchsorted(values, value))
    if format.encode.underflow is Underflow.MIN and value == 0:
        thresholds[max(zero - 1, 0) : zero + 1] = 0
    return Cells(values, thresholds, zero, limits, is_nan)


def _with_inputs(format: NumberFormat, found: Cells) -> Cells:
    """The cells with thresholds on the encoder's input, before `flush_inputs` and `via` are applied."""
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
    """A threshold on inputs that are first rounded to bfloat16: the midpoint of two neighbouring bfloat16.

    Ties of that rounding are single points, and do not matter.

    Args:
        format: any format.
        threshold: the threshold on the rounded inputs.
        above: the values above the threshold; None for Inf and NaN.
    """
    word = BFLOAT16.nearest(Fraction(threshold)) if math.isfinite(threshold) else BFLOAT16.inf
    near = BFLOAT16.number(word)
    if not isinstance(near, Fraction) or near == 0:
        return threshold  # rounds to no finite bfloat16, or to 0
    is_above = near > threshold
    if near == threshold:
        became = decode(format, encode_number(format, near))
        is_above = (float(became) if isinstance(became, Fraction) else None) in above
    other = BFLOAT16.number(word + (-1 if is_above == (threshold > 0) else 1))
    return float(near + other) / 2 if isinstance(other, Fraction) else threshold


def _clamped(format: NumberFormat, found: Cells) -> Cells:
    """The cells of a format without negative values; the first cell already extends to all negative inputs."""
    is_nan = format.encode.negative_input is NegativeInput.NAN
    return replace(found, limits=(0.0 if is_nan else -math.inf, found.limits[1]))


def _mirrored(found: Cells) -> Cells:
    """The cells extended to inputs below 0, which have the values of their magnitudes."""
    values, thresholds = found.values, found.thresholds
    return replace(
        found,
        values=np.concatenate((values[:0:-1], values)),
        thresholds=np.concatenate((-thresholds[::-1], thresholds)),
        zero=len(values) - 1 + found.zero,
        limits=(-found.limits[1], found.limits[1]),
    )
