"""Callers' inputs as numpy arrays: views where possible, else copies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from statqat_sim.arrays.kinds import (
    INTEGERS,
    Array,
    conversion_to,
    dtype_name,
    float_storage,
    is_cpu_array,
    is_cpu_tensor,
    storage_dtype,
    word_type,
)
from statqat_sim.arrays.loaded import loaded_torch
from statqat_sim.arrays.watched import refuse_watched
from statqat_sim.errors import of_type, shown
from statqat_sim.plan.program import Packed, Storage

ROUNDS_TO_INF = 2.0**128 - 2.0**103
"""The smallest number that rounds to Inf in float32."""


def as_numpy(array: Any, storage: Storage | Packed, what: str) -> Array:
    """A CPU array, of the storage's `word_type`; integers where floats are read, and swapped bytes, are converted.

    Raises:
        TypeError: unless it is a CPU array of the dtype that `storage` names, or of such integers.
    """
    view, name = numpy_view(array, storage, what), dtype_name(array)
    if not view.dtype.isnative:
        view = view.astype(view.dtype.newbyteorder("="))
    if name == storage_dtype(storage):
        return view.view(word_type(storage))
    if name in INTEGERS and INTEGERS[name] is storage:
        return _floats(view, storage)
    raise TypeError(f"{what} is {name}; allowed: {storage_dtype(storage)}{_conversion(array, view, storage, what)}")


def _conversion(array: Any, view: Array, storage: Storage | Packed, what: str) -> str:
    """A hint for error messages: how to convert the array to the wanted dtype, or to view an ml_dtypes array's bits."""
    wanted = storage_dtype(storage)
    if not np.issubdtype(view.dtype, np.number):
        are_bytes = wanted == "uint8" and view.dtype.kind == "V" and view.dtype.itemsize == 1
        return f"; its bits: {what}.view(np.uint8)" if are_bytes else ""
    call = f"{what}.to(torch.{wanted})" if is_cpu_tensor(array) else f"{what}.astype(np.{wanted})"
    return conversion_to(wanted, call, is_integer=view.dtype.kind in "iu")


def numpy_view(array: Any, storage: Storage | Packed, what: str) -> Array:
    """A numpy view of a CPU array of any dtype; a bfloat16 tensor is viewed as its bits.

    Raises:
        TypeError: if it is not a CPU array, or numpy cannot see it.
    """
    if is_cpu_tensor(array):
        return _tensor_view(array, what)
    if not isinstance(array, np.ndarray | np.generic):
        where = f" on {array.device}" if hasattr(array, "device") else ""
        raise TypeError(f"{what} is {of_type(array)}{where}; allowed: a {storage_dtype(storage)} array")
    _refuse_mask(array, what)
    return np.asarray(array)


