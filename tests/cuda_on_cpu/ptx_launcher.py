"""Kernels as nvcc compiles them: their PTX runs, instruction by instruction."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nvcc import compiled, require

from cuda_on_cpu.launcher import GccLauncher, headers, runner
from cuda_on_cpu.ptx import as_cpp
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText

ARCHITECTURE = "sm_90a"


class PtxLauncher(GccLauncher):
    """See `launcher.Launcher`; arrays are numpy's."""

    def source(self, texts: Sequence[KernelText], cooperative: bool) -> str:
        require(ARCHITECTURE)
        with tempfile.TemporaryDirectory() as folder:
            ptx = compiled(list(texts), ARCHITECTURE, "ptx", Path(folder)).read_text()
        runners = [runner(index, _of_numbers(text), f"{text.name}{index}") for index, text in enumerate(texts)]
        return "\n".join([*headers(cooperative), as_cpp(ptx), *runners])


def _of_numbers(text: KernelText) -> KernelText:
    """A kernel whose addresses are numbers, as in PTX."""
    plain = [f"u64 {declared.split('*')[-1]}" if "*" in declared else declared for declared in text.arguments]
    return replace(text, arguments=tuple(plain))
