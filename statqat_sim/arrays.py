"""CPU arrays of any kind as numpy arrays, and results in the caller's kind. Imports no other array library."""

from __future__ import annotations

import math
import sys
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.errors import shown
from statqat_sim.plan.program import Packed, Storage

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


HALVES = (Storage.FLOAT16, Storage.BFLOAT16)


def dtype_name(array: Any) -> str:
    """The name of an array's dtype, as numpy and ml_dtypes call it; of what has none, its type's name."""
    return _name(getattr(array, "dtype", type(array).__name__))


@cache
def _name(dtype: object) -> str:
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
    allowed = ", ".join((*FLOATS, "integers"))
    raise TypeError(f"{what} is {name}; allowed: an array of {allowed}")


FLOATS = tuple(storage.value for storage in (*HALVES, Storage.FLOAT32, Storage.FLOAT64))
INTEGERS = dict.fromkeys(("int8", "uint8", "int16", "uint16"), Storage.FLOAT32) | dict.fromkeys(
    ("int32", "uint32", "int64", "uint64"), Storage.FLOAT64
)


@cache
def word_type(storage: Storage | Packed) -> str:
    """The dtype of arrays that kernels work on; what numpy alone does not have is seen as its bits."""
    if isinstance(storage, Packed):
        return Storage.UINT8.value
    return Storage.UINT16.value if storage in HALVES else storage.value


def as_numpy(array: Any, storage: Storage | Packed, what: str) -> Array:
    """A view of a CPU array, of the storage's `word_type`; integers where floats are read are converted.

    Raises:
        TypeError: unless it is a CPU array of the dtype that `storage` names.
    """
    wanted = storage.value if isinstance(storage, Storage) else Storage.UINT8.value
    name, view = dtype_name(array), _numpy_view(array, wanted, what)
    if name == wanted:
        return view.view(word_type(storage))
    if name in INTEGERS and INTEGERS[name] is storage:
        return _floats(view, storage)
    library = "torch" if is_cpu_tensor(array) else "np"
    convert = f"{what}.to(torch.{wanted})" if library == "torch" else f"{what}.astype(np.{wanted})"
    hint = f"; convert it: {convert}" if np.issubdtype(view.dtype, np.number) else ""
    raise TypeError(f"{what} is {name}; allowed: {wanted}{hint}")


def _numpy_view(array: Any, wanted: str, what: str) -> Array:
    """A numpy view of a CPU array of any dtype; of a bfloat16 tensor, of its bits."""
    if is_cpu_tensor(array):
        tensor = _resolved(array.detach(), what)
        if str(array.dtype) == "torch.bfloat16":
            tensor = tensor.view(sys.modules["torch"].uint16)
        try:
            # not `.numpy()`, which marks the tensor's storage as not resizable for ever
            return np.from_dlpack(tensor)
        except (BufferError, RuntimeError, TypeError) as error:
            raise TypeError(f"{what} is a tensor that numpy cannot see: {error}") from None
    if not isinstance(array, np.ndarray | np.generic):
        raise TypeError(f"{what} is a {type(array).__name__}; allowed: a {wanted} array")
    return np.asarray(array)


def _resolved(tensor: Any, what: str) -> Any:
    """A tensor whose memory says what it holds: a negated view of complex numbers is copied.

    Raises:
        TypeError: if it only stands for one, as while a model is traced, or if a negated view shall be written to.
    """
    torch = sys.modules["torch"]
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) and hasattr(tensor, "fake_mode"):
        raise TypeError(f"{what} is a {type(tensor).__name__}, which has no memory; allowed: tensors with values")
    if not tensor.is_neg():
        return tensor
    if what == "out":
        raise TypeError("out is a negated view of another tensor; allowed: a tensor of its own")
    return tensor.resolve_neg()


def _floats(integers: Array, storage: Storage) -> Array:
    """Integers as floats; what float64 does not hold is rounded to odd.

    So it stays on its side of any boundary of up to 52 significant bits.
    """
    floats = integers.astype(storage.value)
    if integers.itemsize < 8:
        return floats
    magnitude = np.where(integers < 0, 0 - integers.astype(np.uint64), integers.astype(np.uint64))
    top = magnitude >> np.uint64(11)  # which float64 holds
    excess = np.maximum(np.frexp(top.astype(np.float64))[1] - 42, 0).astype(np.uint64)
    kept = magnitude >> excess
    odd = kept | (kept << excess != magnitude)
    rounded: Array = np.copysign(np.ldexp(odd.astype(np.float64), excess.astype(np.int32)), floats)
    return rounded


def result_array(out: Any, shape: tuple[int, ...], storage: Storage | Packed) -> Array:
    """`out` as a numpy array to write to, or a new one.

    Raises:
        TypeError: if `out` has another dtype.
        ValueError: if it has another shape or is read-only.
    """
    if out is None:
        return np.empty(shape, word_type(storage))
    target = as_numpy(out, storage, "out")
    if target.shape != shape:
        raise ValueError(f"out has shape {target.shape}; allowed: {shape}")
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
    array = _resolved(array, what) if is_cpu_tensor(array) else array
    if str(getattr(array, "dtype", "")) == "torch.bfloat16":
        array = array.float()
    view = np.asarray(array)
    if view.dtype.kind in "mM" or not np.can_cast(view.dtype, np.float64, "same_kind"):
        raise TypeError(f"{what} is {view.dtype}; allowed: an array of real numbers")
    return view
