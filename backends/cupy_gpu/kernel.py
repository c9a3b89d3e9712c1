"""A compiled plan on a device's arrays of any shape and strides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import as_scale, is_cpu_array
from statqat_sim.arrays.library import ArrayLibrary
from statqat_sim.backends.cupy_gpu.elementwise import Feed, elementwise
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS
from statqat_sim.backends.cupy_gpu.launcher import Argument, Launcher
from statqat_sim.backends.cupy_gpu.steps import never_nan
from statqat_sim.packing import array_shape, element_shape, row_bytes, rows_of
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan, Storage

MIN_ROW = 64
"""For rows shorter than this, scales are expanded to one per element."""


class CudaKernel:
    """See `runtime.Kernel`. Holds the plan's constants; the machine code is shared by all plans of the same shape."""

    def __init__(self, plan: CodecPlan, launcher: Launcher, library: ArrayLibrary) -> None:
        self.plan, self.launcher, self.library = plan, launcher, library
        self.input, self.result = plan.shape.streams[0], plan.shape.result
        self.random = any(stream.name == RANDOM for stream in plan.shape.streams)
        self.scaled = len(plan.shape.streams) - self.random > 1
        self.numbers = never_nan(plan)
        self.params = [np.uint32(param) for param in plan.params]

    def __call__(
        self, x: Any, *, out: Any = None, scale: Any = None, seed: int = 0, offset: int = 0, shape: Any = None
    ) -> Any:
        """See `runtime.Kernel`."""
        library = self.library
        source = library.as_native(x, self.input.storage, self.input.name)
        shape = element_shape(tuple(source.shape), self.input.storage, shape, self.input.name)
        stored = array_shape(shape, self.result)
        target = library.result(out, stored, self.result, source)
        plain = target if library.is_plain(target) else library.result(None, stored, self.result, source)
        random = [np.uint64(seed), np.uint64(offset)] if self.random else []
        self._fill(library.separate(source, plain), plain, shape, scale, random)
        if plain is not target:
            target[...] = plain
        return library.in_kind(target, x) if out is None else out

    def _fill(self, source: Any, target: Any, shape: tuple[int, ...], scale: Any, random: list[np.uint64]) -> None:
        """Convert `source` into `target`, both in C order."""
        flat = _Rows(*rows_of(shape, self.input.storage, self.result))
        scales = self._scales(scale, target, shape, flat) if self.scaled else None
        if not math.prod(shape):
            return
        rows = scales.rows if scales else flat
        feeds = (Feed.ARRAY, *([scales.feed] if scales else []), *[Feed.DRAWN] * self.random)
        kernel, pointer = elementwise(self.plan.shape, feeds, self.numbers), self.launcher.pointer
        arguments: list[Argument] = [pointer(source)]
        if scales:
            arguments.append(pointer(scales.words) if scales.number is None else scales.number)
        arguments += [pointer(target), np.uint64(rows.count), np.uint64(rows.length), *self.params]
        arguments += [self.launcher.constant(table, source) for table in self.plan.tables]
        run = self.launcher.load(kernel.text)
        run(kernel.blocks(rows.count, rows.length), THREADS, [*arguments, *random], source)

    def _scales(self, scale: Any, target: Any, shape: tuple[int, ...], flat: _Rows) -> _Scales:
        """How the kernel reads the scale: as a number, one per row, or one per element."""
        if isinstance(scale, int | float) or (is_cpu_array(scale) and scale.shape == ()):
            return _Scales(Feed.NUMBER, flat, number=np.uint32(as_scale(scale, shape).view(np.uint32)))
        array = self.library.as_scale(scale, shape, target)
        rows = _rows(tuple(array.shape), shape)
        if not math.prod(shape):
            return _Scales(Feed.ARRAY, flat, array)
        if flat.count > 1 or rows.length < MIN_ROW < flat.length:
            words = self.library.broadcast(array, shape)
            return _Scales(Feed.ARRAY, flat, self.library.separate(words, target))
        leading = self.library.broadcast(array, _leading(tuple(array.shape), shape))
        return _Scales(Feed.ROW, rows, self._apart(leading, target))

    def _apart(self, words: Any, target: Any) -> Any:
        """Scales of rows, copied if they overlap the memory of the result."""
        first, begin = int(self.launcher.pointer(words)), int(self.launcher.pointer(target))
        count, size = math.prod(words.shape), math.prod(target.shape)
        if first + 4 * count <= begin or begin + row_bytes(self.result, size) <= first:
            return words
        fresh = self.library.result(None, tuple(words.shape), Storage.FLOAT32, target)
        fresh[...] = words
        return fresh


@dataclass(frozen=True, slots=True)
class _Rows:
    """Elements in C order as rows; each row starts on a byte boundary and has one scale."""

    count: int
    length: int


@dataclass(frozen=True, slots=True)
class _Scales:
    """Scales: `words`, one per row or per element, or one `number` for all."""

    feed: Feed
    rows: _Rows
    words: Any = None
    number: np.uint32 | None = None


def _rows(scale: tuple[int, ...], shape: tuple[int, ...]) -> _Rows:
    """Split an array of this shape into the longest rows of which each has one scale."""
    size, length = math.prod(shape), math.prod(shape[len(_leading_axes(scale, shape)) :])
    return _Rows(size // max(length, 1), length)


def _leading(scale: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an array with one scale for each row."""
    leading = _leading_axes(scale, shape)
    return (*leading, *(1,) * (len(shape) - len(leading)))


def _leading_axes(scale: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes of `shape`, up to the last one along which scales differ."""
    aligned = (1,) * (len(shape) - len(scale)) + scale
    last = max((axis + 1 for axis, size in enumerate(aligned) if size > 1), default=0)
    return shape[:last]
