"""Where a product is computed, and operations on arrays of any library there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from statqat_sim.arrays import CPU, ArrayLibrary
from statqat_sim.arrays.tensors import viewed
from statqat_sim.errors import of_type
from statqat_sim.plan.builder import Builder
from statqat_sim.plan.program import Storage
from statqat_sim.plan.step import Op
from statqat_sim.runtime import Backend, Kernel, backend_for, library_of


@dataclass(frozen=True, slots=True)
class Place:
    """A backend and the operations on its arrays. `kind`: A's type, for error messages."""

    backend: Backend
    library: ArrayLibrary
    kind: str

    @classmethod
    def of(cls, array: Any, what: str) -> Place:
        """The place of an array.

        Raises:
            TypeError: if no backend owns it.
            UnsupportedError: if the backend that owns it cannot run here.
        """
        try:
            backend = backend_for(array)
        except TypeError:
            allowed = "arrays that a backend owns, such as numpy's, tensors, or a QuantizedTensor"
            raise TypeError(f"{what} is {of_type(array)}; allowed: {allowed}") from None
        return cls(backend, library_of(backend, array), _kind(array))

    def require(self, array: Any, what: str) -> None:
        """Raises TypeError for an array that the backend does not own, or that belongs to another library."""
        if not self.backend.owns(array):
            told = f"{what} is {of_type(array)}"
            where = f" on {array.device}" if hasattr(array, "device") else ""
            raise TypeError(f"{told}{where}; allowed: what backend {self.backend.name!r} owns, as it does a")
        if library_of(self.backend, array) is not self.library:
            told = f"{what} is of type {_kind(array)}, and a of type {self.kind}"
            raise TypeError(f"{told}; allowed: arrays of one library")

    # --- new arrays ----------------------------------------------------------------------------------------------

    def filled(self, shape: tuple[int, ...], dtype: str, like: Any, value: float = 0) -> Any:
        """A new array of float32, float64 or int32, on the device of `like`."""
        storage = Storage.UINT32 if dtype == "int32" else Storage(dtype)
        array = viewed(self.library.result(None, shape, storage, like), dtype)
        array[...] = value
        return array

    def in_order(self, array: Any) -> Any:
        """The array in C order, copied if necessary."""
        return array if self.library.is_plain(array) else self.library.broadcast(array, tuple(array.shape))

    def padded(self, array: Any, count: int, axis: int, dtype: str, value: float = 0) -> Any:
        """A matrix with `count` more rows (axis 0) or columns (axis 1), filled with `value`."""
        if not count:
            return array
        rows, columns = array.shape
        target = self.filled((rows, columns + count) if axis else (rows + count, columns), dtype, array, value)
        target[:rows, :columns] = array
        return target

    def repeated(self, array: Any, times: int, axis: int) -> Any:
        """A float32 array with each row (axis -2) or column (axis -1) repeated, like numpy.repeat."""
        if times == 1:
            return array
        shape = list(array.shape)
        shape[axis] *= times
        target = self.filled(tuple(shape), "float32", array)
        for first in range(times):
            target[along(slice(first, None, times), axis)] = array
        return target

    def picked(self, array: Any, places: Sequence[range], axis: int, dtype: str) -> Any:
        """Some rows (axis 0) or columns (axis 1) of a matrix: the ranges `places`, of equal length, interleaved."""
        shape = list(array.shape)
        shape[axis] = sum(map(len, places))
        target = self.filled(tuple(shape), dtype, array)
        for turn, each in enumerate(places):
            found = array[along(slice(each.start, each.stop, each.step), axis - 2)]
            target[along(slice(turn, None, len(places)), axis - 2)] = found
        return target

    # --- arithmetic ----------------------------------------------------------------------------------------------

    def plus(self, x: Any, y: Any, dtype: str) -> Any:
        """The sums x + y; integers wrap."""
        if dtype == Storage.FLOAT32 and self.library is not CPU:
            return _arithmetic(self.backend, Op.FADD)(x, scale=y)
        with np.errstate(all="ignore"):
            return x + y

    def times(self, x: Any, factor: Any) -> Any:
        """float32 values times one factor, which is an array too; returns a new array."""
        if self.library is not CPU:
            return _arithmetic(self.backend, Op.FMUL)(x, scale=factor)
        with np.errstate(all="ignore"):
            return x * factor

    def as_float64(self, x: Any) -> Any:
        """float32 values as float64."""
        return self.library.as_weights(x, x)


def along(places: slice, axis: int) -> tuple[Any, ...]:
    """The index that applies a slice to the last axis (-1) or the one before (-2)."""
    return (..., places) if axis == -1 else (..., places, slice(None))


def _kind(array: Any) -> str:
    """An array's type, qualified with its top-level package."""
    package = type(array).__module__.partition(".")[0]
    return f"{package}.{type(array).__name__}"


@lru_cache(maxsize=64)
def _arithmetic(backend: Backend, op: Op) -> Kernel:
    """A backend's kernel of one float32 operation; the libraries' own operations may flush subnormals."""
    builder = Builder()
    x, y = (builder.input(name, Storage.FLOAT32) for name in ("x", "scale"))
    return backend.compile(builder.finish(x.fadd(y) if op is Op.FADD else x.fmul(y), Storage.FLOAT32))
