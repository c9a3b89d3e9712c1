"""Operands in the layout that the kernels of matrix instructions read: panels of `LANES` columns of B side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.backends.numba_cpu.mma_numbers import LANES, NOTHING
from statqat_sim.plan.mma import Factor

WORD: Final = 32
"""Bits in a word of a mask; each bit is one element."""


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand's values and their exponents, both in its shape."""

    values: Array
    exponents: Array


def operand(values: Array, factor: Factor, scale: Array | None = None) -> Operand:
    """An operand's values, with small ones flushed as `factor` says, and their exponents, int16.

    Args:
        values: float32.
        factor: the smallest exponent, and the least value that is not flushed.
        scale: powers of two of the same shape that multiply the values; the result is then float64.
    """
    values = flushed(values, factor)
    exponents = np.maximum((np.abs(values).view(np.int32) >> 23) - 127, factor.emin).astype(np.int16)
    if scale is not None:
        wide = scale.astype(np.float64)
        exponents += ((wide.view(np.int64) >> 52 & 0x7FF) - 1023).astype(np.int16)
        with np.errstate(invalid="ignore"):
            values = values * wide
    exponents[~np.isfinite(values) | (values == 0)] = NOTHING
    return Operand(values, exponents)


def flushed(values: Array, factor: Factor) -> Array:
    """Values, with magnitudes below `factor.least` flushed to zero."""
    if not factor.least:
        return values
    nothing = np.float32(0) if factor.is_positive else np.copysign(np.float32(0), values)
    return np.where(np.abs(values) < factor.least, nothing, values)


def special(values: Array, step: int) -> Array:
    """Whether each step contains Inf or NaN: `(rows, steps)` for rows of A, `(panels, steps)` for panels of B."""
    rows = values if values.ndim == 2 else np.moveaxis(values, 1, 2)
    wrong: Array = ~np.isfinite(rows).reshape(*rows.shape[:-1], -1, step)
    found: Array = np.any(wrong, axis=-1 if values.ndim == 2 else (1, -1))
    return found


def zeros(exponents: Array, step: int, parts: int) -> Array:
    """Whether each part of a step contains zeros: A `(rows, steps, parts)`, B `(panels, steps, parts, lanes)`."""
    shape = exponents.shape
    steps = exponents.reshape(shape[0], -1, step, *shape[2:]) == NOTHING
    return np.stack([steps[:, :, part::parts].any(axis=2) for part in range(parts)], axis=2)


def masks(nonzero: Array, group: int) -> Array:
    """Pack booleans `(rows, K)` to int32 masks `(rows, groups, words)`; a group's first element is the lowest bit."""
    rows, size = nonzero.shape
    bits = np.zeros((rows, size // group, -(-group // WORD) * WORD), np.bool_)
    bits[:, :, :group] = nonzero.reshape(rows, -1, group)
    return np.packbits(bits.reshape(-1), bitorder="little").view(np.int32).reshape(rows, size // group, -1)


def panels(columns: Array, fill: Any = 0, lanes: int = LANES) -> Array:
    """Rearrange `(K, N)` to `(panels, K, lanes)`; the last panel is filled up with `fill`."""
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
    """Rearrange `(panels, rows, lanes)` to `(rows, count)`, without the fill."""
    rows: Array = filled.transpose(1, 0, 2).reshape(filled.shape[1], -1)[:, :count]
    return rows
