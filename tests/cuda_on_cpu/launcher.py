"""Kernels as functions of a shared object."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from statqat_sim.arrays import is_cpu_tensor
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS, KernelText
from statqat_sim.backends.cupy_gpu.launcher import Argument
from statqat_sim.backends.cupy_gpu.prelude import PRELUDE

ERRORS = {1: "threads wait for ever", 2: "memory is read or written by misaligned words"}
MOST_BLOCKS = (1 << 31) - 1

HERE = Path(__file__).parent
OPTIONS = ("-O0", "-std=c++17", "-ffp-contract=off", "-fno-fast-math", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE")
OPTIONS += ("-fsanitize=alignment", "-shared", "-fPIC", "-w")


@dataclass(frozen=True, slots=True)
class GccFunction:
    """A kernel; `arguments` are checked as a GPU never does."""

    text: KernelText
    run: Any

    def __call__(
        self, blocks: int, threads: int, arguments: Sequence[Argument], like: Any, *, first_block: int = 0
    ) -> None:
        """`first_block`: those before it are left out, for arrays that are not really as long."""
        _refuse_other_memory(like)
        assert 0 < blocks <= MOST_BLOCKS, blocks
        assert 0 < threads <= THREADS, threads
        widths = [type(argument) for argument in arguments]
        assert widths == [_width(declared) for declared in self.text.arguments], (widths, self.text.arguments)
        words = np.array([int(argument) for argument in arguments], np.uint64)
        failed = self.run(first_block, blocks, threads, words.ctypes.data)
        assert not failed, f"{self.text.name}: {ERRORS[failed]}"


class GccLauncher:
    """See `launcher.Launcher`; arrays are numpy's."""

    def __init__(self) -> None:
        self._functions: dict[KernelText, GccFunction] = {}
        self._constants: dict[bytes, Any] = {}

    def load(self, text: KernelText) -> GccFunction:
        if text not in self._functions:
            self.prepare([text])
        return self._functions[text]

    def prepare(self, texts: Iterable[KernelText]) -> None:
        """Compile several kernels at once, which takes less time."""
        new = [text for text in dict.fromkeys(texts) if text not in self._functions]
        for cooperative in (False, True):
            unit = [text for text in new if text.cooperative is cooperative]
            if unit:
                library = _compiled(self.source(unit, cooperative))
                for index, text in enumerate(unit):
                    self._functions[text] = GccFunction(text, _run(library, index))

    def source(self, texts: Sequence[KernelText], cooperative: bool) -> str:
        """A translation unit: each kernel in a namespace of its own, and a function that runs it."""
        lines = [*headers(cooperative), PRELUDE]
        for index, text in enumerate(texts):
            definition = text.definition.removeprefix('extern "C" ')
            lines.append(f"namespace n{index} {{\n{text.functions}\n{definition}}}")
            lines.append(runner(index, text, f"n{index}::{text.name}"))
        return "\n".join(lines)

    def pointer(self, array: Any) -> np.uint64:
        _refuse_other_memory(array)
        if isinstance(array, np.ndarray):
            assert array.flags.c_contiguous
            return np.uint64(array.ctypes.data)
        assert array.is_contiguous()
        return np.uint64(array.data_ptr())

    def words(self, count: int, like: Any) -> Any:
        """Numpy's, for tensors too; with words that no kernel may take for results."""
        _refuse_other_memory(like)
        return np.full(count, 0xDEAD_BEEF, np.uint32)

    def zeros(self, count: int, like: Any) -> Any:
        _refuse_other_memory(like)
        return np.zeros(count, np.uint32)

    def constant(self, words: bytes, like: Any) -> np.uint64:
        _refuse_other_memory(like)
        return self.pointer(self._constants.setdefault(words, np.frombuffer(words, np.uint32)))


def _refuse_other_memory(array: Any) -> None:
    assert isinstance(array, np.ndarray | np.generic) or is_cpu_tensor(array), type(array)


def _width(declared: str) -> type[Argument]:
    """Of an argument's declaration."""
    return np.uint64 if "*" in declared or "u64" in declared.split() else np.uint32


def headers(cooperative: bool) -> list[str]:
    """What kernels on a CPU need."""
    return [f'#include "{HERE / name}"' for name in (["cuda.h", "lanes.h"] if cooperative else ["cuda.h"])]


def runner(index: int, text: KernelText, called: str) -> str:
    """The function that runs a kernel's threads, by its place in a unit."""
    casts = [f"({_type(declared)})arguments[{place}]" for place, declared in enumerate(text.arguments)]
    call = f"[&] {{ {called}({', '.join(casts)}); }}"
    way = "run_together" if text.cooperative else "run_in_turn"
    run = f"return {way}(first, blocks, threads, {call});"
    return f'extern "C" int run{index}(u32 first, u32 blocks, u32 threads, const u64 *arguments) {{ {run} }}'


def _type(declared: str) -> str:
    """The type of an argument's declaration: all but its name."""
    found = re.fullmatch(r"(.*?)\w+", declared)
    assert found is not None, declared
    return found[1].strip()


def _compiled(source: str) -> ctypes.CDLL:
    """The shared object of a source; kept, in pytest's cache where there is one."""
    headers = "".join((HERE / name).read_text() for name in ("cuda.h", "lanes.h"))
    name = hashlib.sha256("\n".join([*OPTIONS, headers, source]).encode()).hexdigest()[:24]
    path = _directory() / f"{name}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=_directory()) as folder:
            unit, built = Path(folder) / "unit.cpp", Path(folder) / "unit.so"
            unit.write_text(source)
            done = subprocess.run(["g++", *OPTIONS, "-o", built, unit], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[:4000]
            built.replace(path)
    return ctypes.CDLL(str(path))


@cache
def _directory() -> Path:
    kept = os.environ.get("STATQAT_CACHE_DIR")
    folder = Path(kept) / "cuda_on_cpu" if kept else Path(tempfile.mkdtemp(prefix="cuda_on_cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(library: ctypes.CDLL, index: int) -> Any:
    run = getattr(library, f"run{index}")
    run.argtypes = (ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)
    return run
