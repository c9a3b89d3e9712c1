"""CUDA C as a value: what a launcher compiles, and what the tests compile for the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from statqat_sim.backends.cupy_gpu.prelude import PRELUDE

THREADS: Final = 256
"""The most threads of a block."""

WARP: Final = 32
"""Threads that run together, and can exchange words."""


@dataclass(frozen=True, slots=True)
class KernelText:
    """One kernel.

    `arguments` are C declarations in order, such as "const u32 *x", "u64 count", "u32 p0"; `body` is C statements.
    Lanes of a `cooperative` kernel exchange words, and wait for each other. `functions`: C that the body calls, besides
    the prelude.
    """

    name: str
    arguments: tuple[str, ...]
    body: str
    cooperative: bool = False
    functions: str = ""

    @property
    def definition(self) -> str:
        """The kernel without the functions that it calls."""
        head = f'extern "C" __global__ void __launch_bounds__({THREADS}) {self.name}({", ".join(self.arguments)})'
        return f"{head}\n{{\n{self.body.rstrip()}\n}}\n"

    @property
    def source(self) -> str:
        """All that a compiler needs."""
        return f"{PRELUDE}\n{self.functions}\n{self.definition}"