def _refuse_mask(array: Any, what: str) -> None:
    """Raises TypeError for masked arrays, whose mask would be lost."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{what} is a masked array; allowed: arrays without a mask, such as {what}.filled(0)")


def _tensor_view(tensor: Any, what: str) -> Array:
    """A numpy view of a tensor; a bfloat16 tensor is viewed as its bits."""
    refuse_watched(tensor)
    tensor = _resolved(tensor.detach(), what)
    if dtype_name(tensor) == Storage.BFLOAT16:
        tensor = tensor.view(loaded_torch().uint16)
    try:
        # not `.numpy()`, which marks the tensor's storage as not resizable for ever
        return np.from_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError) as error:
        bits = f"; its bits: {what}.view(torch.uint8)" if tensor.element_size() == 1 else f": {error}"
        raise TypeError(f"{what} is a tensor of {dtype_name(tensor)}, which numpy cannot see{bits}") from None


def _resolved(tensor: Any, what: str) -> Any:
    """A tensor whose memory holds its values: a lazily negated view is copied.

    Raises:
        TypeError: if it is a placeholder without memory, as while a model is traced.
    """
    torch = loaded_torch()
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) and hasattr(tensor, "fake_mode"):
        raise TypeError(f"{what} is {of_type(tensor)}, which has no memory; allowed: tensors with values")
    return tensor.resolve_neg()


def _floats(integers: Array, storage: Storage) -> Array:
    """Integers as floats; those that float64 cannot represent are rounded to odd.

    Rounding to odd keeps them on the same side of any boundary of up to 52 significant bits.
    """
    floats = integers.astype(storage.value)
    if integers.itemsize < 8:
        return floats
    magnitude = np.where(integers < 0, 0 - integers.astype(np.uint64), integers.astype(np.uint64))
    top = magnitude >> np.uint64(11)  # exact in float64
    excess = np.maximum(np.frexp(top.astype(np.float64))[1] - 42, 0).astype(np.uint64)
    kept = magnitude >> excess
    odd = kept | (kept << excess != magnitude)
    rounded: Array = np.copysign(np.ldexp(odd.astype(np.float64), excess.astype(np.int32)), floats)
    return rounded


def widened(bits: Array) -> Array:
    """The values of bfloat16 numbers as float32, from their bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_float32(array: Any, what: str) -> Array:
    """Numbers rounded once to float32, C-contiguous; contiguous float32 arrays are not copied.

    Raises:
        TypeError: unless it is a CPU array of numbers that encoders read.
    """
    storage = float_storage(array, what)
    view = as_numpy(array, storage, what)
    if storage is Storage.BFLOAT16:
        view = widened(view)
    elif storage is Storage.FLOAT16:
        view = view.view(np.float16)
    elif storage is Storage.FLOAT32 and view.flags.c_contiguous:
        return view
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(view, np.float32).reshape(view.shape)


def as_scale(scale: Any, shape: tuple[int, ...]) -> Array:
    """A scale as a float32 array that broadcasts against `shape`; one number, of any dtype, is rounded to float32.

    Raises:
        TypeError: if it is an array of another dtype.
        ValueError: if it does not broadcast, or is a number beyond float32's range.
    """
    if hasattr(scale, "__array__") and not is_cpu_array(scale):
        scale = np.asarray(scale)
    if isinstance(scale, int | float) or (is_cpu_array(scale) and scale.shape == ()):
        return _rounded(scale)
    array = as_numpy(scale, Storage.FLOAT32, "scale")
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"scale has shape {array.shape}; allowed: shapes that broadcast to {shape}")
    return array


def _rounded(scale: Any) -> Array:
    """A number as float32."""
    refuse_flag(scale, "scale")
    number = scale if isinstance(scale, int | float) else real_array(scale, "scale")
    magnitude = abs(number) if isinstance(number, int) else abs(float(number))  # an int may be beyond float64
    if ROUNDS_TO_INF <= magnitude < math.inf:
        raise ValueError(f"scale is {shown(scale)}; allowed: what float32 holds, up to {np.finfo(np.float32).max}")
    return np.asarray(number, np.float32)


def refuse_flag(value: Any, what: str) -> None:
    """Raises TypeError for True and False, of any library, which are 0 and 1 to numpy."""
    if dtype_name(value) == "bool":
        raise TypeError(f"{what} is bool; allowed: numbers")


def real_array(array: Any, what: str) -> Array:
    """A numpy view of an array, a CPU tensor, or a sequence of real numbers; bfloat16 tensors are widened to float32.

    Raises:
        TypeError: if it is something else, or has another dtype.
    """
    _refuse_mask(array, what)
    view = _tensor_view(array, what) if is_cpu_tensor(array) else np.asarray(array)
    if is_cpu_tensor(array) and dtype_name(array) == Storage.BFLOAT16:
        return widened(view)
    if view.dtype.kind in "mM" or not np.can_cast(view.dtype, np.float64, "same_kind"):
        raise TypeError(f"{what} is {view.dtype}; allowed: an array of real numbers")
    return view
