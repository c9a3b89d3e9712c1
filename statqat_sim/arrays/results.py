"""Arrays for results: the caller's `out`, or a new array of the caller's library."""

from __future__ import annotations

from typing import Any

import numpy as np

from statqat_sim.arrays.inputs import numpy_view
from statqat_sim.arrays.kinds import Array, dtype_name, is_cpu_tensor, storage_dtype, word_type
from statqat_sim.arrays.loaded import loaded_torch
from statqat_sim.arrays.shapes import may_overlap_itself
from statqat_sim.arrays.tensors import count_write
from statqat_sim.plan.program import Packed, Storage


def result_array(out: Any, shape: tuple[int, ...], storage: Storage | Packed) -> Array:
    """`out` as a numpy array to write to, or a new one.

    Raises:
        TypeError: if `out` has another dtype.
        ValueError: if it has another shape, is read-only, its elements may share memory, or it requires gradients.
    """
    if out is None:
        return np.empty(shape, word_type(storage))
    target = _memory(out, storage)
    if target.shape != shape:
        raise ValueError(f"out has shape {target.shape}; allowed: {shape}")
    if not target.flags.writeable:
        raise ValueError("out is read-only; allowed: arrays that can be written to")
    if not target.flags.forc and may_overlap_itself(target.shape, target.strides, target.itemsize):
        raise ValueError("elements of out may share memory; allowed: arrays whose strides keep them apart")
    if is_cpu_tensor(out):
        count_write(out)
    return target


def _memory(out: Any, storage: Storage | Packed) -> Array:
    """The memory of `out` itself, never a converted copy, so that the caller sees what is written."""
    if is_cpu_tensor(out) and out.is_neg():
        raise TypeError("out is a negated view of another tensor; allowed: a tensor of its own")
    view, name, wanted = numpy_view(out, storage, "out"), dtype_name(out), storage_dtype(storage)
    if name != wanted:
        raise TypeError(f"out is {name}; allowed: {wanted}")
    if not view.dtype.isnative:
        raise TypeError(f"out is {view.dtype}; allowed: {wanted} in the machine's byte order")
    return view.view(word_type(storage))


def in_kind(result: Array, like: object) -> Any:
    """`result` as the kind of array that `like` is."""
    return loaded_torch().from_dlpack(result) if is_cpu_tensor(like) else result


def separate(source: Array, target: Array) -> Array:
    """`source`, copied if writing `target` front to back would overwrite elements not yet read."""
    if not np.may_share_memory(source, target):
        return source
    places = [(array.ctypes.data, array.itemsize, array.shape, array.strides) for array in (source, target)]
    return source if places[0] == places[1] else source.copy()
