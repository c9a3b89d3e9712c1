"""CPU arrays of any kind as numpy arrays, and results in the caller's kind. Imports no other array library."""

from __future__ import annotations

import math
import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.errors import shown
from statqat_sim.plan.program import Storage

Array: TypeAlias = NDArray[Any]
BEYOND_FLOAT32 = 2.0**128 - 2.0**103
"""The least number that rounds to Inf."""


def is_cpu_tensor(array: object) -> bool:
    """Whether this is a torch tensor in the CPU's memory."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor) and array.device.type == "cpu"


def is_cpu_array(array: object) -> bool:
    """Whether numpy can see this array's memory without a copy."""
    return isinstance(array, np.ndarray | np.generic) or is_cpu_tensor(array)


def as_numpy(array: Any, storage: Storage, what: str) -> Array:
    """A view of a CPU array.

    Raises:
        TypeError: unless it is a CPU array of the dtype that `storage` names.
    """
    convert = f"{what}.astype(np.{storage.value})"
    if is_cpu_tensor(array):
        convert = f"{what}.to(torch.{storage.value})"
        try:
            # not `.numpy()`, which marks the tensor's storage as not resizable for ever
            array = np.from_dlpack(array.detach())
        except (BufferError, RuntimeError, TypeError) as error:
            raise TypeError(f"{what} is {array.dtype}; allowed: {storage.value} ({error})") from None
    if not isinstance(array, np.ndarray | np.generic):
        raise TypeError(f"{what} is a {type(array).__name__}; allowed: a {storage.value} array")
    if array.dtype != storage.value:
        hint = f"; convert it: {convert}" if np.issubdtype(array.dtype, np.number) else ""
        raise TypeError(f"{what} is {array.dtype}; allowed: {storage.value}{hint}")
    return np.asarray(array)


def result_array(out: Any, shape: tuple[int, ...], storage: Storage) -> Array:
    """`out` as a numpy array to write to, or a new one.

    Raises:
        TypeError: if `out` has another dtype.
        ValueError: if it has another shape or is read-only.
    """
    if out is None:
        return np.empty(shape, storage.value)
    target = as_numpy(out, storage, "out")
    if target.shape != shape:
        raise ValueError(f"out has shape {target.shape}; allowed: {shape}, the input's")
    if not target.flags.writeable:
        raise ValueError("out is read-only")
    return target


def in_kind(result: Array, array: object) -> Any:
    """`result` as the kind of array that `array` is."""
    return sys.modules["torch"].from_dlpack(result) if is_cpu_tensor(array) else result


def separate(source: Array, target: Array) -> Array:
    """`source`, copied if writing `target` front to back would overwrite what is still to be read."""
    if not np.may_share_memory(source, target):
        return source
    same_start = source.__array_interface__["data"] == target.__array_interface__["data"]
    in_place = same_start and source.itemsize == target.itemsize and source.strides == target.strides
    return source if in_place else source.copy()


def as_scale(scale: Any, shape: tuple[int, ...]) -> Array:
    """A scale as a float32 array that broadcasts against `shape`; a plain number is rounded to float32.

    Raises:
        TypeError: if it is an array of another dtype.
        ValueError: if it does not broadcast, or is a number beyond float32's range.
    """
    if isinstance(scale, int | float) and not isinstance(scale, np.generic):
        if abs(scale) != math.inf and abs(scale) >= BEYOND_FLOAT32:
            raise ValueError(f"scale is {shown(scale)}; allowed: what float32 holds, up to {np.finfo(np.float32).max}")
        return np.asarray(scale, np.float32)
    if hasattr(scale, "__array__") and not is_cpu_array(scale):
        scale = np.asarray(scale)
    array = as_numpy(scale, Storage.FLOAT32, "scale")
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"scale has shape {array.shape}; allowed: shapes that broadcast to {shape}")
    return array


def real_array(array: Any, what: str) -> Array:
    """A numpy view of an array, a CPU tensor, or a sequence of real numbers; bfloat16 tensors are widened to float32.

    Raises:
        TypeError: if it is something else, or has another dtype.
    """
    detach = getattr(array, "detach", None)  # numpy reads tensors only outside their graph
    array = detach() if callable(detach) else array
    if str(getattr(array, "dtype", "")) == "torch.bfloat16":
        array = array.float()
    view = np.asarray(array)
    if view.dtype.kind in "mM" or not np.can_cast(view.dtype, np.float64, "same_kind"):
        raise TypeError(f"{what} is {view.dtype}; allowed: an array of real numbers")
    return view
