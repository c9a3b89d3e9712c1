"""Reductions, and arrays in which they could go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from statqat_sim.plan.builder import Builder
from statqat_sim.plan.layout import INFINITY
from statqat_sim.plan.program import Storage
from statqat_sim.plan.reduction import Reducer, ReductionPlan, extremes_plan, histogram_plan
from statqat_sim.plan.source import narrowed, read, widened


def amax_plan(storage: Storage) -> ReductionPlan:
    """The largest finite magnitude, as float32 bits."""
    builder = Builder()
    real = read(builder, "x", storage)
    magnitude = (narrowed(real) if storage is Storage.FLOAT64 else widened(real)).magnitude
    finite = magnitude.lt(INFINITY).where(magnitude, 0)
    return ReductionPlan(builder.finish(finite, Storage.UINT32), Reducer.MAXIMUM)


PLANS: dict[str, Callable[[Storage], ReductionPlan]] = {
    "amax": amax_plan,
    "extremes": extremes_plan,
    **{f"histogram {bits}": lambda storage, bits=bits: histogram_plan(storage, bits) for bits in (0, 6, 10)},
}
SPECIAL = np.array(
    [0, 1, 0x007FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000], np.uint32
)
SPECIAL = np.concatenate((SPECIAL, SPECIAL | np.uint32(1 << 31))).view(np.float32)


def wide_range(count: int, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    exponents = random.integers(-44, 38, count).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        values = (random.standard_normal(count) * 10.0**exponents).astype(np.float32)
    return np.concatenate((SPECIAL, values))


def in_dtype(x: NDArray[np.float32], dtype: str) -> Any:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return torch.from_numpy(x).bfloat16() if dtype == "bfloat16" else x.astype(dtype)
