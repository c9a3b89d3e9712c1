"""A compiled reduction on CPU arrays. Threads reduce rows or pieces; integer results join the same in any order."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from statqat_sim.arrays import Array, as_numpy
from statqat_sim.backends.numba_cpu.reduction_cache import compiled_reduction, words_of
from statqat_sim.backends.numba_cpu.threads import run_in_pieces
from statqat_sim.plan.reduction import Reducer, ReductionPlan


class NumbaReduction:
    """See `runtime.ReductionKernel`."""

    def __init__(self, plan: ReductionPlan) -> None:
        self.plan = plan
        self._run = compiled_reduction(plan)
        self._params = np.array(plan.element.params, np.uint32)
        self._tables = [np.frombuffer(table, np.uint32) for table in plan.element.tables]
        self._table_places = np.array([table.ctypes.data for table in self._tables], np.uint64)

    def __reduce__(self) -> tuple[type[NumbaReduction], tuple[ReductionPlan]]:
        """Pickle the plan alone: the addresses of the parameters hold only in this object."""
        return NumbaReduction, (self.plan,)

    def __call__(self, x: Any, *, rows: int = 1) -> tuple[Array, ...]:
        """See `runtime.ReductionKernel`."""
        source = np.require(as_numpy(x, self.plan.storage, "x"), requirements=("C", "A"))
        by_row = source.reshape(rows, source.size // max(rows, 1)).view(words_of(self.plan))
        results, sums = self._empty(rows), self._empty(rows)
        if rows == 1:
            self._in_pieces(by_row[0], results[0], sums[0])
        else:

            def piece(start: int, stop: int) -> None:
                for row in range(start, stop):
                    self._reduce(by_row[row], results[row], sums[row])

            run_in_pieces(rows, by_row.shape[1], piece)
        if self.plan.reducer is Reducer.MAXIMUM:
            return (results.astype(np.uint64 if self.plan.in_pairs else np.uint32),)
        for nonfinite in self.plan.nonfinite:
            sums[:, nonfinite] = 0
        return results, sums

    def _empty(self, rows: int) -> Array:
        """Zeroed results, int64 of shape (rows, plan.width)."""
        return np.zeros((rows, self.plan.width), np.int64)

    def _in_pieces(self, x: Array, results: Array, sums: Array) -> None:
        """Reduce one row in pieces; each piece has results of its own, joined under a lock."""
        lock = Lock()

        def piece(start: int, stop: int) -> None:
            part, part_sums = self._empty(1)[0], self._empty(1)[0]
            self._reduce(x[start:stop], part, part_sums)
            with lock:
                if self.plan.reducer is Reducer.MAXIMUM:
                    np.maximum(results, part, out=results)
                else:
                    np.add(results, part, out=results)
                    np.add(sums, part_sums, out=sums)

        run_in_pieces(x.size, 1, piece)

    def _reduce(self, x: Array, results: Array, sums: Array) -> None:
        self._run(x, results, sums, self._params.ctypes.data, self._table_places.ctypes.data)
