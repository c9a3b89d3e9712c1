"""torch tensors on any device. Does not import torch: a caller with a tensor has loaded it."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import numpy as np

from statqat_sim.arrays.inputs import as_scale as numpy_scale
from statqat_sim.arrays.inputs import real_array, refuse_flag
from statqat_sim.arrays.kinds import (
    FLOATS,
    INTEGERS,
    LONG_INTEGERS,
    READ,
    conversion_to,
    is_tensor,
    plain_name,
    storage_dtype,
)
from statqat_sim.arrays.loaded import loaded_torch
from statqat_sim.arrays.shapes import broadcasts, may_overlap_itself
from statqat_sim.errors import of_type
from statqat_sim.plan.layout import QUIET_NAN, SIGN
from statqat_sim.plan.program import Packed, Storage
from statqat_sim.plan.step import WORD

NEGATIVE_NAN: Final = QUIET_NAN - SIGN
"""Bits of the negative quiet NaN, as a signed 32-bit integer."""


class TensorLibrary:
    """See `library.ArrayLibrary`. torch's compiler traces every method but `first`."""

    looks = False

    def as_native(self, array: Any, storage: Storage | Packed, what: str) -> Any:
        """See `library.ArrayLibrary`."""
        tensor, name = _tensor(array, storage, what), plain_name(array.dtype)
        if name == storage_dtype(storage):
            return tensor.contiguous()
        if name in INTEGERS and INTEGERS[name] is storage:
            return _floats(tensor.contiguous(), name)
        raise TypeError(f"{what} is {name}; allowed: {storage_dtype(storage)}{_conversion(array, storage, what)}")

    def as_float32(self, array: Any, what: str) -> Any:
        """See `library.ArrayLibrary`."""
        storage = _float_storage(array, what)
        return _rounded(self.as_native(array, storage, what))

    def as_scale(self, scale: Any, shape: tuple[int, ...], like: Any) -> Any:
        """See `library.ArrayLibrary`. A 0-d tensor beyond float32's range is not diagnosed."""
        torch = loaded_torch()
        if not isinstance(scale, torch.Tensor):
            return _given(scale, shape, like)
        if scale.ndim == 0:
            refuse_flag(scale, "scale")
            return _real(scale, like, "scale").to(torch.float32)
        tensor = self.as_native(scale, Storage.FLOAT32, "scale")
        _refuse_device(scale, like, "scale")
        if not broadcasts(tuple(scale.shape), shape):
            raise ValueError(f"scale has shape {tuple(scale.shape)}; allowed: shapes that broadcast to {shape}")
        return tensor

    def as_weights(self, weights: Any, like: Any) -> Any:
        """See `library.ArrayLibrary`."""
        torch = loaded_torch()
        if isinstance(weights, torch.Tensor):
            return _real(weights, like, "weights").to(torch.float64).contiguous()
        values = np.array(real_array(weights, "weights"), np.float64)
        return torch.from_numpy(values).to(like.device)

    def broadcast(self, array: Any, shape: tuple[int, ...]) -> Any:
        """See `library.ArrayLibrary`."""
        return array.broadcast_to(shape).contiguous()

    def result(self, out: Any, shape: tuple[int, ...], storage: Storage | Packed, like: Any) -> Any:
        """See `library.ArrayLibrary`."""
        torch = loaded_torch()
        if out is None:
            return torch.empty(shape, dtype=getattr(torch, storage_dtype(storage)), device=like.device)
        tensor, name, wanted = _tensor(out, storage, "out"), plain_name(out.dtype), storage_dtype(storage)
        if not torch.compiler.is_compiling() and out.is_neg():
            raise TypeError("out is a negated view of another tensor; allowed: a tensor of its own")
        if name != wanted:
            raise TypeError(f"out is {name}; allowed: {wanted}")
        _refuse_device(out, like, "out")
        if tuple(out.shape) != shape:
            raise ValueError(f"out has shape {tuple(out.shape)}; allowed: {shape}")
        if not self.is_plain(out) and may_overlap_itself(out.shape, out.stride(), 1):
            raise ValueError("elements of out may share memory; allowed: tensors whose strides keep them apart")
        count_write(out)
        return tensor

    def is_plain(self, target: Any) -> bool:
        """See `library.ArrayLibrary`."""
        return bool(target.is_contiguous())

    def first(self, mask: Any) -> int | None:
        """See `library.ArrayLibrary`."""
        places = mask.reshape(-1).nonzero()
        return int(places[0]) if len(places) else None

    def separate(self, source: Any, target: Any) -> Any:
        """See `library.ArrayLibrary`. Never copies while traced: the compiler does where needed."""
        if loaded_torch().compiler.is_compiling():
            return source
        (first, last), (start, stop) = _extent(source), _extent(target)
        if source.device != target.device or last <= start or stop <= first:
            return source
        places = [(at, one.element_size(), one.shape, one.stride()) for at, one in ((first, source), (start, target))]
        return source if places[0] == places[1] else source.clone()

    def in_kind(self, result: Any, like: Any) -> Any:
        """See `library.ArrayLibrary`: the result is a tensor already."""
        return result

    def on_device_of(self, array: Any) -> AbstractContextManager[Any]:
        """See `library.ArrayLibrary`: torch computes where its tensors lie."""
        return nullcontext()


TENSORS: Final = TensorLibrary()


