"""The kernels of `RowScanPlan`: one text for all formats."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numba import types

from statqat_sim.arrays import Array
from statqat_sim.backends.numba_cpu.row_loops import compiled
from statqat_sim.backends.numba_cpu.threads import run_in_pieces
from statqat_sim.plan.row_scan import FINER, LEAST_RATIO, PER_OCTAVE, ROUNDINGS, RowScanPlan

LONGEST_ROW = (1 << 16) - 1
"""Elements; a bin counts no more."""

_TEXT, _SWEEP_TEXT = (
    Path(__file__).with_name(f"{name}_loops.py").read_text("utf-8") for name in ("row_scan", "row_sweep")
)


class NumbaRowScan:
    """See `runtime.RowScanKernel`."""

    longest_row = LONGEST_ROW

    def __init__(self, plan: RowScanPlan) -> None:
        self.plan = plan
        thresholds, gaps = ([np.frombuffer(side) for side in sides] for sides in (plan.thresholds, plan.gaps))
        self._lengths = np.array([len(side) for side in gaps], np.int64)
        width = max(int(self._lengths.max()), 1)
        self._thresholds, self._gaps = np.full((len(gaps), width), np.inf), np.zeros((len(gaps), width))
        for index, length in enumerate(self._lengths):
            self._thresholds[index, :length], self._gaps[index, :length] = thresholds[index], gaps[index]
        self._largest = compiled("largest_of_rows", _TEXT, *_largest_types())

    def amax(self, rows: Array) -> Array:
        """See `runtime.RowScanKernel`."""
        words, found = np.ascontiguousarray(rows, np.float32).view(np.uint32), np.zeros(len(rows), np.uint32)
        run_in_pieces(len(rows), rows.shape[1], lambda a, b: self._largest(words[a:b], found[a:b]))
        return found.view(np.float32)

    def __call__(self, rows: Array, minmax: Array, amax: Array) -> tuple[Array, Array]:
        """See `runtime.RowScanKernel`."""
        plan, words = self.plan, np.ascontiguousarray(rows, np.float32).view(np.uint32)
        scales, proven = np.empty(len(rows), np.float32), np.zeros(len(rows), np.bool_)
        minmax, tops = minmax.astype(np.float64), np.ascontiguousarray(amax, np.float32).view(np.uint32)
        steps = np.array(plan.zeros), self._lengths, self._thresholds, self._gaps
        search = float(plan.largest), float(plan.reach), LEAST_RATIO, float(PER_OCTAVE), np.array(FINER, np.int64)

        def piece(a: int, b: int) -> None:
            self._run(words[a:b], minmax[a:b], tops[a:b], *steps, *search, ROUNDINGS, scales[a:b], proven[a:b])

        run_in_pieces(len(rows), rows.shape[1], piece)
        return scales, proven

    def sweep(self, rows: Array, minmax: Array) -> Array:
        """See `runtime.RowScanKernel`."""
        rows, minmax = np.ascontiguousarray(rows, np.float32), minmax.astype(np.float64)
        steps, scales = (self._lengths, self._thresholds, self._gaps, *self._values), np.empty(len(rows))
        reach = float(self.plan.reach)
        run_in_pieces(
            len(rows), rows.shape[1], lambda a, b: self._sweep(rows[a:b], minmax[a:b], *steps, reach, scales[a:b])
        )
        return scales

    @cached_property
    def _run(self) -> Any:
        return compiled("scan_rows", _TEXT, *_scan_types())

    @cached_property
    def _sweep(self) -> Any:
        return compiled("sweep_rows", _SWEEP_TEXT, *_sweep_types())

    @cached_property
    def _values(self) -> tuple[Array, Array]:
        """The values of each side, outward, and how much their squares grow at each threshold."""
        start = np.array(self.plan.zeros)[:, None]
        values = np.concatenate((start, start + np.cumsum(self._gaps, axis=1)), axis=1)
        return values, np.diff(np.square(values))


def _array(kind: Any, axes: int = 1) -> Any:
    return types.Array(kind, axes, "C")


def _largest_types() -> list[Any]:
    return [_array(types.uint32, 2), _array(types.uint32)]


def _scan_types() -> list[Any]:
    number, numbers, integers = types.float64, _array(types.float64), _array(types.int64)
    rows = [_array(types.uint32, 2), numbers, _array(types.uint32)]
    steps = [numbers, integers, _array(types.float64, 2), _array(types.float64, 2)]
    return [*rows, *steps, *[number] * 4, integers, number, _array(types.float32), _array(types.boolean)]


def _sweep_types() -> list[Any]:
    numbers, table = _array(types.float64), _array(types.float64, 2)
    return [_array(types.float32, 2), numbers, _array(types.int64), *[table] * 4, types.float64, numbers]
