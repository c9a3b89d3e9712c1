"""The channels of an array as rows, counted on the array's device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, SupportsIndex

import numpy as np

from statqat_sim.arrays import CPU, ArrayLibrary, Floats, float_storage, is_cpu_array, real_array
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.loaded import loaded_torch
from statqat_sim.histogram.bins import Occupied, by_sorting, none_occupied, occupied
from statqat_sim.histogram.devices import lies_elsewhere, on_cpu, with_first
from statqat_sim.histogram.extremes import extremes
from statqat_sim.plan.program import Storage
from statqat_sim.plan.reduction import ReductionPlan, extremes_plan, histogram_plan
from statqat_sim.runtime import Backend, ReductionKernel, backend_for, backend_named, library_of, reduction_kernel

DENSE_ROWS: Final = 16
"""Rows counted together on a CPU, so that their tables of all bins fit its caches."""

DEVICE_BINS: Final = 1 << 22
"""Bins counted together on a device, where launches cost more: 64 MiB of counts and sums."""

SORTED_BINS: Final = 4
"""Rows with fewer than one element per this many bins are sorted: most bins of their tables would be empty."""

SORTED_ELEMENTS: Final = 1 << 20
"""Elements sorted together."""


class Compiled(NamedTuple):
    """A backend's kernels for arrays of one kind."""

    backend: Backend
    library: ArrayLibrary
    """The operations on such arrays."""

    plan: ReductionPlan
    histogram: ReductionKernel
    extremes: ReductionKernel | None
    """None on the CPU, where numpy finds them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An array, ready to be counted.

    Args:
        array: the channels as rows, shape (channels, length); or an array of any shape as a single row.
        channels: the number of channels.
        length: elements per channel.
        kernels: the kernels that count them.
    """

    array: Any
    channels: int
    length: int
    kernels: Compiled

    def tables(self) -> tuple[Any, Any]:
        """Counts and sums of all bins: int64, shape (channels, bins), on the array's device."""
        counts, sums = self.kernels.histogram(self.array, rows=self.channels)
        return counts, sums

    def extremes(self) -> tuple[Any, Any]:
        """Minimum and maximum of zero and the finite elements of each row: float64, on the array's device."""
        if self.kernels.extremes is None:
            return extremes(self.array.reshape(self.channels, self.length), (1,))
        values = _as_float64(self.kernels.extremes(self.array, rows=self.channels)[0])
        with self.kernels.library.on_device_of(self.array):
            return 0.0 - values[:, 0], values[:, 1]

    def occupied(self) -> Occupied:
        """The nonempty bins, on the CPU; keys: row · 2^(9 + mantissa_bits) + bin, ascending."""
        with self.kernels.library.on_device_of(self.array):
            parts = [occupied(*self.tables())] if self.channels == 1 else list(self._parts())
        if not parts:
            return none_occupied()
        keys, counts, sums = (np.concatenate(each) for each in zip(*parts, strict=True))
        return keys, counts, sums

    def _parts(self) -> Iterator[Occupied]:
        plan, is_here = self.kernels.plan, self.kernels.library is CPU
        if is_here and self.length * SORTED_BINS < plan.bins:
            words = self.kernels.backend.compile(plan.element)
            for first, part in self._each(max(SORTED_ELEMENTS // max(self.length, 1), 1)):
                yield by_sorting(words(part), plan, first)
        else:
            for first, part in self._each(DENSE_ROWS if is_here else max(DEVICE_BINS // plan.bins, 1)):
                counts, sums = self.kernels.histogram(part, rows=part.shape[0])
                yield occupied(counts, sums, first)

    def _each(self, count: int) -> Iterator[tuple[int, Any]]:
        """`count` rows at a time, each time with the index of the first."""
        for first in range(0, self.channels, count):
            yield first, self.array[first : first + count]


class Kernels:
    """The kernels that count arrays of any library, compiled at first use. torch.compile traces `rows` of tensors.

    Args:
        mantissa_bits: leading mantissa bits that select a bin.
        backend: a backend's name, or "auto".

    Raises:
        LookupError: if no backend has this name.
        UnsupportedError: if the backend cannot run here.
    """

    def __init__(self, mantissa_bits: int, backend: str = "auto") -> None:
        self._mantissa_bits = mantissa_bits
        self._backend = None if backend == "auto" else backend_named(backend)
        self._compiled = SimpleNamespace()  # torch.compile supports attributes added while tracing

    def rows(self, x: Any, channel_axis: int | None) -> Rows:
        """The channels of x as rows; x: an array of real numbers on any device, or a sequence.

        Raises:
            TypeError: if x is not real numbers, or no backend can count it on its device.
            UnsupportedError: if the backend that owns x cannot run here.
            ValueError: if there is no such axis, or the number of mantissa bits is out of range.
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
        """The attribute that holds the backend's kernels; compiles them first if needed."""
        name = f"{backend.name} {storage} {type(library).__name__}"
        if not hasattr(self._compiled, name):
            plan = histogram_plan(storage, self._mantissa_bits)
            ends = None if library is CPU else reduction_kernel(backend, extremes_plan(storage))
            setattr(self._compiled, name, Compiled(backend, library, plan, reduction_kernel(backend, plan), ends))
        return name

    _prepared._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch.compile runs it while tracing


def extremes_elsewhere(x: Any, channel_axis: int | None) -> tuple[Floats, Floats]:
    """The minimum and maximum of zero and all finite values of each channel of an array on a device."""
    low, high = Kernels(0).rows(x, channel_axis).extremes()
    return on_cpu(low), on_cpu(high)


def checked_channel_axis(channel_axis: Any, rank: int, what: str = "channel_axis") -> int:
    """The channel axis as a nonnegative index.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if there is no such axis.
    """
    if type(channel_axis) is not int:  # torch.compile traces this function
        if isinstance(channel_axis, bool) or not isinstance(channel_axis, SupportsIndex):
            raise TypeError(f"{what} is {channel_axis!r}; allowed: one axis, as an integer")
        channel_axis = index(channel_axis)
    if not -rank <= channel_axis < rank:
        allowed = f"{-rank} to {rank - 1}" if rank else "None"
        raise ValueError(f"{what} is {channel_axis}, of an array with {rank} axes; allowed: {allowed}")
    return int(channel_axis % rank)


def _as_float64(words: Any) -> Any:
    """64-bit words reinterpreted as float64."""
    return words.view(loaded_torch().float64) if is_tensor(words) else words.view(np.float64)
