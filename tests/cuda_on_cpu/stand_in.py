"""What the GPU backend uses of cupy, in numpy: its arrays are no numpy arrays, and its kernels run as the shim does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cuda_on_cpu.backend import LAUNCHER
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.prelude import PRELUDE


@dataclass
class Stream:
    """Remembers what was queued on it."""

    ptr: int = 0
    launches: list[str] = field(default_factory=list)
    waits: int = 0

    def __enter__(self) -> None:
        CURRENT.append(self)

    def __exit__(self, *error: object) -> None:
        CURRENT.pop()

    def synchronize(self) -> None:
        self.waits += 1

    @staticmethod
    def from_external(stream: Any) -> Stream:
        version, address = stream.__cuda_stream__()
        assert version == 0
        return Stream(address)


CURRENT = [Stream()]
FETCHED: list[int] = []
"""Bytes of arrays that were copied to the CPU."""


WORKING = [0]
"""Numbers of devices: the current one is last."""


class Device:
    """One of any number; None: the current one."""

    def __init__(self, id: int | None = None) -> None:
        self.id = WORKING[-1] if id is None else id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]  # as cupy's

    def __str__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> None:
        WORKING.append(self.id)

    def __exit__(self, *error: object) -> None:
        WORKING.pop()


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on a device; `on` is its memory. What reads or writes elements has to run on that device."""

    def __init__(self, on: Any, device: int | None = None) -> None:
        self.on, self.device = np.asarray(on), Device(device)

    def __getattr__(self, name: str) -> Any:
        if name not in ("shape", "strides", "dtype", "itemsize", "ndim", "size", "flags", "nbytes"):
            raise AttributeError(name)
        return getattr(self.on, name)

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Array:
        with np.errstate(all="ignore"):
            return Array(getattr(ufunc, method)(*map(here, inputs), **options))

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    def __dlpack__(self, **options: Any) -> Any:
        raise NotImplementedError

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self.on.ctypes.data)

    def view(self, dtype: Any) -> Array:
        return Array(self.on.view(dtype), self.device.id)

    def reshape(self, *shape: Any) -> Array:
        return Array(self.on.reshape(*shape), self.device.id)

    def astype(self, dtype: Any, *, copy: bool = True) -> Array:
        with np.errstate(all="ignore"):
            return Array(here(self).astype(dtype, copy=copy))

    def transpose(self, axes: tuple[int, ...]) -> Array:
        return Array(self.on.transpose(axes), self.device.id)

    def nonzero(self) -> tuple[Array, ...]:
        return tuple(Array(places) for places in here(self).nonzero())

    def get(self) -> Any:
        FETCHED.append(self.nbytes)
        return self.on.copy()

    def copy(self) -> Array:
        return Array(here(self).copy())

    def any(self) -> bool:
        return bool(here(self).any())

    def argmax(self) -> Any:
        return here(self).argmax()

    def min(self) -> Any:
        return here(self).min()

    def max(self) -> Any:
        return here(self).max()

    def __getitem__(self, place: Any) -> Array:
        return Array(self.on[memory(place)], self.device.id)

    def __setitem__(self, place: Any, values: Any) -> None:
        here(self)[here(place)] = here(values)


class Foreign:
    """An array of another library on the same device; `read_only` is what dlpack says of it."""

    def __init__(self, on: Any) -> None:
        self.array = Array(on)

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **options: Any) -> Any:
        raise NotImplementedError

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=lambda result: Foreign(result.on))


def memory(array: Any) -> Any:
    """What an array of the device holds."""
    return array.on if isinstance(array, Array) else array


def here(array: Any) -> Any:
    """What an array of the current device holds."""
    if isinstance(array, Array) and array.device.id != WORKING[-1]:
        raise RuntimeError(f"the array is on {array.device}, and the current one is {Device()}")
    return memory(array)


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...], backend: str) -> None:
        assert backend == "nvrtc"
        self.code = code

    def get_function(self, name: str) -> Any:
        text = _text_of(self.code)
        assert text.name == name
        return lambda blocks, threads, arguments: self._launch(text, blocks[0], threads[0], arguments)

    def _launch(self, text: KernelText, blocks: int, threads: int, arguments: Any) -> None:
        CURRENT[-1].launches.append(text.name)
        LAUNCHER.load(text)(blocks, threads, arguments, np.zeros(0))


def _text_of(source: str) -> KernelText:
    """What a source was printed from."""
    pattern = r'(.*)\nextern "C" __global__ void \S+ (\w+)\((.*)\)\n\{\n(.*)\n\}\n$'
    found = re.fullmatch(pattern, source.removeprefix(f"{PRELUDE}\n"), re.DOTALL)
    assert found is not None
    functions, name, arguments, body = found.groups()
    cooperative = "_sync" in body or "__syncthreads" in body
    return KernelText(name, tuple(arguments.split(", ")), body, cooperative, functions)


def _module() -> ModuleType:
    module = ModuleType("cupy")
    members = {
        "ndarray": Array,
        "RawModule": RawModule,
        "asarray": lambda a, dtype=None, order=None: Array(np.array(here(a), dtype, order=order or "K")),
        "empty": lambda shape, dtype: Array(np.empty(shape, dtype)),
        "zeros": lambda shape, dtype: Array(np.zeros(shape, dtype)),
        "ascontiguousarray": lambda a: Array(np.ascontiguousarray(here(a))),
        "broadcast_to": lambda a, shape: Array(np.broadcast_to(a.on, shape), a.device.id),
        "where": lambda *arrays: Array(np.where(*map(here, arrays))),
        "may_share_memory": lambda a, b: np.may_share_memory(a.on, b.on),
        "from_dlpack": lambda a: a.array,
        "cuda": SimpleNamespace(Device=Device, Stream=Stream, get_current_stream=lambda: CURRENT[-1]),
    }
    module.__dict__.update(members)
    return module


@contextmanager
def cupy_replaced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of the backend that import cupy import this instead, and are forgotten afterwards."""
    package = "statqat_sim.backends.cupy_gpu"
    mine = [f"{package}.{name}" for name in ("cupy_arrays", "cupy_launcher", "by_library")]
    for name in mine:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "cupy", _module())
    yield
    for name in mine:
        sys.modules.pop(name, None)
