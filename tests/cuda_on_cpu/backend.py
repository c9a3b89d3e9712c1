"""The host code and the kernels of the GPU backend, on numpy arrays and CPU tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cuda_on_cpu.launcher import GccLauncher
from statqat_sim.arrays import CPU, ArrayLibrary
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.backends.cupy_gpu.kernel import CudaKernel
from statqat_sim.backends.cupy_gpu.launcher import Launcher
from statqat_sim.backends.cupy_gpu.mma_kernel import CudaMma
from statqat_sim.backends.numba_cpu.backend import NumbaBackend
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.mma import MmaPlan
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.reduction import ReductionPlan

LAUNCHER: Final = GccLauncher()


class CudaOnCpu:
    """See `runtime.Backend`; named only."""

    name = "cuda_on_cpu"

    def available(self) -> str | None:
        return None

    def versions(self) -> Mapping[str, str]:
        return {}

    def owns(self, array: object) -> bool:
        return False

    def library(self, array: object) -> ArrayLibrary:
        return CPU

    def compile(self, plan: CodecPlan) -> CudaKernel:
        return CudaKernel(plan, LAUNCHER, CPU)

    def compile_block(self, plan: BlockPlan) -> Any:
        from statqat_sim.backends.cupy_gpu.block_kernel import CudaBlockKernel

        return CudaBlockKernel(plan, LAUNCHER, CPU)

    def compile_reduction(self, plan: ReductionPlan) -> Any:
        from statqat_sim.backends.cupy_gpu.reduction_kernel import CudaReduction

        return CudaReduction(plan, LAUNCHER, CPU)

    def compile_mma(self, plan: MmaPlan) -> CudaMma:
        return CudaMma(plan, LAUNCHER, CPU)


class WithCudaMma(NumbaBackend):
    """Numba's, but for matrix instructions."""

    def __init__(self, launcher: Launcher = LAUNCHER) -> None:
        super().__init__()
        self._launcher = launcher

    def compile_mma(self, plan: MmaPlan) -> CudaMma:  # type: ignore[override]  # no numba
        return CudaMma(plan, self._launcher, CPU)


class TensorsOnCuda(CudaOnCpu):
    """Tensors, known as those on a GPU are, and nothing else."""

    def owns(self, array: object) -> bool:
        return is_tensor(array)

    def library(self, array: object) -> ArrayLibrary:
        return TENSORS

    def compile(self, plan: CodecPlan) -> CudaKernel:
        return CudaKernel(plan, LAUNCHER, TENSORS)

    def compile_mma(self, plan: MmaPlan) -> CudaMma:
        return CudaMma(plan, LAUNCHER, TENSORS)
