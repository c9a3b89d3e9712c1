"""What the GPU backend uses of cupy, in numpy: its arrays are no numpy arrays, and its kernels run as the shim does.

That cupy itself has all this, and takes the same arguments, is in `test_cupy`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cuda_on_cpu import arrays
from cuda_on_cpu.arrays import FETCHED, Array, Foreign, memory
from cuda_on_cpu.backend import LAUNCHER
from cuda_on_cpu.devices import CURRENT, Device, Stream, get_current_stream
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.prelude import PRELUDE

__all__ = ["FETCHED", "Array", "Device", "Foreign", "RawModule", "Stream", "cupy_replaced", "memory", "module"]


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        assert backend == "nvrtc"
        assert isinstance(options, tuple)
        self.code = code

    def get_function(self, name: str) -> Any:
        text = _text_of(self.code)
        assert text.name == name
        return lambda grid, block, args: self._launch(text, grid, block, args)

    def _launch(self, text: KernelText, grid: tuple[int], block: tuple[int], args: tuple[Any, ...]) -> None:
        assert all(type(each) is tuple for each in (grid, block, args))
        CURRENT[-1].launches.append(text.name)
        LAUNCHER.load(text)(*grid, *block, args, np.zeros(0))


def _text_of(source: str) -> KernelText:
    """What a source was printed from."""
    pattern = r'(.*)\nextern "C" __global__ void \S+ (\w+)\((.*)\)\n\{\n(.*)\n\}\n$'
    found = re.fullmatch(pattern, source.removeprefix(f"{PRELUDE}\n"), re.DOTALL)
    assert found is not None
    functions, name, arguments, body = found.groups()
    cooperative = "_sync" in body or "__syncthreads" in body
    return KernelText(name, tuple(arguments.split(", ")), body, cooperative, functions)


def module() -> ModuleType:
    """In place of cupy."""
    replaced = ModuleType("cupy")
    functions = ("asarray", "asnumpy", "empty", "full", "zeros", "ascontiguousarray", "broadcast_to", "where")
    functions += ("from_dlpack",)
    cuda = SimpleNamespace(Device=Device, Stream=Stream, get_current_stream=get_current_stream)
    members = {name: getattr(arrays, name) for name in functions}
    replaced.__dict__.update(members | {"ndarray": Array, "RawModule": RawModule, "cuda": cuda})
    return replaced


@contextmanager
def cupy_replaced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of the backend that import cupy import this instead, and are forgotten afterwards."""
    FETCHED.clear()
    package = "statqat_sim.backends.cupy_gpu"
    mine = [f"{package}.{name}" for name in ("cupy_arrays", "cupy_launcher", "by_library")]
    for name in mine:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "cupy", module())
    yield
    for name in mine:
        sys.modules.pop(name, None)
