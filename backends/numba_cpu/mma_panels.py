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

WORD: Final = 32
"""Bits of a mask's word, one per element."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An operand's values and their exponents, in its own shape."""

    values: Array
    exponents: Array


def seen(values: Array, factor: Factor, scale: Array | None = None) -> Seen:
    """An operand's values, flushed to zero where its factor says so, and their exponents, int16.

    Args:
        values: float32.
        factor: what a unit sees of them.
        scale: powers of two that multiply them, of their shape; float64 results.
    """
    values = flushed(values, factor)
    exponents = np.maximum((np.abs(values).view(np.int32) >> 23) - 127, factor.emin).astype(np.int16)
    if scale is not None:
        wide = scale.astype(np.float64)
        exponents += ((wide.view(np.int64) >> 52 & 0x7FF) - 1023).astype(np.int16)
        with np.errstate(invalid="ignore"):
            values = values * wide
    exponents[~np.isfinite(values) | (values == 0)] = NOTHING
    return Seen(values, exponents)


def flushed(values: Array, factor: Factor) -> Array:
    """Values, with those below the factor's least one flushed to zero."""
    if not factor.least:
        return values
    nothing = np.float32(0) if factor.is_positive else np.copysign(np.float32(0), values)
    return np.where(np.abs(values) < factor.least, nothing, values)


def special(values: Array, step: int) -> Array:
    """Whether each step has Inf or NaN: of rows of A `(rows, steps)`, of panels of B `(panels, steps)`."""
    rows = values if values.ndim == 2 else np.moveaxis(values, 1, 2)
    wrong: Array = ~np.isfinite(rows).reshape(*rows.shape[:-1], -1, step)
    found: Array = np.any(wrong, axis=-1 if values.ndim == 2 else (1, -1))
    return found


def zeros(exponents: Array, step: int, parts: int) -> Array:
    """Whether each part of each step has zeros: of rows of A `(rows, steps, parts)`, of panels of B with lanes last."""
    shape = exponents.shape
    steps = exponents.reshape(shape[0], -1, step, *shape[2:]) == NOTHING
    return np.stack([steps[:, :, part::parts].any(axis=2) for part in range(parts)], axis=2)


def masks(nonzero: Array, group: int) -> Array:
    """Bits of each group's elements, the first the lowest: `(rows, K)` as `(rows, groups, words)`, int32."""
    rows, size = nonzero.shape
    bits = np.zeros((rows, size // group, -(-group // WORD) * WORD), np.bool_)
    bits[:, :, :group] = nonzero.reshape(rows, -1, group)
    return np.packbits(bits.reshape(-1), bitorder="little").view(np.int32).reshape(rows, size // group, -1)


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
