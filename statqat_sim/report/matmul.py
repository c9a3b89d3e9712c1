"""Comparison of two matrix products: where they differ, and by how many ulps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Array, Integers
from statqat_sim.metrics import sqnr_db

MOST = 1 << 20
"""The largest difference that the histogram distinguishes, in ulps; larger ones count as this."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A result compared with an expected one."""

    elements: int
    differing: int
    first: tuple[int, ...] | None
    """The index of the first element that differs, in C order."""
    values: tuple[float, float] | None
    """Both results there."""
    nonfinite: int
    """The number of elements that are Inf or NaN in either result; they are excluded below."""
    ulps: Integers
    """The signed difference of each finite element, in ulps."""
    largest_error: float
    mean_error: float
    """Mean of the differences."""
    sqnr_db: float


def compared(d: Any, expected: Any) -> Comparison:
    """The comparison of two results of equal shape and dtype.

    Raises:
        ValueError: if shapes or dtypes differ.
    """
    x, y = np.asarray(d), np.asarray(expected)
    if x.shape != y.shape or x.dtype != y.dtype:
        raise ValueError(f"{x.dtype} {x.shape} and {y.dtype} {y.shape} cannot be compared; allowed: equal ones")
    finite = np.isfinite(x) & np.isfinite(y)
    both_nan = np.isnan(x) & np.isnan(y)
    differs = (_words(x) != _words(y)) & ~both_nan
    first = np.unravel_index(int(differs.argmax()), x.shape) if differs.any() else None
    place = None if first is None else tuple(map(int, first))
    errors = x[finite].astype(np.float64) - y[finite].astype(np.float64)
    return Comparison(
        elements=x.size,
        differing=int(differs.sum()),
        first=place,
        values=None if place is None else (float(x[place]), float(y[place])),
        nonfinite=int((~finite).sum()),
        ulps=_ordered(x[finite]) - _ordered(y[finite]),
        largest_error=float(np.abs(errors).max(initial=0)),
        mean_error=float(errors.mean()) if errors.size else 0.0,
        sqnr_db=float(sqnr_db(y[finite].astype(np.float64), x[finite].astype(np.float64))) if errors.size else np.inf,
    )


def _words(x: Array) -> Array:
    words: Array = np.ascontiguousarray(x).view(f"u{x.itemsize}")
    return words


def _ordered(x: Array) -> Integers:
    """Integers in the order of the values, one apart for neighbours; 0 for both zeros."""
    if x.dtype.kind in "iu":
        return x.astype(np.int64)
    bits = _words(x).astype(np.int64)
    sign = np.int64(1) << np.int64(8 * x.itemsize - 1)
    magnitude = bits & (sign - 1)
    return np.where(bits & sign != 0, -magnitude, magnitude)


def histogram(ulps: Integers) -> list[tuple[int, int]]:
    """Counts of absolute differences in bins that begin at 0, 1, 2, 4, 8, ...: pairs of begin and count."""
    sizes = np.minimum(np.abs(ulps), MOST)
    steps = np.array([0, *(1 << power for power in range(MOST.bit_length()))])
    counts = np.bincount(np.searchsorted(steps, sizes, "right") - 1, minlength=len(steps))
    last = int(counts.nonzero()[0].max(initial=0))
    return [(int(step), int(count)) for step, count in zip(steps[: last + 1], counts, strict=False)]
