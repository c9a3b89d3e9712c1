"""Arrays of cupy, and of other libraries on a CUDA device, which are imported through DLPack."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar, cast

import cupy
import numpy as np

from statqat_sim.arrays import (
    FLOATS,
    INTEGERS,
    LONG_INTEGERS,
    as_scale,
    dtype_name,
    float_storage,
    is_cpu_array,
    real_array,
    word_type,
)
from statqat_sim.arrays.kinds import conversion_to, storage_dtype
from statqat_sim.arrays.shapes import broadcasts, may_overlap_itself
from statqat_sim.backends.cupy_gpu.conversions import converted
from statqat_sim.backends.cupy_gpu.launcher import Launcher
from statqat_sim.errors import of_type
from statqat_sim.plan.program import Packed, Storage
from statqat_sim.plan.step import WORD

Method = TypeVar("Method", bound=Callable[..., Any])


def _on_its_device(method: Method) -> Method:
    """Run a method with the first argument's device current: cupy works on the current device, not the array's."""

    @wraps(method)
    def there(self: CupyLibrary, array: Any, *arguments: Any) -> Any:
        with device_of(array):
            return method(self, array, *arguments)

    return cast("Method", there)


def device_of(array: Any) -> AbstractContextManager[Any]:
    """A context that makes an array's CUDA device current; it does nothing for arrays elsewhere."""
    if isinstance(array, cupy.ndarray):
        return cast("AbstractContextManager[Any]", array.device)
    asked = getattr(array, "__dlpack_device__", None)
    if asked is None or is_cpu_array(array):
        return nullcontext()
    return cast("AbstractContextManager[Any]", cupy.cuda.Device(asked()[1]))


class CupyLibrary:
    """See `ArrayLibrary`. The launcher runs the conversions that cupy's own kernels get wrong, see `conversions`."""

    looks = False

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    @_on_its_device
    def as_native(self, array: Any, storage: Storage | Packed, what: str) -> Any:
        """See `ArrayLibrary`."""
        view = _view(array, storage, what)
        name = dtype_name(view)
        if name == storage_dtype(storage):
            return _in_order(view.view(word_type(storage)))
        if name in INTEGERS and INTEGERS[name] is storage:
            return _floats(_in_order(view), name)
        raise TypeError(f"{what} is {name}; allowed: {storage_dtype(storage)}{_conversion(view, storage, what)}")

    @_on_its_device
    def as_float32(self, array: Any, what: str) -> Any:
        """See `ArrayLibrary`."""
        storage = float_storage(_view(array, Storage.FLOAT32, what), what)
        native = self.as_native(array, storage, what)
        if storage is Storage.BFLOAT16:
            return (native.astype(np.uint32) << 16).view(np.float32)
        return native if storage is Storage.FLOAT32 else self._converted(native, storage, Storage.FLOAT32)

    def as_scale(self, scale: Any, shape: tuple[int, ...], like: Any) -> Any:
        """See `ArrayLibrary`. A number on the device is not checked against float32's range: that would synchronize."""
        if _is_number(scale):
            with like.device:
                return _uploaded(as_scale(scale, shape))
        is_number = getattr(scale, "shape", None) == ()
        native = self.as_float32(scale, "scale") if is_number else self.as_native(scale, Storage.FLOAT32, "scale")
        view = _on_device(native, like, "scale")
        if not broadcasts(view.shape, shape):
            raise ValueError(f"scale has shape {view.shape}; allowed: shapes that broadcast to {shape}")
        return view

    def as_weights(self, weights: Any, like: Any) -> Any:
        """See `ArrayLibrary`."""
        if not hasattr(weights, "__dlpack__") or is_cpu_array(weights):
            with like.device:
                return cupy.asarray(real_array(weights, "weights"), np.float64, order="C")
        view = _on_device(_view(weights, Storage.FLOAT64, "weights"), like, "weights")
        name = dtype_name(view)
        if name not in (*FLOATS, *INTEGERS):
            raise TypeError(f"weights is {name}; allowed: an array of real numbers")
        if name in (Storage.FLOAT32, Storage.BFLOAT16):
            return self._converted(self.as_float32(view, "weights"), Storage.FLOAT32, Storage.FLOAT64)
        with like.device:
            return _in_order(view.astype(np.float64, copy=False))

    @_on_its_device
    def broadcast(self, array: Any, shape: tuple[int, ...]) -> Any:
        """See `ArrayLibrary`."""
        return _in_order(cupy.broadcast_to(array, shape))

    def result(self, out: Any, shape: tuple[int, ...], storage: Storage | Packed, like: Any) -> Any:
        """See `ArrayLibrary`."""
        if out is None:
            with like.device:
                return cupy.empty(shape, word_type(storage))
        view, wanted = _view(out, storage, "out"), storage_dtype(storage)
        if view is not out:  # another library's array may be read-only, which cupy does not report
            raise TypeError(f"out is {of_type(out)}; allowed: a cupy array")
        if dtype_name(view) != wanted:
            raise TypeError(f"out is {dtype_name(view)}; allowed: {wanted}")
        _on_device(view, like, "out")
        if view.shape != shape:
            raise ValueError(f"out has shape {view.shape}; allowed: {shape}")
        if not self.is_plain(view) and may_overlap_itself(view.shape, view.strides, view.itemsize):
            raise ValueError("elements of out may share memory; allowed: arrays whose strides keep them apart")
        return view.view(word_type(storage))

    def is_plain(self, target: Any) -> bool:
        """See `ArrayLibrary`."""
        return bool(target.flags.c_contiguous)

    def first(self, mask: Any) -> int | None:
        """See `ArrayLibrary`."""
        return int(mask.argmax()) if mask.any() else None

    @_on_its_device
    def separate(self, source: Any, target: Any) -> Any:
        """See `ArrayLibrary`."""
        (first, last), (start, stop) = _extent(source), _extent(target)
        if last <= start or stop <= first:
            return source
        places = [(array.data.ptr, array.itemsize, array.shape, array.strides) for array in (source, target)]
        return source if places[0] == places[1] else source.copy()

    def in_kind(self, result: Any, like: Any) -> Any:
        """See `ArrayLibrary`: an array of `like`'s library if it follows the array API standard, else a cupy array."""
        if isinstance(like, cupy.ndarray) or not hasattr(like, "__array_namespace__"):
            return result
        return like.__array_namespace__().from_dlpack(result)

    def on_device_of(self, array: Any) -> AbstractContextManager[Any]:
        """See `ArrayLibrary`."""
        return device_of(array)

    def _converted(self, native: Any, floats: Storage, to: Storage) -> Any:
        with native.device:
            target = cupy.empty(native.shape, to.value)
        return converted(native, floats, target, to, self._launcher)


