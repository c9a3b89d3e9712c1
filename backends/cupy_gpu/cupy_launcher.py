"""Launches kernels through cupy: on cupy's current stream for cupy arrays, on torch's for tensors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cupy
import numpy as np

from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.loaded import loaded_torch
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.launcher import Argument

OPTIONS: Final = ("--std=c++17", "--fmad=false")
"""NVRTC's options. cupy adds `-ftz=true`, which no option undoes: the text preserves subnormals, see `prelude`."""


@dataclass(frozen=True, slots=True)
class CupyFunction:
    """A kernel; its module is loaded on each device at the first launch there."""

    kernel: Any

    def __call__(self, blocks: int, threads: int, arguments: Sequence[Argument], like: Any) -> None:
        with _device(like), _stream(like):
            self.kernel((blocks,), (threads,), tuple(arguments))


class CupyLauncher:
    """See `launcher.Launcher`, for arrays of cupy and torch. Compiled kernels are cached on disk by cupy."""

    def __init__(self) -> None:
        self._functions: dict[KernelText, CupyFunction] = {}
        self._constants: dict[tuple[int, bytes], Any] = {}

    def load(self, text: KernelText) -> CupyFunction:
        if text not in self._functions:
            module = cupy.RawModule(code=text.source, options=OPTIONS, backend="nvrtc")
            self._functions[text] = CupyFunction(module.get_function(text.name))
        return self._functions[text]

    def pointer(self, array: Any) -> np.uint64:
        return np.uint64(array.data_ptr() if is_tensor(array) else array.data.ptr)

    def words(self, count: int, like: Any) -> Any:
        if is_tensor(like):
            torch = loaded_torch()
            return torch.empty(count, dtype=torch.uint32, device=like.device)
        with _device(like):
            return cupy.empty(count, np.uint32)

    def zeros(self, count: int, like: Any) -> Any:
        if is_tensor(like):
            torch = loaded_torch()
            return torch.zeros(count, dtype=torch.uint32, device=like.device)
        with _device(like):
            return cupy.zeros(count, np.uint32)

    def constant(self, words: bytes, like: Any) -> np.uint64:
        place = _index(like), words
        if place not in self._constants:
            with _device(like):
                self._constants.setdefault(place, _uploaded(words))  # another thread's copy may be in use already
        return np.uint64(self._constants[place].data.ptr)


def _uploaded(words: bytes) -> Any:
    """Upload words to an array that every stream may read: the copy has finished on return."""
    array = cupy.asarray(np.frombuffer(words, np.uint32))
    cupy.cuda.get_current_stream().synchronize()
    return array


def _index(like: Any) -> int:
    """The index of an array's device."""
    return int(like.device.index if is_tensor(like) else like.device.id)


def _device(like: Any) -> Any:
    return cupy.cuda.Device(_index(like))


def _stream(like: Any) -> AbstractContextManager[Any]:
    """A context that makes torch's current stream cupy's for a tensor, and changes nothing for a cupy array."""
    if not is_tensor(like):
        return nullcontext()
    stream: AbstractContextManager[Any] = _of_torch(loaded_torch().cuda.current_stream(like.device).cuda_stream)
    return stream


@dataclass(frozen=True, slots=True)
class _Stream:
    """Another library's stream, exposed through the CUDA stream protocol."""

    address: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


@cache
def _of_torch(address: int) -> Any:
    """Torch's stream as a cupy stream on the current device. Cached, as torch never frees a stream."""
    return cupy.cuda.Stream.from_external(_Stream(address))
