"""Matrix instructions on a device's arrays. After a first call nothing waits for it, and graphs can capture it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np

from statqat_sim.arrays.library import ArrayLibrary
from statqat_sim.arrays.tensors import viewed
from statqat_sim.backends.cupy_gpu.block_device import Device
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS
from statqat_sim.backends.cupy_gpu.launcher import Argument, Launcher
from statqat_sim.backends.cupy_gpu.mma_text import COLUMNS, LEFT, PLANS, RESULT, RIGHT, ROWS, START, MmaForm, mma_kernel
from statqat_sim.plan.mma import BELOW_ALL_EXPONENTS, Factor, MmaPlan, Unit
from statqat_sim.plan.program import Storage

NO_REACH: Final = 1 << 30


class CudaMma:
    """See `runtime.MmaKernel`. Holds a plan's numbers; the machine code is shared by all plans of its form."""

    def __init__(self, plan: MmaPlan, launcher: Launcher, library: ArrayLibrary) -> None:
        self.plan, self.launcher, self.library = plan, launcher, library

    def __call__(self, a: Any, b: Any, c: Any, *, a_scale: Any = None, b_scale: Any = None) -> Any:
        """See `runtime.MmaKernel`."""
        (rows, size), columns = a.shape, b.shape[1]
        d = self._like(c)
        across = -(-columns // COLUMNS)
        tiles = -(-rows // ROWS) * across
        block, none = self.plan.block or 1, np.uint64(0)
        values = {"a": a, "b": b, "c": c, "d": d, "rows": rows, "columns": columns, "size": size}
        values |= {"a_scale": none if a_scale is None else a_scale, "b_scale": none if b_scale is None else b_scale}
        values |= {"step": self.plan.step or max(size, 1), "block": block, "blocks": -(-size // block)}
        values |= {"tiles": tiles, "across": across} | self._numbers | self._places(c)
        Device(self.launcher, c).launch(mma_kernel(MmaForm.of(self.plan)), tiles * THREADS, values)
        return d

    def _like(self, c: Any) -> Any:
        """A new array of C's shape and dtype."""
        storage = {Unit.FUSED: Storage.FLOAT64, Unit.INTEGER: Storage.UINT32}.get(self.plan.unit, Storage.FLOAT32)
        d = self.library.result(None, tuple(c.shape), storage, c)
        return viewed(d, "int32") if self.plan.unit is Unit.INTEGER else d

    def _places(self, c: Any) -> dict[str, Argument]:
        """Where the order of a step's products lies on C's device: nowhere if it is that of memory."""
        places = self.plan.places
        if self.plan.unit not in (Unit.STEPS, Unit.FUSED):
            return {}
        in_order = places is None or places == tuple(range(len(places)))
        words = b"" if places is None else np.array(places, "<u4").tobytes()
        return {"plan_places": np.uint64(0) if in_order else self.launcher.constant(words, c)}

    @cached_property
    def _numbers(self) -> dict[str, Argument]:
        """Arguments that are the same in every call."""
        plan, c = self.plan, self.plan.c
        result = {field: getattr(plan.result, field) for field in RESULT.fields}
        start: dict[str, float] = {"emin": c.emin, "later_emin": plan.emin, "is_positive": c.is_positive}
        start |= {"least": c.least, "later_least": plan.later_least}
        numbers = LEFT.arguments(_factor(plan.a)) | RIGHT.arguments(_factor(plan.b))
        numbers |= RESULT.arguments(result) | START.arguments(start)
        return numbers | PLANS[plan.unit].arguments(_of_unit(plan))


def _factor(factor: Factor) -> dict[str, float]:
    least = int(np.float32(factor.least).view(np.uint32))
    return {"emin": factor.emin, "least": least, "is_positive": factor.is_positive}


def _of_unit(plan: MmaPlan) -> dict[str, float]:
    """The numbers of a plan's own struct; those of others are left over."""
    numbers: dict[str, float] = {"enter": plan.enter_number, "parts": plan.parts, "is_pairwise": plan.is_pairwise}
    numbers |= {"group": plan.group, "scale_emin": plan.scale_emin, "places": 0}
    numbers |= {"limit": np.inf if plan.product_limit is None else np.ldexp(1.0, plan.product_limit)}
    numbers |= {"low": -1 << plan.bits - 1, "high": (1 << plan.bits - 1) - 1}
    return numbers | _alignment(plan) | _junction(plan)


def _alignment(plan: MmaPlan) -> dict[str, float]:
    alignment = plan.alignment
    if alignment is None:
        return {"is_aligned": False, "fraction": 0, "mode": 0, "per_sum": False, "zero": BELOW_ALL_EXPONENTS}
    numbers: dict[str, float] = {"is_aligned": True, "fraction": alignment.fraction_bits, "zero": alignment.zero_number}
    return numbers | {"mode": alignment.mode, "per_sum": alignment.per_sum}


def _junction(plan: MmaPlan) -> dict[str, float]:
    junction = plan.junction
    if junction is None:
        return {"dot_bits": 0, "c_bits": 0, "kept_bits": -1, "reach": 0, "join_mode": 0}
    return {
        "dot_bits": junction.dot_bits,
        "c_bits": junction.c_bits,
        "kept_bits": -1 if junction.kept_bits is None else junction.kept_bits,
        "reach": NO_REACH if junction.reach is None else junction.reach,
        "join_mode": junction.mode,
    }
