"""Numpy arrays and CPU tensors; kernels compute on both as numpy arrays."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from statqat_sim.arrays.inputs import as_float32, as_numpy, as_scale, real_array
from statqat_sim.arrays.kinds import Array
from statqat_sim.arrays.results import in_kind, result_array, separate
from statqat_sim.plan.program import Packed, Storage


class CpuLibrary:
    """See `ArrayLibrary`."""

    looks = True

    def as_native(self, array: Any, storage: Storage | Packed, what: str) -> Array:
        native = as_numpy(array, storage, what)
        if storage is Storage.FLOAT16:
            native = native.view(np.float16)  # numpy has no bfloat16
        return np.require(native, requirements=("C", "A")).reshape(native.shape)

    def as_float32(self, array: Any, what: str) -> Array:
        return as_float32(array, what)

    def as_scale(self, scale: Any, shape: tuple[int, ...], like: Any) -> Array:
        return as_scale(scale, shape)

    def as_weights(self, weights: Any, like: Any) -> Array:
        return np.ascontiguousarray(real_array(weights, "weights"), np.float64)

    def broadcast(self, array: Any, shape: tuple[int, ...]) -> Array:
        return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(shape)

    def result(self, out: Any, shape: tuple[int, ...], storage: Storage | Packed, like: Any) -> Array:
        return result_array(out, shape, storage)

    def is_plain(self, target: Any) -> bool:
        return bool(target.flags.c_contiguous)

    def first(self, mask: Any) -> int | None:
        return int(mask.argmax()) if mask.any() else None

    def separate(self, source: Any, target: Any) -> Array:
        return separate(source, target)

    def in_kind(self, result: Any, like: Any) -> Any:
        return in_kind(result, like)

    def on_device_of(self, array: Any) -> AbstractContextManager[Any]:
        return nullcontext()


CPU = CpuLibrary()