def _view(array: Any, storage: Storage | Packed, what: str) -> Any:
    """A cupy array that shares the memory of `array`.

    Raises:
        TypeError: if the array is not on a CUDA device, or cannot be imported.
    """
    if isinstance(array, cupy.ndarray):
        return array
    if is_cpu_array(array) or not hasattr(array, "__dlpack__"):
        raise TypeError(f"{what} is {of_type(array)}; allowed: a {storage_dtype(storage)} array on a GPU")
    try:
        return cupy.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{what} is {of_type(array)}, which cupy cannot see: {error}") from None


def _conversion(view: Any, storage: Storage | Packed, what: str) -> str:
    """How to convert a numeric array to the wanted dtype, for error messages; empty for other arrays."""
    if view.dtype.kind not in "fiu":
        return ""
    wanted = storage_dtype(storage)
    return conversion_to(wanted, f'{what}.astype("{wanted}")', is_integer=view.dtype.kind != "f")


def _in_order(view: Any) -> Any:
    """A C-contiguous array; one without axes keeps its shape."""
    return cupy.ascontiguousarray(view).reshape(view.shape)


def _uploaded(numbers: Any) -> Any:
    """Upload float32 to the current device as words: cupy fills in a single number, which loses the sign of -0."""
    return cupy.asarray(numbers.view(np.uint32)).view(np.float32)


def _extent(array: Any) -> tuple[int, int]:
    """The addresses of an array's first byte and of the byte behind its last.

    `cupy.may_share_memory` compares allocations, but every array imported through DLPack counts as its own.
    """
    steps = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    first = array.data.ptr + sum(step for step in steps if step < 0)
    return first, first + sum(map(abs, steps)) + array.itemsize if array.size else first


def _on_device(view: Any, like: Any, what: str) -> Any:
    if view.device != like.device:
        raise TypeError(f"{what} is on {view.device}; allowed: {like.device}, where the input is")
    return view


def _is_number(scale: Any) -> bool:
    """Whether this is a Python number, a CPU array without axes, or an object that only `np.asarray` reads."""
    if isinstance(scale, int | float):
        return True
    if is_cpu_array(scale):
        return bool(scale.shape == ())
    return hasattr(scale, "__array__") and not hasattr(scale, "__dlpack__")


def _floats(integers: Any, name: str) -> Any:
    """Integers as floats; 64-bit ones that float64 cannot hold are rounded to odd, see `arrays.inputs`."""
    if name not in LONG_INTEGERS:
        return integers.astype(INTEGERS[name].value)
    words = integers.view(np.uint64)
    low = (words & np.uint64(WORD)).astype(np.float64)
    high = (integers >> integers.dtype.type(32)).astype(np.float64) * 2.0**32
    return _rounded_to_odd(high, low)


def _rounded_to_odd(high: Any, low: Any) -> Any:
    """The sum of two float64 rounded to odd; `high` is 0 or the larger of the two."""
    total = high + low
    rest = low - (total - high)  # exact, as high is the larger
    bits = total.view(np.int64)
    outward = (rest > 0) == (total > 0)
    step = cupy.where((rest == 0) | (bits & 1 == 1), 0, cupy.where(outward, 1, -1)).astype(np.int64)
    return (bits + step).view(np.float64)
