"""A compiled plan on CPU arrays of any shape and strides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from statqat_sim.arrays import Array, as_numpy, as_scale, in_kind, result_array, separate
from statqat_sim.backends.numba_cpu.cache import compiled
from statqat_sim.backends.numba_cpu.threads import MIN_ELEMENTS, run_in_pieces
from statqat_sim.backends.numba_cpu.vector import ALIGNMENT, Variant
from statqat_sim.plan.program import CodecPlan

MIN_ROW = 256
"""Rows shorter than this get their scale element by element."""

STREAMING_BYTES = 16 << 20
"""Half of a common last-level cache; what systems tell of their own, above all virtual ones, is often wrong."""

NO_SCALE = np.zeros(1, np.float32)


class NumbaKernel:
    """See `runtime.Kernel`. Holds the plan's numbers; the machine code is shared by all plans of its shape."""

    def __init__(self, plan: CodecPlan) -> None:
        self.plan = plan
        self.input, self.result = plan.shape.streams[0], plan.shape.result
        self.scaled = len(plan.shape.streams) > 1
        self._dtypes = np.dtype(self.input.storage.value), np.dtype(self.result.value)
        self._params = np.array(plan.params, np.uint32)
        self._tables = [np.frombuffer(table, np.uint32) for table in plan.tables]
        self._table_places = np.array([table.ctypes.data for table in self._tables], np.uint64)
        self._numbers = self._params.ctypes.data, self._table_places.ctypes.data
        self._run = compiled(plan.shape)

    def __reduce__(self) -> tuple[type[NumbaKernel], tuple[CodecPlan]]:
        """A copy, be it in another process, has numbers at addresses of its own."""
        return NumbaKernel, (self.plan,)

    def __call__(self, x: Any, *, out: Any = None, scale: Any = None) -> Any:
        """See `runtime.Kernel`."""
        if self._is_plain(x, out):
            self._run(x, NO_SCALE, out, 1, x.size, *self._numbers)
            return out
        source = as_numpy(x, self.input.storage, self.input.name)
        target = result_array(out, source.shape, self.result)
        if target.flags.carray:
            self._fill(separate(source, target), target, scale)
        else:
            target[...] = self._fill(source, np.empty(target.shape, target.dtype), scale)
        return in_kind(target, x) if out is None else out

    def _is_plain(self, x: Any, out: Any) -> bool:
        """Whether nothing has to be looked at twice: small, flat numpy arrays of the right types, no scale."""
        return (
            type(x) is type(out) is np.ndarray
            and not self.scaled
            and x.dtype is self._dtypes[0]
            and out.dtype is self._dtypes[1]
            and x.ndim == out.ndim == 1
            and x.size == out.size < MIN_ELEMENTS
            and x.base is None is out.base  # each owns its memory: no overlap
            and x is not out
            and x.flags.c_contiguous
            and x.flags.aligned
            and out.flags.carray
        )

    def _fill(self, source: Array, target: Array, scale: Any) -> Array:
        x, out = np.require(source, requirements=("C", "A")).reshape(-1), target.reshape(-1)  # C order, aligned
        if not self.scaled:
            self._flat(x, NO_SCALE, out)
            return target
        scale = as_scale(scale, source.shape)
        if not source.size:
            return target
        if np.may_share_memory(scale, target):
            scale = scale.copy()
        scales, length = _rows(scale, source.shape)
        if scales.size == 1:
            self._flat(x, scales, out)
        elif length == 1:
            run = compiled(self.plan.shape, Variant(scale_per_element=True))
            run_in_pieces(x.size, 1, lambda a, b: run(x[a:b], scales[a:b], out[a:b], 1, b - a, *self._numbers))
        else:
            x_rows, out_rows = x.reshape(-1, length), out.reshape(-1, length)

            def piece(a: int, b: int) -> None:
                rows = x_rows[a:b].reshape(-1), scales[a:b], out_rows[a:b].reshape(-1)
                self._run(*rows, b - a, length, *self._numbers)

            run_in_pieces(len(scales), length, piece)
        return target

    def _flat(self, x: Array, scale: Array, out: Array) -> None:
        """One scale for all; outputs that no cache holds are streamed past it."""
        streams = out.nbytes >= STREAMING_BYTES and not np.may_share_memory(x, out)
        stream = compiled(self.plan.shape, Variant(streaming=True)) if streams else self._run

        def piece(start: int, stop: int) -> None:
            aligned = start
            if streams:
                aligned = min(stop, start + -out[start:].ctypes.data % ALIGNMENT // out.itemsize)
                self._run(x[start:aligned], scale, out[start:aligned], 1, aligned - start, *self._numbers)
            stream(x[aligned:stop], scale, out[aligned:stop], 1, stop - aligned, *self._numbers)

        run_in_pieces(x.size, 1, piece)


def _rows(scale: Array, shape: tuple[int, ...]) -> tuple[Array, int]:
    """Flat, aligned scales, and how many consecutive elements of an array of this shape each of them serves."""
    scale = np.require(scale, requirements="A")
    if scale.size == 1:
        return scale.reshape(1), math.prod(shape)
    aligned = scale.reshape((1,) * (len(shape) - scale.ndim) + scale.shape)
    axis = max(index for index, size in enumerate(aligned.shape) if size > 1)
    length = math.prod(shape[axis + 1 :])
    if length < MIN_ROW:
        return np.broadcast_to(aligned, shape).reshape(-1), 1
    leading = np.broadcast_to(aligned, (*shape[: axis + 1], *aligned.shape[axis + 1 :]))
    return np.ascontiguousarray(leading).reshape(-1), length
