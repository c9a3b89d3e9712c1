"""A reduction of a device's arrays. It waits for nothing, and takes part in graphs that are captured."""

from __future__ import annotations

import math
from typing import Any

from statqat_sim.arrays.library import ArrayLibrary
from statqat_sim.arrays.tensors import viewed
from statqat_sim.backends.cupy_gpu.block_device import Device
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS
from statqat_sim.backends.cupy_gpu.launcher import Launcher
from statqat_sim.backends.cupy_gpu.reduction_text import piece_elements, reduction_kernel
from statqat_sim.plan.reduction import Reducer, ReductionPlan


class CudaReduction:
    """See `runtime.ReductionKernel`."""

    def __init__(self, plan: ReductionPlan, launcher: Launcher, library: ArrayLibrary) -> None:
        self.plan, self.launcher, self.library = plan, launcher, library

    def __call__(self, x: Any, *, rows: int = 1) -> tuple[Any, ...]:
        """See `runtime.ReductionKernel`."""
        plan = self.plan
        source = self.library.as_native(x, plan.storage, "x")
        device, length = Device(self.launcher, source), math.prod(source.shape) // max(rows, 1)
        is_maximum = plan.reducer is Reducer.MAXIMUM
        words = 2 * rows * plan.width if plan.in_pairs or not is_maximum else rows * plan.width
        results = {name: device.zeros(words) for name in (("results",) if is_maximum else ("counts", "sums"))}
        if rows * length:
            reduce(device, plan, source, rows, length, results)
        dtype = ("uint64" if plan.in_pairs else "uint32") if is_maximum else "int64"
        return tuple(viewed(result[:words], dtype).reshape(rows, plan.width) for result in results.values())


def reduce(device: Device, plan: ReductionPlan, x: Any, rows: int, length: int, results: dict[str, Any]) -> None:
    """Reduce rows of elements in C order, which are not empty, into zeroed results, named as the kernel does."""
    piece = piece_elements(rows, length)
    pieces = -(-length // piece)
    values = {"x": x, "rows": rows, "length": length, "pieces": pieces, "piece_elements": piece}
    device.launch(reduction_kernel(plan), rows * pieces * THREADS, values | results | device.numbers([plan.element]))