def count_write(out: Any) -> None:
    """Tell autograd that a tensor is about to be written to at its address: `backward` refuses what was saved before.

    Raises:
        ValueError: if gradients are recorded for it, as torch's own operations do: codecs pass none on.
    """
    torch = loaded_torch()
    if out.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "out requires gradients, which codecs do not pass on; allowed: in torch.no_grad(), or detached"
        )
    if not torch.compiler.is_compiling():  # the compiler counts what it writes itself
        torch.autograd.graph.increment_version(out)


def viewed(array: Any, dtype: str) -> Any:
    """A view of any library's array as another dtype of the same size."""
    return array.view(getattr(loaded_torch(), dtype) if is_tensor(array) else dtype)


def converted(array: Any, dtype: str) -> Any:
    """Any library's array converted to another dtype; for conversions on which the libraries agree."""
    return array.to(getattr(loaded_torch(), dtype)) if is_tensor(array) else array.astype(dtype)


def _rounded(tensor: Any) -> Any:
    """Floats as float32; NaN keep their signs, which GPUs would drop."""
    torch = loaded_torch()
    if tensor.dtype is torch.float32 or tensor.device.type == "cpu":
        return tensor.to(torch.float32)
    nan = torch.where(torch.signbit(tensor), NEGATIVE_NAN, QUIET_NAN).to(torch.int32).view(torch.float32)
    return torch.where(torch.isnan(tensor), nan, tensor.to(torch.float32))


def _tensor(array: Any, storage: Storage | Packed, what: str) -> Any:
    """The tensor without its gradient.

    Raises:
        TypeError: if it is not a tensor, or not a strided one.
    """
    if not is_tensor(array):
        raise TypeError(f"{what} is {of_type(array)}; allowed: a {storage_dtype(storage)} array")
    # the compiler, which takes no others, may not ask while it traces a backward pass
    if not loaded_torch().compiler.is_compiling() and array.layout is not loaded_torch().strided:
        raise TypeError(f"{what} is a {str(array.layout).removeprefix('torch.')} tensor; allowed: strided ones")
    return array.detach().resolve_neg()


def _float_storage(array: Any, what: str) -> Storage:
    """See `kinds.float_storage`, which torch's compiler cannot trace, as it is cached."""
    name = plain_name(getattr(array, "dtype", type(array).__name__))
    if name in FLOATS:
        return Storage(name)
    if name in INTEGERS:
        return INTEGERS[name]
    raise TypeError(f"{what} is {name}; allowed: an array of {READ}")


def _conversion(array: Any, storage: Storage | Packed, what: str) -> str:
    """A hint for error messages: how to convert the tensor to the wanted dtype."""
    if array.dtype is loaded_torch().bool:
        return ""
    wanted, is_integer = storage_dtype(storage), not (array.is_floating_point() or array.is_complex())
    return conversion_to(wanted, f"{what}.to(torch.{wanted})", is_integer=is_integer)


def _given(scale: Any, shape: tuple[int, ...], like: Any) -> Any:
    """A number, or the values of a `Scale`, as float32 on the device of `like`."""
    torch = loaded_torch()
    if getattr(scale, "shape", ()) != ():
        raise TypeError(f"scale is {of_type(scale)}; allowed: a number or a float32 tensor")
    values = numpy_scale(scale, shape)
    if values.shape == ():
        return torch.full((), float(values), dtype=torch.float32, device=like.device)
    return torch.from_numpy(values.copy()).to(like.device)


def _real(tensor: Any, like: Any, what: str) -> Any:
    """Real numbers on the device of `like`.

    Raises:
        TypeError: if they are complex, or on another device; a single one may also lie in the CPU's memory.
    """
    if tensor.is_complex():
        raise TypeError(f"{what} is {plain_name(tensor.dtype)}; allowed: an array of real numbers")
    if tensor.ndim == 0 and tensor.device.type == "cpu":
        return tensor.detach().to(like.device)
    _refuse_device(tensor, like, what)
    return tensor.detach()


def _refuse_device(tensor: Any, like: Any, what: str) -> None:
    if tensor.device != like.device:
        raise TypeError(f"{what} is on {tensor.device}; allowed: {like.device}, where the input is")


def _extent(tensor: Any) -> tuple[int, int]:
    """Addresses of a tensor's first byte and one past its last."""
    if not tensor.numel():
        return tensor.data_ptr(), tensor.data_ptr()
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (steps + 1) * tensor.element_size()


# --- integers as floats ------------------------------------------------------------------------------------------


def _floats(integers: Any, name: str) -> Any:
    """Integers as floats; 64-bit ones that float64 cannot hold are rounded to odd, see `inputs`."""
    torch = loaded_torch()
    if INTEGERS[name] is Storage.FLOAT32:
        return (integers.view(torch.int16).to(torch.int32) & 0xFFFF if name == "uint16" else integers).to(torch.float32)
    if name not in LONG_INTEGERS:
        return (integers.view(torch.int32).to(torch.int64) & WORD if name == "uint32" else integers).to(torch.float64)
    words = integers.view(torch.int64)
    high = words >> 32 & WORD if name == "uint64" else words >> 32
    return _rounded_to_odd(high.to(torch.float64) * math.ldexp(1, 32), (words & WORD).to(torch.float64))


def _rounded_to_odd(high: Any, low: Any) -> Any:
    """The sum of two float64 rounded to odd; `high` is 0 or the larger of the two."""
    torch = loaded_torch()
    total = high + low
    rest = low - (total - high)  # exact, as high is the larger
    bits = total.view(torch.int64)
    outward = (rest > 0) == (total > 0)
    step = torch.where((rest == 0) | (bits & 1 == 1), 0, torch.where(outward, 1, -1))
    return (bits + step).view(torch.float64)
