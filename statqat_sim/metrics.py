"""Error metrics of two arrays. Sums are float64, over blocks: no array is converted as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import real_array

BLOCK = 1 << 16
"""Elements processed together: their float64 copies fit a core's cache."""

Floats: TypeAlias = NDArray[np.float64]


def mse(x: Any, y: Any) -> float:
    """Mean squared error, in the square of the data's unit.

    Args:
        x: an array or CPU tensor of real numbers.
        y: another of the same shape, of any real dtype.

    Returns:
        The mean of (x − y)². NaN for empty arrays, and if x or y has a NaN or both have the same Inf at one place; Inf
        if otherwise one of them is infinite.

    Raises:
        TypeError: if an argument is not real numbers.
        ValueError: if the shapes differ.
    """
    noise, _, count = _sums(x, y)
    return noise / count if count else math.nan


def sqnr_db(x: Any, y: Any) -> float:
    """Signal to quantization noise ratio 10·log10(Σx² / Σ(x − y)²), in dB.

    Args:
        x: the original, an array or CPU tensor of real numbers.
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
    return decibels(power, noise) if count else math.nan


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


def _sums(x: Any, y: Any) -> tuple[float, float, int]:
    """Σ(x − y)², Σx², and the number of elements."""
    x, y = real_array(x, "x"), real_array(y, "y")
    if x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape} and y has shape {y.shape}; allowed: equal shapes")
    noise = power = 0.0
    with np.errstate(all="ignore"):
        for a, b in _blocks(x, y):
            noise += float(np.square(a - b).sum())
            power += float(np.square(a).sum())
    return noise, power, x.size


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
