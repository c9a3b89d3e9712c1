"""Kernels through nvcc, as cupy calls its compiler."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.prelude import PRELUDE

ARCHITECTURES = ("sm_80", "sm_90a", "sm_100a")
NVCC = shutil.which("nvcc")
OPTIONS = ("-std=c++17", "-fmad=false", "-ftz=true", "-Werror", "all-warnings")
"""As cupy compiles; see `cupy_launcher`."""

QUICK = ("-Xcicc", "-O1", "-Xptxas", "-O0")
"""The compiler with as little optimization as it knows: all that it refuses it refuses, in a quarter of the time."""

UNIT = 40
"""Kernels of a translation unit, at most."""


@cache
def known_architectures() -> frozenset[str]:
    assert NVCC is not None
    listed = subprocess.run([NVCC, "--list-gpu-code"], capture_output=True, text=True, check=True).stdout.split()
    return frozenset(listed)


def require(architecture: str) -> None:
    if architecture.removesuffix("a") not in known_architectures():
        pytest.skip(f"this nvcc does not know {architecture}")


def compiled(texts: list[KernelText], architecture: str, kind: str, folder: Path, *further: str) -> Path:
    """What nvcc makes of kernels as one translation unit, `kind`: cubin or ptx; `further`: options."""
    assert NVCC is not None
    source, built = folder / "unit.cu", folder / f"unit.{kind}"
    named = [replace(text, name=f"{text.name}{index}") for index, text in enumerate(texts)]
    kernels = [f"namespace n{index} {{\n{text.functions}\n{text.definition}}}" for index, text in enumerate(named)]
    source.write_text("\n".join([PRELUDE, *kernels]))
    command = [NVCC, f"-{kind}", f"-arch={architecture}", *OPTIONS, *further, "-o", built, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
    return built
