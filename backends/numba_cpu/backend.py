"""Numba's side of the backend protocol. Importing this module loads neither numba nor llvmlite."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from statqat_sim.arrays import CPU, ArrayLibrary, is_cpu_array
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.mma import MmaPlan
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.reduction import ReductionPlan
from statqat_sim.plan.row_scan import RowScanPlan

if TYPE_CHECKING:
    from statqat_sim.backends.numba_cpu.block_kernel import NumbaBlockKernel
    from statqat_sim.backends.numba_cpu.kernel import NumbaKernel
    from statqat_sim.backends.numba_cpu.mma import NumbaMma
    from statqat_sim.backends.numba_cpu.reduction_kernel import NumbaReduction
    from statqat_sim.backends.numba_cpu.row_scan import NumbaRowScan
    from statqat_sim.backends.numba_cpu.row_sums import NumbaRowSums


class NumbaBackend:
    """Numpy arrays and CPU tensors."""

    name = "numba"

    def available(self) -> str | None:
        if _installed("numba") is None:
            return "numba is not installed; pip install numba"
        if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
            return "$NUMBA_DISABLE_JIT keeps numba from compiling; unset it"
        return None

    def versions(self) -> Mapping[str, str]:
        packages = ("numba", "llvmlite", "numpy")
        return {package: found for package in packages if (found := _installed(package)) is not None}

    def owns(self, array: object) -> bool:
        return is_cpu_array(array)

    def library(self, array: object) -> ArrayLibrary:
        return CPU

    def compile(self, plan: CodecPlan) -> NumbaKernel:
        _import_numba()
        from statqat_sim.backends.numba_cpu.kernel import NumbaKernel

        return NumbaKernel(plan)

    def compile_block(self, plan: BlockPlan) -> NumbaBlockKernel:
        _import_numba()
        from statqat_sim.backends.numba_cpu.block_kernel import NumbaBlockKernel

        return NumbaBlockKernel(plan)

    def compile_reduction(self, plan: ReductionPlan) -> NumbaReduction:
        _import_numba()
        from statqat_sim.backends.numba_cpu.reduction_kernel import NumbaReduction

        return NumbaReduction(plan)

    def compile_row_scan(self, plan: RowScanPlan) -> NumbaRowScan:
        _import_numba()
        from statqat_sim.backends.numba_cpu.row_scan import NumbaRowScan

        return NumbaRowScan(plan)

    def compile_row_sums(self) -> NumbaRowSums:
        _import_numba()
        from statqat_sim.backends.numba_cpu.row_sums import NumbaRowSums

        return NumbaRowSums()

    def compile_mma(self, plan: MmaPlan) -> NumbaMma:
        _import_numba()
        from statqat_sim.backends.numba_cpu.mma import NumbaMma

        return NumbaMma(plan)


def _import_numba() -> None:
    """Import the package as a whole: two threads that first import different modules of it leave it broken."""
    import numba  # noqa: F401


@cache
def _installed(package: str) -> str | None:
    """A package's version, or None. Cached: reading metadata takes longer than quantizing a small array."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
