"""The promise of every quantizer, for many channels at once: what is measured to be worse than MinMax is put right."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from statqat_sim.quantizer.measured import codec_of
from statqat_sim.runtime import RowSumsKernel, backend_for, row_sums_kernel
from statqat_sim.spec.number import NumberFormat

TOGETHER = 1 << 20
"""Elements that are measured together: enough for threads, and buffers still fit most last-level caches."""


@cache
def row_sums() -> RowSumsKernel | None:
    """Of arrays in the CPU's memory; None where the backend that owns them has none."""
    return row_sums_kernel(backend_for(np.zeros(0, np.float32)))


def keep_better(
    rows: NDArray[np.float32],
    minmax: NDArray[np.float32],
    scales: NDArray[np.float32],
    places: NDArray[np.intp],
    format: NumberFormat,
    sums: RowSumsKernel,
) -> None:
    """Put MinMax's scales in place of those whose squared error is measured to be no smaller.

    Args:
        rows: what the scales are of; elements that are not finite are passed over.
        minmax: MinMax's scale of each row.
        scales: others; changed.
        places: the rows that are looked at.
        format: one that rounds without random bits.
        sums: what adds up the errors.
    """
    step = max(TOGETHER // max(rows.shape[1], 1), 1)
    for first in range(0, len(places), step):
        part = places[first : first + step]
        ours, theirs = _errors(rows[part], (scales[part], minmax[part]), format, sums)
        is_better = (ours < theirs) | ~(np.isfinite(theirs) | np.isnan(ours))
        scales[part] = np.where(is_better, scales[part], minmax[part])


def _errors(
    rows: NDArray[np.float32], choices: tuple[NDArray[np.float32], ...], format: NumberFormat, sums: RowSumsKernel
) -> list[NDArray[np.float64]]:
    """Σ(x − Q(x))² of each row's finite elements, for each choice of scales."""
    finite, y, errors = np.isfinite(rows), np.empty(rows.shape, np.float32), []
    values = rows if finite.all() else np.where(finite, rows, np.float32(0))
    for scales in choices:
        with np.errstate(all="ignore"):
            codec_of(format).fake_quantize(values, scale=scales[:, None], out=y)
        errors.append(sums.squared_errors(rows, y))
    return errors
