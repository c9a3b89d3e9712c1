"""Error metrics of two arrays. Sums are float64, over blocks: no array is converted as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats, left_out, real_array

BLOCK = 1 << 16
"""Elements processed together: their float64 copies fit a core's cache."""

FAR, SHIFT = 2.0**400, 2.0**600
"""Magnitudes beyond FAR, or below 1 / FAR, are shifted towards 1 by SHIFT: then their squares lie within float64."""


class Squares(NamedTuple):
    """A sum of squares of numbers times `factor`, a power of two: 1 for all but extreme numbers."""

    total: float
    factor: float


@left_out
def mse(x: Any, y: Any) -> float:
    """Mean squared error, in the square of the data's unit.

    Args:
        x: an array or CPU tensor of real numbers; integers beyond 2^53 are rounded to float64.
        y: another of the same shape, of any real dtype.

    Returns:
        The mean of (x − y)². NaN for empty arrays, and if x or y has a NaN or both have the same Inf at one place; Inf
        if otherwise one of them is infinite. A mean beyond the range of float64 is Inf, one below it 0.

    Raises:
        TypeError: if an argument is not real numbers.
        ValueError: if the shapes differ.
    """
    noise, _, count = _sums(x, y)
    return noise.total / count / noise.factor / noise.factor if count else math.nan


@left_out
def sqnr_db(x: Any, y: Any) -> float:
    """Signal to quantization noise ratio 10·log10(Σx² / Σ(x − y)²), in dB.

    Args:
        x: the original, an array or CPU tensor of real numbers; integers beyond 2^53 are rounded to float64.
        y: the quantized values, of the same shape and any real dtype.

    Returns:
        The ratio in dB. Inf if y equals x, even if all zero; -Inf if only x is all zero, or if y is infinite where x is
        finite. NaN for empty arrays, and if x is not finite or y has a NaN.

    Raises:
        TypeError: if an argument is not real numbers.
        ValueError: if the shapes differ.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> round(sqnr_db(x, x + 0.1), 2)
    28.75
    """
    noise, power, count = _sums(x, y)
    if not count:
        return math.nan
    return decibels(power.total, noise.total) + 20 * (math.log10(noise.factor) - math.log10(power.factor))


def decibels(power: float, noise: float) -> float:
    """10·log10(power / noise) for sums of squares: Inf without noise, -Inf without power, NaN if undefined."""
    if math.isnan(noise) or not math.isfinite(power):
        return math.nan
    if noise == 0:
        return math.inf
    if power == 0 or math.isinf(noise):
        return -math.inf
    return 10 * (math.log10(power) - math.log10(noise))


def finite_or_none(number: float) -> float | None:
    """The number, or None if it is not finite: JSON has neither NaN nor Inf."""
    return number if math.isfinite(number) else None


def finite_decibels(power: float | None, noise: float | None) -> float | None:
    """`decibels` for JSON: None if a sum is None, or the ratio is not finite."""
    return None if power is None or noise is None else finite_or_none(decibels(power, noise))


def _sums(x: Any, y: Any) -> tuple[Squares, Squares, int]:
    """Σ(x − y)², Σx², and the number of elements."""
    x, y = real_array(x, "x"), real_array(y, "y")
    if x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape} and y has shape {y.shape}; allowed: equal shapes")
    noise = power = 0.0
    with np.errstate(all="ignore"):
        near, size = _factors(x, y)
        for a, b in _blocks(x, y):
            noise += float(np.square(_difference(a, b, near)).sum())
            power += float(np.square(_scaled(a, size)).sum())
    return Squares(noise, near), Squares(power, size), x.size


def _factors(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float]:
    """The factors of x − y and of x; 1 for dtypes narrower than float64, whose squares lie within float64."""
    if not any(each.dtype.kind == "f" and each.dtype.itemsize > 4 for each in (x, y)):
        return 1.0, 1.0
    distance = size = 0.0
    for a, b in _blocks(x, y):
        distance = max(distance, float(np.abs(a - b).max()))
        size = max(size, float(np.abs(a).max()))
    return _factor(distance), _factor(size)


def _factor(largest: float) -> float:
    """What numbers of at most this magnitude are multiplied by before they are squared."""
    if largest > FAR:
        return 1 / SHIFT
    return SHIFT if 0 < largest < 1 / FAR else 1.0


def _difference(a: Floats, b: Floats, factor: float) -> Floats:
    """(a − b) · factor, also where a − b is beyond float64."""
    return a * factor - b * factor if factor < 1 else _scaled(a - b, factor)


def _scaled(a: Floats, factor: float) -> Floats:
    """The numbers times a factor; no pass over them if that is 1."""
    return a if factor == 1 else a * factor


def _blocks(x: NDArray[Any], y: NDArray[Any]) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of float64 blocks; each is valid until the next."""
    if x.size == 0:
        return
    with np.nditer(
        [x, y],
        flags=["external_loop", "buffered"],
        op_flags=[["readonly"], ["readonly"]],
        op_dtypes=[np.float64, np.float64],
        casting="same_kind",
        buffersize=BLOCK,
    ) as pairs:
        yield from pairs
