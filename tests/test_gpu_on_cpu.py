"""The tests of a GPU, as far as a stand-in for cupy takes them: their own lines are right before a GPU sees them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CHOSEN = (
    "misaligned_arrays",
    "results_are_in_kind and cupy",
    "empty_arrays and cupy",
    "by_dlpack",
    "of_the_cpu_are_refused",
    "cupys_current_stream",
    "dense_codes and 3",
    "block_formats and cupy and (mxfp4 or nvfp4_2d or gguf_q4_k)",
    "stochastic_rounding and 16",
    "float_operations",
    "where_they_lie and cupy",
)
"""The first word of each is a part of a test's name."""


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_the_tests_of_a_gpu_pass_on_its_stand_in() -> None:
    chosen = " or ".join(f"({each})" for each in CHOSEN)
    options = ["-v", "--color=no", "-p", "cuda_on_cpu.as_gpu", "-p", "no:cacheprovider", "-k", chosen]
    paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, TESTS / "test_gpu.py", TESTS / "test_gpu_matmul.py"],
        cwd=TESTS.parent,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    passed = [line for line in done.stdout.splitlines() if " PASSED " in line]
    assert [name for name in (each.split()[0] for each in CHOSEN) if not any(name in line for line in passed)] == []
    assert " SKIPPED " not in done.stdout
