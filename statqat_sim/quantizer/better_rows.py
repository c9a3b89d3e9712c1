"""Replace the scales of rows whose measured error is not below MinMax's by MinMax's scales."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statqat_sim.quantizer.measured import codec_of
from statqat_sim.runtime import RowSumsKernel, backend_for, row_sums_kernel
from statqat_sim.spec.number import NumberFormat

TOGETHER = 1 << 20
"""Elements measured together: enough for threads, while buffers still fit most last-level caches."""

NEIGHBOURS: Final = np.array([1 + step / 400 for step in sorted(range(-8, 9), key=abs)], np.float32)
"""Factors of a scale, 1 first: spaced as the valleys of 8-bit formats are wide, up to the resolution of bins."""


@cache
def row_sums() -> RowSumsKernel | None:
    """The kernel for arrays in the CPU's memory; None if the backend that owns them has none."""
    return row_sums_kernel(backend_for(np.zeros(0, np.float32)))


def keep_better(
    rows: NDArray[np.float32],
    minmax: NDArray[np.float32],
    scales: NDArray[np.float32],
    places: NDArray[np.intp],
    format: NumberFormat,
    sums: RowSumsKernel,
) -> None:
    """Replace, in place, scales whose measured squared error is not below MinMax's by MinMax's.

    Args:
        rows: the data, one row for each scale; non-finite elements are ignored.
        minmax: MinMax's scale of each row.
        scales: the scale of each row; modified.
        places: the indices of the rows to measure.
        format: a format without stochastic rounding.
        sums: the kernel that sums errors.
    """
    step = max(TOGETHER // max(rows.shape[1], 1), 1)
    for first in range(0, len(places), step):
        part = places[first : first + step]
        ours, theirs = _errors(rows[part], (scales[part], minmax[part]), format, sums)
        is_better = (ours < theirs) | ~(np.isfinite(theirs) | np.isnan(ours))
        scales[part] = np.where(is_better, scales[part], minmax[part])


def take_better_neighbours(
    rows: NDArray[np.float32], scales: NDArray[np.float32], format: NumberFormat, sums: RowSumsKernel
) -> None:
    """Replace, in place, each scale by the one of least measured error among `NEIGHBOURS`; see `keep_better`."""
    step = max(TOGETHER // max(rows.shape[1], 1), 1)
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        choices = NEIGHBOURS[:, None] * scales[part]
        best = np.stack(_errors(rows[part], tuple(choices), format, sums)).argmin(0)
        scales[part] = choices[best, np.arange(len(best))]


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
