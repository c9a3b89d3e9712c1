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
    return _built(texts, kind, folder, f"-arch={architecture}", *further)


def assemble_for_all(texts: list[KernelText], folder: Path) -> None:
    """Compile kernels as one translation unit for every architecture, with little optimization.

    They are translated once, as no text asks which GPU it is for: translating takes longer than assembling. Tests under
    `long` do both for each architecture.
    """
    assert not [text for text in texts if "__CUDA_ARCH__" in text.functions + text.definition + PRELUDE]
    known = [each for each in ARCHITECTURES if each.removesuffix("a") in known_architectures()]
    if not known:
        pytest.skip(f"this nvcc knows none of {', '.join(ARCHITECTURES)}")
    _built(texts, "fatbin", folder, "-gencode", f"arch=compute_80,code=[{','.join(known)}]", *QUICK)
    for architecture in ARCHITECTURES:  # says which one is missing
        require(architecture)


def _built(texts: list[KernelText], kind: str, folder: Path, *further: str) -> Path:
    assert NVCC is not None
    source, built = folder / "unit.cu", folder / f"unit.{kind}"
    named = [replace(text, name=f"{text.name}{index}") for index, text in enumerate(texts)]
    kernels = [f"namespace n{index} {{\n{text.functions}\n{text.definition}}}" for index, text in enumerate(named)]
    source.write_text("\n".join([PRELUDE, *kernels]))
    command = [NVCC, f"-{kind}", *OPTIONS, *further, "-o", built, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
    return built
