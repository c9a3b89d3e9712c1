"""Sums over the rows of an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import types

from statqat_sim.arrays import Array
from statqat_sim.backends.numba_cpu.row_loops import compiled
from statqat_sim.backends.numba_cpu.threads import run_in_pieces

_TEXT = Path(__file__).with_name("row_sums_loops.py").read_text("utf-8")


class NumbaRowSums:
    """See `runtime.RowSumsKernel`."""

    def __init__(self) -> None:
        rows, numbers = types.Array(types.float32, 2, "C", readonly=True), types.Array(types.float64, 1, "C")
        self._moments = compiled("moments_of_rows", _TEXT, rows, numbers, numbers, numbers)
        self._errors = compiled("errors_of_rows", _TEXT, rows, rows, numbers)

    def moments(self, rows: Array) -> tuple[Array, Array, Array]:
        """See `runtime.RowSumsKernel`."""
        rows, (count, total, power) = _in_order(rows), np.zeros((3, len(rows)))
        run_in_pieces(
            len(rows), rows.shape[1], lambda a, b: self._moments(rows[a:b], count[a:b], total[a:b], power[a:b])
        )
        return count, total, power

    def squared_errors(self, rows: Array, values: Array) -> Array:
        """See `runtime.RowSumsKernel`."""
        rows, values, errors = _in_order(rows), _in_order(values), np.zeros(len(rows))
        run_in_pieces(len(rows), rows.shape[1], lambda a, b: self._errors(rows[a:b], values[a:b], errors[a:b]))
        return errors


def _in_order(rows: Array) -> Array:
    """As the loops read them: they take what may not be written, too."""
    rows = np.require(rows, np.float32, ("C", "A")).view()
    rows.flags.writeable = False
    return rows
