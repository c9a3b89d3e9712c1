"""The scales that many channels were dequantized with: what `dequantized` finds, for all of them at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.quantizer.better_rows import errors, finite_or_zero, quantize, together
from statqat_sim.quantizer.dequantized import passing
from statqat_sim.quantizer.levels import levels
from statqat_sim.quantizer.representable import float32_around
from statqat_sim.quantizer.row_ratios import may_be_dequantized
from statqat_sim.runtime import RowSumsKernel
from statqat_sim.spec.number import NumberFormat


def take_dequantized(
    rows: NDArray[np.float32],
    minmax: NDArray[np.float32],
    scales: NDArray[np.float32],
    format: NumberFormat,
    sums: RowSumsKernel,
) -> None:
    """Replace, in place, scales by those that rows were dequantized with, if their measured error is smaller.

    Args:
        rows: see `keep_better`, and so the other arguments.
        minmax: MinMax's scale of each row.
        scales: the scale of each row; modified.
        format: a format that saturates.
        sums: the kernel that sums errors.
    """
    steps = levels(format)
    places = may_be_dequantized(rows, steps)
    for some in together(len(places), max(rows.shape[1], steps.count)):
        part = places[some]
        scales[part] = _better(rows[part], minmax[part], scales[part], format, sums)


def _better(
    rows: NDArray[np.float32],
    minmax: NDArray[np.float32],
    scales: NDArray[np.float32],
    format: NumberFormat,
    sums: RowSumsKernel,
) -> NDArray[np.float32]:
    """The scales, or better ones."""
    best, (least,) = scales.copy(), errors(rows, (scales,), format, sums)
    known = np.where(np.isfinite(rows), rows, np.float32(np.nan))
    for starts in passing(known, minmax.astype(np.float64), levels(format)).T:
        some = np.flatnonzero((least > 0) & np.isfinite(starts))
        centres = np.full(len(rows), np.nan)
        centres[some] = _least_squares(rows[some], starts[some], format)
        for tried in float32_around(centres).T:
            some = np.flatnonzero((least > 0) & np.isfinite(centres))
            (error,) = errors(rows[some], (tried[some],), format, sums)
            is_better = error < least[some]
            some = some[is_better]
            best[some], least[some] = tried[some], error[is_better]
    return best


def _least_squares(rows: NDArray[np.float32], scales: Floats, format: NumberFormat) -> Floats:
    """The least-squares scale of each row given its codes at a scale; NaN if there is none."""
    x, y = finite_or_zero(rows), np.empty(rows.shape, np.float32)
    quantize(x, scales.astype(np.float32), format, y)
    y[x != rows] = 0
    xy, yy = (np.einsum("ij,ij->i", each, y, dtype=np.float64) for each in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(scales * xy / yy)
