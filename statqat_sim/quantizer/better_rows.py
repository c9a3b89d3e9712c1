"""The measured errors of many rows, and scales that are better by them."""

from __future__ import annotations

from collections.abc import Iterator
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
    for some in together(len(places), rows.shape[1]):
        part = places[some]
        ours, theirs = errors(rows[part], (scales[part], minmax[part]), format, sums)
        is_better = (ours < theirs) | ~(np.isfinite(theirs) | np.isnan(ours))
        scales[part] = np.where(is_better, scales[part], minmax[part])


def take_better_neighbours(
    rows: NDArray[np.float32], scales: NDArray[np.float32], format: NumberFormat, sums: RowSumsKernel
) -> None:
    """Replace, in place, each scale by the one of least measured error among `NEIGHBOURS`; see `keep_better`."""
    for part in together(*rows.shape):
        choices = NEIGHBOURS[:, None] * scales[part]
        best = np.stack(errors(rows[part], tuple(choices), format, sums)).argmin(0)
        scales[part] = choices[best, np.arange(len(best))]


def errors(
    rows: NDArray[np.float32], choices: tuple[NDArray[np.float32], ...], format: NumberFormat, sums: RowSumsKernel
) -> list[NDArray[np.float64]]:
    """Σ(x − Q(x))² of each row's finite elements, for each choice of scales."""
    finite, y, found = finite_or_zero(rows), np.empty(rows.shape, np.float32), []
    for scales in choices:
        quantize(finite, scales, format, y)
        found.append(sums.squared_errors(rows, y))
    return found


def finite_or_zero(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows, with 0 in place of NaN and Inf."""
    is_finite = np.isfinite(rows)
    return rows if is_finite.all() else np.where(is_finite, rows, np.float32(0))


def quantize(
    rows: NDArray[np.float32], scales: NDArray[np.float32], format: NumberFormat, out: NDArray[np.float32]
) -> None:
    """The value of each element at its row's scale."""
    with np.errstate(all="ignore"):
        codec_of(format).fake_quantize(rows, scale=scales[:, None], out=out)


def together(count: int, width: int) -> Iterator[slice]:
    """Slices that cover `count` rows of this width, each of rows that are measured together."""
    step = max(TOGETHER // max(width, 1), 1)
    return (slice(first, first + step) for first in range(0, count, step))
