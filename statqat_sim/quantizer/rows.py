"""Many channels at once: each row's histogram is built, scanned and discarded while it is in cache.

Short rows are swept instead, even a single one: see `RowScanKernel.sweep`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array
from statqat_sim.plan.row_scan import BEYOND_MINMAX, SHORTEST, RowScanPlan
from statqat_sim.quantizer.base import cpu_data, reduced_axes
from statqat_sim.quantizer.better_rows import keep_better, row_sums, take_better_neighbours
from statqat_sim.quantizer.channels import by_channel
from statqat_sim.quantizer.dequantized_rows import take_dequantized
from statqat_sim.quantizer.guard import LARGEST_SAFE, SMALLEST_SAFE
from statqat_sim.quantizer.levels import Levels, levels
from statqat_sim.quantizer.minmax import fitted_minmax, least_scales
from statqat_sim.quantizer.representable import FLOAT32_SCALES, nearest_float32
from statqat_sim.runtime import RowScanKernel, RowSumsKernel, backend_for, row_scan_kernel
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat

SHORT = 2048
"""Below this many elements, the error varies strongly between nearby scales of formats with many levels."""

FEW_LEVELS = 32
"""Up to this many levels, a histogram's best scale is on average within hundredths of a decibel of the best, even if
rows are short."""


def scanned_rows(
    x: Any, format: NumberFormat, channel_axis: int | None, alone: Callable[[NDArray[np.float32]], float]
) -> Scale | None:
    """The best scale of each channel, of long ones by their histograms; never worse than MinMax's.

    None if the kernel does not support such channels, or there is a single long one.

    Args:
        x: see `Quantizer.fit`.
        format: a number format.
        channel_axis: see `Quantizer.fit`.
        alone: returns the scale of a row whose magnitudes the kernel does not support.
    """
    array = cpu_data(x)
    axes = reduced_axes(array.ndim, channel_axis)
    kernel = _kernel(format) if array.dtype in (np.float16, np.float32) else None
    sums = row_sums()
    if kernel is None or sums is None:
        return None
    rows = by_channel(array.astype(np.float32, copy=False), channel_axis)
    if not _is_supported(rows, format, kernel):
        return None
    amax = kernel.amax(rows)
    is_safe = (amax > SMALLEST_SAFE) & (amax < LARGEST_SAFE)
    if not is_safe.any():
        return None
    minmax = _minmax(array, amax, format, axes)
    scales = minmax.reshape(-1).copy()
    safe = slice(None) if is_safe.all() else is_safe
    scales[safe] = _scanned(kernel, rows[safe], minmax.reshape(-1)[safe], amax[safe], format, sums)
    for index in np.flatnonzero(~is_safe & (amax > 0)):
        scales[index] = alone(rows[index])
    return Scale(scales.reshape(minmax.shape))


def _is_supported(rows: NDArray[np.float32], format: NumberFormat, kernel: RowScanKernel) -> bool:
    """Whether rows of this length are swept or scanned.

    Sweeps end at MinMax's scale; where a format has neither zero nor the sign of the data, the smallest scale is best.
    """
    if rows.shape[1] < SHORTEST:
        return format.min <= 0 <= format.max
    return len(rows) > 1 and rows.shape[1] <= kernel.longest_row


def _scanned(
    kernel: RowScanKernel,
    rows: NDArray[np.float32],
    minmax: NDArray[np.float32],
    amax: NDArray[np.float32],
    format: NumberFormat,
    sums: RowSumsKernel,
) -> NDArray[np.float32]:
    """The scales of rows whose magnitudes the kernel supports."""
    scales: NDArray[np.float32]
    if rows.shape[1] < SHORTEST:
        scales, proven = nearest_float32(kernel.sweep(rows, minmax)), np.zeros(len(rows), np.bool_)
    else:
        scales, proven = kernel(rows, minmax, amax)
        if rows.shape[1] < SHORT and format.finite_codes > FEW_LEVELS:
            take_better_neighbours(rows, scales, format, sums)
    keep_better(rows, minmax, scales, np.flatnonzero(~proven & (scales != minmax)), format, sums)
    take_dequantized(rows, minmax, scales, format, sums)
    return scales


def _minmax(x: Array, amax: NDArray[np.float32], format: NumberFormat, axes: tuple[int, ...]) -> NDArray[np.float32]:
    """MinMax's scales; for symmetric formats from the largest magnitudes `amax` alone."""
    if format.max != -format.min:
        return fitted_minmax(x, format, axes, FLOAT32_SCALES, zero_point=False).value
    wide = amax.astype(np.float64).reshape([1 if axis in axes else size for axis, size in enumerate(x.shape)])
    return least_scales(-wide, wide, format)


@lru_cache(maxsize=64)
def _kernel(format: NumberFormat) -> RowScanKernel | None:
    """The kernel that scans rows in a format; None if the format or the CPU's backend does not support it."""
    steps = levels(format)
    if not (steps.saturates and steps.is_measured and steps.is_nearest):
        return None
    cpu = backend_for(np.zeros(0, np.float32))
    return row_scan_kernel(cpu, row_scan_plan(steps)) if np.isfinite(steps.first) else None


def row_scan_plan(steps: Levels) -> RowScanPlan:
    """The plan of a format that rounds to nearest and saturates."""
    return RowScanPlan(
        zeros=tuple(side.zero for side in steps.sides),
        thresholds=tuple(side.thresholds.astype("<f8").tobytes() for side in steps.sides),
        gaps=tuple(side.gaps.astype("<f8").tobytes() for side in steps.sides),
        largest=steps.largest,
        reach=max(BEYOND_MINMAX, steps.largest / steps.first if steps.is_tapered else 0.0),
    )
