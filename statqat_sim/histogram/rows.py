"""The channels of an array as rows, counted where the array lies."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, SupportsIndex

import numpy as np

from statqat_sim.arrays import CPU, ArrayLibrary, float_storage, is_cpu_array, real_array
from statqat_sim.arrays.tensors import is_tensor
from statqat_sim.histogram.bins import Occupied, by_sorting, occupied
from statqat_sim.histogram.devices import lies_elsewhere, on_cpu, with_first
from statqat_sim.histogram.extremes import Floats, extremes
from statqat_sim.plan.program import Storage
from statqat_sim.plan.reduction import ReductionPlan, extremes_plan, histogram_plan
from statqat_sim.runtime import Backend, ReductionKernel, backend_for, backend_named, library_of, reduction_kernel

DENSE_ROWS: Final = 16
"""Rows that are counted together, in tables with all bins, which lie in a CPU's caches."""

DEVICE_BINS: Final = 1 << 22
"""The same of a device, whose launches take longer: bins, 64 MiB."""

SORTED_BINS: Final = 4
"""Rows with fewer than a bin for so many bins are sorted: their tables would be empty for the most part."""

SORTED_ELEMENTS: Final = 1 << 20


class Compiled(NamedTuple):
    """A backend's kernels for arrays of one kind."""

    backend: Backend
    library: ArrayLibrary
    """What knows such arrays."""

    plan: ReductionPlan
    histogram: ReductionKernel
    extremes: ReductionKernel | None
    """None where numpy finds them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An array, ready to be counted.

    Args:
        array: the channels as rows, or of one channel the array as it is.
        channels: how many there are.
        length: elements of each.
        kernels: what counts them.
    """

    array: Any
    channels: int
    length: int
    kernels: Compiled

    def tables(self) -> tuple[Any, Any]:
        """Counts and sums, with all bins: int64, where the array lies."""
        counts, sums = self.kernels.histogram(self.array, rows=self.channels)
        return counts, sums

    def extremes(self) -> tuple[Any, Any]:
        """The least and the greatest of zero and all finite elements of each row: float64, where the array lies."""
        if self.kernels.extremes is None:
            return extremes(self.array.reshape(self.channels, self.length), (1,))
        values = _as_float64(self.kernels.extremes(self.array, rows=self.channels)[0])
        with self.kernels.library.on_device_of(self.array):
            return 0.0 - values[:, 0], values[:, 1]

    def occupied(self) -> Occupied:
        """What is not empty, on the CPU; keys: row · 2^(9 + mantissa_bits) + bin, ascending."""
        with self.kernels.library.on_device_of(self.array):
            parts = [occupied(*self.tables())] if self.channels == 1 else list(self._parts())
        if not parts:
            return (np.zeros(0, np.int64),) * 3
        keys, counts, sums = (np.concatenate(each) for each in zip(*parts, strict=True))
        return keys, counts, sums

    def _parts(self) -> Iterator[Occupied]:
        plan, is_here = self.kernels.plan, self.kernels.library is CPU
        if is_here and self.length * SORTED_BINS < plan.bins:
            words = self.kernels.backend.compile(plan.element)
            for first, part in self._each(max(SORTED_ELEMENTS // max(self.length, 1), 1)):
                yield by_sorting(first, words(part), plan)
        else:
            for first, part in self._each(DENSE_ROWS if is_here else max(DEVICE_BINS // plan.bins, 1)):
                counts, sums = self.kernels.histogram(part, rows=part.shape[0])
                yield occupied(counts, sums, first)

    def _each(self, count: int) -> Iterator[tuple[int, Any]]:
        """So many rows at a time, and the first one's number."""
        for first in range(0, self.channels, count):
            yield first, self.array[first : first + count]


class Kernels:
    """What counts arrays of any kind. torch's compiler traces `rows` of tensors.

    Args:
        mantissa_bits: of bins.
        backend: a backend's name, or "auto".

    Raises:
        LookupError: if no backend has this name.
        UnsupportedError: if the backend cannot run here.
    """

    def __init__(self, mantissa_bits: int, backend: str = "auto") -> None:
        self._mantissa_bits = mantissa_bits
        self._backend = None if backend == "auto" else backend_named(backend)
        self._compiled = SimpleNamespace()  # torch's compiler sees attributes that are added while it traces

    def rows(self, x: Any, channel_axis: int | None) -> Rows:
        """Of an array of real numbers, on a device or not; of a sequence, on the CPU.

        Raises:
            TypeError: if x is not real numbers, or nothing here can count it where it lies.
            UnsupportedError: if the backend that owns x cannot run here.
            ValueError: if there is no such axis, or there cannot be so many mantissa bits.
        """
        seen = x if is_tensor(x) or lies_elsewhere(x) or is_cpu_array(x) else real_array(x, "x")
        backend = backend_for(seen) if self._backend is None else self._backend
        library = library_of(backend, seen)
        if library is CPU:
            seen = real_array(seen, "x")
            if seen.dtype not in (np.float16, np.float32, np.float64):
                seen = seen.astype(np.float64)
        kernels = getattr(self._compiled, self._prepared(backend, float_storage(seen, "x"), library))
        shape = tuple(seen.shape)
        if channel_axis is None:
            return Rows(seen, 1, math.prod(shape), kernels)
        axis = checked_channel_axis(channel_axis, len(shape))
        length = math.prod(shape) // max(shape[axis], 1)
        with library.on_device_of(seen):
            return Rows(with_first(seen, axis).reshape(shape[axis], length), shape[axis], length, kernels)

    def _prepared(self, backend: Backend, storage: Storage, library: ArrayLibrary) -> str:
        """The name of the backend's kernels among those that are compiled."""
        name = f"{backend.name} {storage} {type(library).__name__}"
        if not hasattr(self._compiled, name):
            plan = histogram_plan(storage, self._mantissa_bits)
            ends = None if library is CPU else reduction_kernel(backend, extremes_plan(storage))
            setattr(self._compiled, name, Compiled(backend, library, plan, reduction_kernel(backend, plan), ends))
        return name

    _prepared._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces


def extremes_elsewhere(x: Any, channel_axis: int | None) -> tuple[Floats, Floats]:
    """The least and the greatest of zero and all finite values, for each channel of an array on a device."""
    low, high = Kernels(0).rows(x, channel_axis).extremes()
    return on_cpu(low), on_cpu(high)


def checked_channel_axis(channel_axis: Any, rank: int, what: str = "channel_axis") -> int:
    """The axis of channels, counted from 0.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if there is no such axis.
    """
    if type(channel_axis) is not int:  # torch's compiler traces this
        if isinstance(channel_axis, bool) or not isinstance(channel_axis, SupportsIndex):
            raise TypeError(f"{what} is {channel_axis!r}; allowed: one axis, as an integer")
        channel_axis = index(channel_axis)
    if not -rank <= channel_axis < rank:
        allowed = f"{-rank} to {rank - 1}" if rank else "None"
        raise ValueError(f"{what} is {channel_axis}, of an array with {rank} axes; allowed: {allowed}")
    return int(channel_axis % rank)


def _as_float64(words: Any) -> Any:
    """The floats whose bits these are."""
    return words.view(sys.modules["torch"].float64) if is_tensor(words) else words.view(np.float64)
