"""MinMax with zero-points: the smallest scale at which nothing overflows for the best zero-point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats, Integers
from statqat_sim.quantizer.representable import LARGEST, Scales
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import integers

NEAR = (-1, 0, 1, 2)
"""Candidates relative to the ideal number of steps below zero, rounded down: the best integer is one of the ideal
number's two neighbours, and float64 may have rounded it past an integer."""


def affine_minmax(low: Floats, high: Floats, format: NumberFormat, scales: Scales) -> Scale:
    """Scales and zero-points for data between these extremes; low <= 0 <= high.

    Raises:
        UnsupportedError: if the format does not support zero-points.
    """
    least, greatest = integers(format).range
    steps = greatest - least
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # Inf · 0 steps
        needed = _least_scale(low, high, steps)
    is_zero = needed == 0
    scale = scales.at_least(np.where(is_zero, np.float32(1), needed))
    first, last = _steps(-low, scale), steps - _steps(high, scale)
    points = np.clip(middle(least + first, least + last), least, greatest)
    return Scale(scale, np.where(is_zero, 0, points))


def middle(first: Integers, last: Integers) -> Integers:
    """The middle integer from first to last; of two middle ones the even one."""
    total = first + last
    return np.asarray((total >> 1) + (total & (total >> 1) & 1))


def _least_scale(low: Floats, high: Floats, steps: int) -> NDArray[np.float32]:
    """The smallest float32 scale at which some zero-point avoids clipping; 0 if both extremes are zero."""
    width = high / 2 - low / 2
    share = np.divide(-low / 2, width, out=np.zeros_like(low), where=width > 0)
    near = np.floor(share * steps)[..., None] + np.array(NEAR)
    below = np.clip(near, 0, steps)
    needed = np.maximum(_smallest(-low[..., None], below), _smallest(high[..., None], steps - below))
    return np.asarray(np.minimum(needed.min(-1), np.float32(LARGEST)))


def _smallest(extreme: Floats, steps: Floats) -> NDArray[np.float32]:
    """The smallest float32 s with s · steps >= extreme exactly; Inf if there are no steps but a nonzero extreme.

    The quotient rounds to s or to the float32 below it (see `minmax`); products of 24 and 17 bits are exact.
    """
    quotient = np.divide(extreme, steps, out=np.where(extreme > 0, np.inf, 0.0) + 0 * steps, where=steps > 0)
    scale = quotient.astype(np.float32)
    return np.where(scale.astype(np.float64) * steps < extreme, np.nextafter(scale, np.float32(np.inf)), scale)


def _steps(extreme: Floats, scale: NDArray[np.float32]) -> Integers:
    """The least number of steps of this scale, at least 0, that reach the extreme."""
    wide = scale.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        count = np.ceil(np.minimum(extreme / wide, 2.0**32))
        count = np.where((count - 1) * wide >= extreme, count - 1, count)
        return np.where(count * wide < extreme, count + 1, count).astype(np.int64)
