"""The promise of every quantizer, for many channels at once: what is measured to be worse than MinMax is put right."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statqat_sim.quantizer.measured import codec_of
from statqat_sim.runtime import RowSumsKernel, backend_for, row_sums_kernel
from statqat_sim.spec.number import NumberFormat

TOGETHER = 1 << 20
"""Elements that are measured together: enough for threads, and buffers still fit most last-level caches."""

NEIGHBOURS: Final = np.float32([1 + step / 400 for step in sorted(range(-8, 9), key=abs)])
"""Factors of a scale, itself first: as close as the valleys of 8-bit formats are wide, and as far as bins blur."""


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


def take_better_neighbours(
    rows: NDArray[np.float32], scales: NDArray[np.float32], format: NumberFormat, sums: RowSumsKernel
) -> None:
    """Put the scale of least measured error among `NEIGHBOURS` in place of each; the arguments are `keep_better`'s."""
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
