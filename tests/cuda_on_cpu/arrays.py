"""Arrays as cupy has them, in numpy: what they do not do, too, and what a GPU loses in float32."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from cuda_on_cpu.devices import WORKING, Device

FETCHED: list[int] = []
"""Bytes of arrays that were copied to the CPU."""

LEAST_NORMAL = np.float32(2.0**-126)
ATTRIBUTES = ("shape", "strides", "dtype", "itemsize", "ndim", "size", "nbytes")


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on a device; `on` is its memory. What reads or writes elements has to run on that device."""

    def __init__(self, on: Any, device: int | None = None) -> None:
        self.on, self.device = np.asarray(on), Device(device)

    def __getattr__(self, name: str) -> Any:
        if name not in ATTRIBUTES:
            raise AttributeError(name)
        return getattr(self.on, name)

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Array:
        if "out" in options:
            options["out"] = tuple(map(here, options["out"]))
        with np.errstate(all="ignore"):
            return Array(flushed(getattr(ufunc, method)(*map(operand, inputs), **options)))

    def __dlpack_device__(self) -> tuple[int, int]:
        if not self.size:
            raise RuntimeError("cudaErrorInvalidValue: invalid argument")  # cupy looks up the address, which is null
        return 2, self.device.id

    def __dlpack__(
        self, *, stream: int | None = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Array:
        return self

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self.on.ctypes.data)

    @property
    def flags(self) -> SimpleNamespace:
        """Nothing is read-only here."""
        flags = self.on.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata)

    def view(self, dtype: Any = None) -> Array:
        return Array(self.on.view() if dtype is None else self.on.view(dtype), self.device.id)

    def reshape(self, *shape: Any, order: str = "C") -> Array:
        result = self.on.reshape(*shape, order=order)
        if self.size and not np.may_share_memory(result, self.on):
            here(self)  # it was copied
        return Array(result, self.device.id)

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True) -> Array:
        """NaN lose their signs in other types of floats."""
        if self.dtype == dtype:
            return self.copy() if copy else self
        with np.errstate(all="ignore"):
            result = np.asarray(flushed(flushed(here(self)).astype(dtype)))
        if result.dtype.kind == "f" and self.dtype.kind != "b":
            result[np.isnan(result)] = np.nan
        return Array(result)

    def transpose(self, *axes: Any) -> Array:
        return Array(self.on.transpose(*axes), self.device.id)

    def nonzero(self) -> tuple[Array, ...]:
        return tuple(Array(places) for places in here(self).nonzero())

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        assert out is None
        FETCHED.append(self.nbytes)
        return self.on.copy(order)

    def copy(self, order: str = "C") -> Array:
        return Array(here(self).copy(order))

    @property
    def T(self) -> Array:
        return self.transpose()

    def all(self) -> Array:
        return Array(here(self).all())

    def any(self) -> Array:
        return Array(here(self).any())

    def argmax(self) -> Array:
        return Array(here(self).argmax())

    def min(self) -> Array:
        return Array(here(self).min())

    def max(self) -> Array:
        return Array(here(self).max())

    def __bool__(self) -> bool:
        return bool(self.on)

    def __int__(self) -> int:
        return int(self.on)

    def __float__(self) -> float:
        return float(self.on)

    def __getitem__(self, place: Any) -> Array:
        places = place if isinstance(place, tuple) else (place,)
        if any(isinstance(each, Array) for each in places):
            return Array(here(self)[tuple(map(here, places))])
        found = self.on[place]
        view = found if isinstance(found, np.ndarray) else self.on[(*places, ...)]  # numpy copies numbers
        return Array(view, self.device.id)

    def __setitem__(self, place: Any, values: Any) -> None:
        target = here(self)
        if isinstance(values, Array):
            target[here(place)] = here(values)
            return
        if np.ndim(values):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        target[here(place)] = values if values != 0 else 0  # of either sign


class Foreign:
    """An array of another library on the same device, of which it has a notion of its own."""

    device = "gpu:0"

    def __init__(self, on: Any) -> None:
        self.array = Array(on)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int | None = None, max_version: Any = None, copy: bool | None = None) -> Array:
        return self.array

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=lambda result: Foreign(result.__dlpack__(stream=1).on))


def memory(array: Any) -> Any:
    """What an array of the device holds."""
    return array.on if isinstance(array, Array) else array


def here(array: Any) -> Any:
    """What an array of the current device holds."""
    if isinstance(array, Array) and array.device.id != WORKING[-1]:
        raise RuntimeError(f"the array is on {array.device}, and the current one is {Device()}")
    return memory(array)


def operand(given: Any) -> Any:
    """What kernels read: arrays of the device and numbers, no arrays of numpy's."""
    if not isinstance(given, Array | np.generic | int | float):
        raise TypeError(f"Unsupported type {type(given)}")
    return flushed(here(given))


def flushed(values: Any) -> Any:
    """Float32 as kernels compiled with `-ftz=true` see them: subnormals are zeros."""
    if getattr(values, "dtype", None) != np.float32:
        return values
    return np.where(np.abs(values) < LEAST_NORMAL, np.copysign(np.float32(0), values), values)


# --- functions of the module -------------------------------------------------------------------------------------


def asarray(a: Any, dtype: Any = None, order: str | None = None, *, copy: Any = None, blocking: bool = False) -> Array:
    """Numbers without axes are filled in, see `Array.__setitem__`."""
    if isinstance(a, Array):
        return a if dtype is None else a.astype(dtype, copy=False)
    result = np.array(a, dtype, order=order or "K")
    if result.shape == () and result == 0:
        result[...] = 0
    return Array(result)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Array:
    """With words that no kernel may take for results."""
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    return Array(np.full(size * np.dtype(dtype).itemsize, 0xA5, np.uint8).view(dtype).reshape(shape))


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> Array:
    return Array(np.zeros(shape, dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Array:
    return Array(np.full(shape, fill_value, dtype))


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> Any:
    return a.get() if isinstance(a, Array) else np.asarray(a)


def ascontiguousarray(a: Array, dtype: Any = None) -> Array:
    return Array(np.ascontiguousarray(here(a)))


def broadcast_to(array: Array, shape: Any) -> Array:
    return Array(np.broadcast_to(array.on, shape), array.device.id)


def where(condition: Array, x: Any = None, y: Any = None) -> Array:
    return Array(flushed(np.where(here(condition), operand(x), operand(y))))


def from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> Array:
    if array.__dlpack_device__()[0] not in (2, 13):
        raise TypeError("CPU arrays cannot be directly imported to CuPy.")
    result: Array = array.__dlpack__(stream=1, max_version=(1, 0), copy=copy)
    return result.view()
