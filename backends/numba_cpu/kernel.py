"""A compiled plan on CPU arrays of any shape and strides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from statqat_sim.arrays import HALVES, Array, as_numpy, as_scale, in_kind, result_array, separate, word_type
from statqat_sim.backends.numba_cpu.cache import compiled, has_random
from statqat_sim.backends.numba_cpu.entries import entry
from statqat_sim.backends.numba_cpu.threads import MIN_ELEMENTS, run_in_pieces
from statqat_sim.backends.numba_cpu.vector import ALIGNMENT, Feed, Variant
from statqat_sim.packing import array_shape, begins_with_byte, element_shape, row_bytes, rows_of, span
from statqat_sim.plan.program import CodecPlan, Packed, Storage

MIN_ROW = 256
"""For rows shorter than this, scales are expanded to one per element."""

STREAMING_BYTES = 16 << 20
"""Outputs from this size on bypass the caches. Half a common last-level cache: reported cache sizes are unreliable."""

NO_SCALE = np.zeros(1, np.float32)


class NumbaKernel:
    """See `runtime.Kernel`. Holds the plan's constants; the machine code is shared by all plans of the same shape."""

    def __init__(self, plan: CodecPlan) -> None:
        self.plan = plan
        self.input, self.result = plan.shape.streams[0], plan.shape.result
        self.random = has_random(plan.shape)
        self.scaled = len(plan.shape.streams) - self.random > 1
        storages = self.input.storage, self.result
        self._dtypes = tuple(np.dtype(word_type(storage)) for storage in storages)
        self._may_be_plain = not (self.scaled or self.random or any(map(_is_seen_otherwise, storages)))
        self._params = np.array(plan.params, np.uint32)
        self._tables = [np.frombuffer(table, np.uint32) for table in plan.tables]
        self._table_places = np.array([table.ctypes.data for table in self._tables], np.uint64)
        self.numbers = self._params.ctypes.data, self._table_places.ctypes.data
        self.enter, self.loop = entry(self.input.storage, self.result), self.compiled()

    def __reduce__(self) -> tuple[type[NumbaKernel], tuple[CodecPlan]]:
        """Pickle the plan alone: the addresses of the parameters hold only in this object."""
        return NumbaKernel, (self.plan,)

    def __call__(
        self, x: Any, *, out: Any = None, scale: Any = None, seed: int = 0, offset: int = 0, shape: Any = None
    ) -> Any:
        """See `runtime.Kernel`."""
        if self._is_plain(x, out):
            self.enter(x, NO_SCALE, out, 1, x.size, 0, 0, *self.numbers, 0, 0, self.loop)
            return out
        source = as_numpy(x, self.input.storage, self.input.name)
        shape = element_shape(source.shape, self.input.storage, shape, self.input.name)
        target = result_array(out, array_shape(shape, self.result), self.result)
        work = _Work(self, shape, seed, offset)
        if target.flags.carray:
            work.fill(separate(source, target), target, scale)
        else:
            fresh = np.empty(target.shape, target.dtype)
            work.fill(source, fresh, scale)
            target[...] = fresh
        return in_kind(target, x) if out is None else out

    def _is_plain(self, x: Any, out: Any) -> bool:
        """Whether the fast path applies: small, flat numpy arrays of the right dtypes, no scale."""
        return (
            type(x) is type(out) is np.ndarray
            and self._may_be_plain
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

    def compiled(self, scale: Feed = Feed.SINGLE, *, streaming: bool = False) -> int:
        """The address of the loop for scales fed this way; `streaming` stores bypass the caches."""
        feeds = (Feed.ARRAY, *[scale] * self.scaled, *[Feed.ARRAY] * self.random)
        return compiled(self.plan.shape, Variant(feeds, streaming))


def _is_seen_otherwise(storage: Storage | Packed) -> bool:
    return isinstance(storage, Packed) or storage in HALVES


class _Work:
    """One call of a kernel, on elements of the given shape."""

    def __init__(self, kernel: NumbaKernel, shape: tuple[int, ...], seed: int, offset: int) -> None:
        self.kernel, self.shape, self.seed, self.offset = kernel, shape, seed, offset

    def fill(self, source: Array, target: Array, scale: Any) -> None:
        """Convert `source`, in C order, into the contiguous `target`."""
        x, out = np.require(source, requirements=("C", "A")).reshape(-1), target.reshape(-1)
        kernel, size = self.kernel, math.prod(self.shape)
        scales, length = NO_SCALE, size
        if kernel.scaled:
            scales, length = self._scales(scale, target)
        if not size:
            return
        if length == 1 and len(scales) > 1:
            loop = kernel.compiled(Feed.ARRAY)
            run_in_pieces(size, 1, lambda a, b: self._run(loop, x, scales[a:b], out, a, b))
            return
        rows, row_length = rows_of(self.shape, kernel.input.storage, kernel.result)
        if len(scales) > 1 or rows > 1:
            length = min(length, row_length) if rows > 1 else length
            self._by_rows(x, scales, out, size // length, length)
        else:
            self._flat(x, scales, out, size)

    def _scales(self, scale: Any, target: Array) -> tuple[Array, int]:
        array = as_scale(scale, self.shape)
        if np.may_share_memory(array, target):
            array = array.copy()
        return _rows(array, self.shape) if math.prod(self.shape) else (NO_SCALE, 0)

    def _flat(self, x: Array, scale: Array, out: Array, size: int) -> None:
        """One scale for all elements; large outputs are written with streaming stores."""
        kernel, width = self.kernel, self.kernel.result.bits
        lead = -out.ctypes.data % ALIGNMENT * 8 // width  # elements before the first aligned one
        fits = ALIGNMENT * 8 % width == 0 and begins_with_byte(kernel.input.storage, lead)
        streams = out.nbytes >= STREAMING_BYTES and fits and not np.may_share_memory(x, out)
        stream = kernel.compiled(streaming=True) if streams else kernel.loop

        def piece(start: int, stop: int) -> None:
            aligned = min(stop, start + lead) if streams else start
            if aligned > start:
                self._run(kernel.loop, x, scale, out, start, aligned)
            self._run(stream, x, scale, out, aligned, stop)

        run_in_pieces(size, 1, piece)

    def _by_rows(self, x: Array, scales: Array, out: Array, rows: int, length: int) -> None:
        """Rows that are each padded to whole bytes, or that each have a scale."""
        kernel = self.kernel
        x_row, out_row = (row_bytes(storage, length) for storage in (kernel.input.storage, kernel.result))
        x_items, out_items = x_row // x.itemsize, out_row // out.itemsize
        x_rows, out_rows = x.reshape(rows, x_items), out.reshape(rows, out_items)

        def piece(a: int, b: int) -> None:
            arrays = x_rows[a:b].reshape(-1), scales[a:b] if len(scales) > 1 else scales, out_rows[a:b].reshape(-1)
            random = self.seed, self.offset + a * length
            kernel.enter(*arrays, b - a, length, x_row, out_row, *kernel.numbers, *random, kernel.loop)

        run_in_pieces(rows, length, piece)

    def _run(self, loop: int, x: Array, scale: Array, out: Array, start: int, stop: int) -> None:
        """Run on the elements from `start` to `stop` as one row; `start` must lie on a byte boundary."""
        kernel = self.kernel
        x, out = span(x, kernel.input.storage, start, stop), span(out, kernel.result, start, stop)
        kernel.enter(x, scale, out, 1, stop - start, 0, 0, *kernel.numbers, self.seed, self.offset + start, loop)


def _rows(scale: Array, shape: tuple[int, ...]) -> tuple[Array, int]:
    """Flat, aligned scales, and the number of consecutive elements of an array of this shape that share one."""
    if scale.size == 1:
        return np.require(scale, requirements="A").reshape(1), math.prod(shape)
    aligned = scale.reshape((1,) * (len(shape) - scale.ndim) + scale.shape)
    axis = max(index for index, size in enumerate(aligned.shape) if size > 1)
    length = math.prod(shape[axis + 1 :])
    if length < MIN_ROW:
        return np.require(np.broadcast_to(aligned, shape), requirements=("C", "A")).reshape(-1), 1
    leading = np.broadcast_to(aligned, (*shape[: axis + 1], *aligned.shape[axis + 1 :]))
    return np.require(leading, requirements=("C", "A")).reshape(-1), length
