"""A pytest plugin under which the tests of a GPU find one: cupy's stand-in, on this machine's CPU."""

from __future__ import annotations

import sys

import pytest

from cuda_on_cpu.stand_in import module
from statqat_sim.backends.cupy_gpu import backend, driver


def pytest_configure(config: pytest.Config) -> None:
    """Before the tests are collected, which ask for it."""
    cupy = module()
    cupy.__dict__["__version__"] = f"{driver.OLDEST_CUPY}.0.0"
    sys.modules["cupy"] = cupy
    backend.why_not = lambda: None  # type: ignore[attr-defined]  # as the backend has it
