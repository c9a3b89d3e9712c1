"""Where results go: an array of the caller's, or a new one of the caller's kind."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from statqat_sim.arrays.inputs import numpy_view
from statqat_sim.arrays.kinds import Array, dtype_name, is_cpu_tensor, storage_dtype, word_type
from statqat_sim.plan.program import Packed, Storage


def result_array(out: Any, shape: tuple[int, ...], storage: Storage | Packed) -> Array:
    """`out` as a numpy array to write to, or a new one.

    Raises:
        TypeError: if `out` has another dtype.
        ValueError: if it has another shape or is read-only.
    """
    if out is None:
        return np.empty(shape, word_type(storage))
    target = _memory(out, storage)
    if target.shape != shape:
        raise ValueError(f"out has shape {target.shape}; allowed: {shape}")
    if not target.flags.writeable:
        raise ValueError("out is read-only")
    return target


def _memory(out: Any, storage: Storage | Packed) -> Array:
    """The memory of `out`: what is written there is seen by the caller, as it would not be in a converted copy."""
    if is_cpu_tensor(out) and out.is_neg():
        raise TypeError("out is a negated view of another tensor; allowed: a tensor of its own")
    view, name, wanted = numpy_view(out, storage, "out"), dtype_name(out), storage_dtype(storage)
    if name != wanted:
        raise TypeError(f"out is {name}; allowed: {wanted}")
    if not view.dtype.isnative:
        raise TypeError(f"out is {view.dtype}; allowed: {wanted} in the machine's byte order")
    return view.view(word_type(storage))


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
