"""Operands as the kernels of matrix instructions read them: columns of B side by side, in panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.plan.mma import Factor

LANES: Final = 64
NOTHING: Final = -16000
"""The exponent of a zero, and of Inf and NaN."""

HAS_ZERO, IS_SPECIAL = 1, 2
"""Flags of a step's elements."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An operand's values and their exponents, in its own shape."""

    values: Array
    exponents: Array


def seen(values: Array, factor: Factor, scale: Array | None = None) -> Seen:
    """Values, those that count as zero as zeros; their exponents, int16.

    Args:
        values: float32.
        factor: what a unit sees of them.
        scale: powers of two that multiply them, of their shape; float64 results.
    """
    magnitude = np.abs(values)
    if factor.least:
        zeros = np.float32(0) if factor.is_positive else np.copysign(np.float32(0), values)
        values = np.where(magnitude < factor.least, zeros, values)
        magnitude = np.abs(values)
    exponents = np.maximum((magnitude.view(np.int32) >> 23) - 127, factor.emin).astype(np.int16)
    if scale is not None:
        wide = scale.astype(np.float64)
        exponents += ((wide.view(np.int64) >> 52) - 1023).astype(np.int16)
        with np.errstate(invalid="ignore"):
            values = values * wide
    exponents[~np.isfinite(values) | (values == 0)] = NOTHING
    return Seen(values, exponents)


def flags(exponents: Array, values: Array, step: int) -> Array:
    """Of rows of A, or columns of B in panels: what each step holds, uint8; K is the second axis of panels' three."""
    axis = values.ndim - 1 if values.ndim == 2 else 1
    shape = list(values.shape)
    shape[axis : axis + 1] = [shape[axis] // step, step]
    special = ~np.isfinite(values).reshape(shape).all(axis=axis + 1)
    nothing = (exponents.reshape(shape) == NOTHING).any(axis=axis + 1)
    found: Array = (nothing * np.uint8(HAS_ZERO)) | (special * np.uint8(IS_SPECIAL))
    return found


def panels(columns: Array, fill: Any = 0, lanes: int = LANES) -> Array:
    """`(K, N)` as `(panels, K, lanes)`; what is missing from the last panel is `fill`."""
    size, count = columns.shape
    many = -(-count // lanes)
    if count == many * lanes:
        return np.ascontiguousarray(columns.reshape(size, many, lanes).transpose(1, 0, 2))
    filled = np.full((many, size, lanes), fill, columns.dtype)
    for panel in range(many):
        here = columns[:, panel * lanes : (panel + 1) * lanes]
        filled[panel, :, : here.shape[1]] = here
    return filled


def columns(filled: Array, count: int) -> Array:
    """`(panels, rows, lanes)` as `(rows, count)`."""
    rows: Array = filled.transpose(1, 0, 2).reshape(filled.shape[1], -1)[:, :count]
    return rows
