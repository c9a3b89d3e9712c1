"""Kinds of arrays, their dtypes by name, and the dtypes that kernels read."""

from __future__ import annotations

import sys
from enum import IntEnum
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays.loaded import is_loaded, loaded_torch
from statqat_sim.plan.program import Packed, Storage

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

HALVES = (Storage.FLOAT16, Storage.BFLOAT16)
FLOATS = tuple(storage.value for storage in (*HALVES, Storage.FLOAT32, Storage.FLOAT64))
INTEGERS = dict.fromkeys(("int8", "uint8", "int16", "uint16"), Storage.FLOAT32) | dict.fromkeys(
    ("int32", "uint32", "int64", "uint64"), Storage.FLOAT64
)
"""Each integer dtype and the float dtype it is converted to: exact up to 32 bits, rounded to odd for 64 bits."""

LONG_INTEGERS = ("int64", "uint64")
"""The integer dtypes whose numbers float64 cannot all hold."""


class DeviceType(IntEnum):
    """Kinds of memory, as DLPack numbers them."""

    CPU = 1
    CUDA = 2
    CUDA_HOST = 3
    """The CPU's, pinned for CUDA."""

    CUDA_MANAGED = 13


READ = ", ".join((*FLOATS, "integers"))
"""The dtypes that encoders read, for error messages."""


def is_tensor(array: object) -> bool:
    """Whether this is a torch tensor, on any device."""
    return is_loaded("torch", "Tensor") and isinstance(array, loaded_torch().Tensor)


def is_cpu_tensor(array: Any) -> bool:
    """Whether this is a torch tensor in the CPU's memory."""
    return is_tensor(array) and array.device.type == "cpu"


def is_cpu_array(array: object) -> bool:
    """Whether numpy can see this array's memory without a copy."""
    return isinstance(array, np.ndarray | np.generic) or is_cpu_tensor(array)


def device_type(array: object) -> int | None:
    """The type of the device that an array lies on, as DLPack numbers it; None if it does not say.

    An array of cupy is not asked: it would look up its address, which fails for an empty one and without a driver.
    """
    if is_loaded("cupy", "ndarray") and isinstance(array, sys.modules["cupy"].ndarray):
        return DeviceType.CUDA
    asked = getattr(array, "__dlpack_device__", None)
    if asked is None or isinstance(array, type):
        return None
    try:
        return int(asked()[0])
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None


def dtype_name(array: Any) -> str:
    """The name of an array's dtype regardless of byte order (`plain_name`); the type's name if it has no dtype."""
    dtype = getattr(array, "dtype", type(array).__name__)
    return _native_name(dtype) if isinstance(dtype, np.dtype) else plain_name(dtype)


@cache
def _native_name(dtype: np.dtype[Any]) -> str:
    return plain_name(dtype.newbyteorder("="))


def plain_name(dtype: object) -> str:
    """A dtype's name as numpy and ml_dtypes call it; torch has the same."""
    return str(dtype).removeprefix("torch.")


def float_storage(array: Any, what: str) -> Storage:
    """How encoders read an array: integers as floats that hold them.

    Raises:
        TypeError: for other dtypes.
    """
    name = dtype_name(array)
    if name in FLOATS:
        return Storage(name)
    if name in INTEGERS:
        return INTEGERS[name]
    raise TypeError(f"{what} is {name}; allowed: an array of {READ}")


def shape_of(array: Any, what: str) -> tuple[int, ...]:
    """An array's shape.

    Raises:
        TypeError: for what has none.
    """
    shape = getattr(array, "shape", None)
    if shape is None:
        raise TypeError(f"{what} is {dtype_name(array)}; allowed: an array of {READ}")
    return tuple(shape)


def storage_dtype(storage: Storage | Packed) -> str:
    """The dtype of the arrays that callers give and get."""
    return Storage.UINT8.value if isinstance(storage, Packed) else storage.value


def conversion_to(wanted: str, call: str, *, is_integer: bool) -> str:
    """A hint for error messages: how to convert an array to the wanted dtype; `call`: the code that converts it."""
    if not wanted.startswith("uint"):
        return f"; convert it: {call}"
    return f"; if its values fit, convert it: {call}" if is_integer else "; codes of values: Codec.encode"


@cache
def word_type(storage: Storage | Packed) -> str:
    """The dtype of the arrays that kernels work on; float16 and bfloat16 are read as uint16 bits."""
    return Storage.UINT16.value if storage in HALVES else storage_dtype(storage)
