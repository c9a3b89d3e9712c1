"""The GPU's side of the backend protocol. Importing this module loads neither cupy nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from statqat_sim.arrays import DeviceType, device_type
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.library import ArrayLibrary
from statqat_sim.backends.cupy_gpu.driver import driver_version, version_text, why_not
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.mma import MmaPlan
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.reduction import ReductionPlan

if TYPE_CHECKING:
    from statqat_sim.backends.cupy_gpu.by_library import (
        BlockKernelByLibrary,
        KernelByLibrary,
        MmaByLibrary,
        ReductionByLibrary,
    )


class CupyBackend:
    """Arrays on NVIDIA GPUs: cupy's, torch's, and those of any library that speaks dlpack."""

    name = "cupy"

    def available(self) -> str | None:
        return why_not()

    def versions(self) -> Mapping[str, str]:
        import cupy

        device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        driver = version_text(driver_version() or 0)
        return {"cupy": cupy.__version__, "CUDA driver": driver, "GPU": device["name"].decode()}

    def owns(self, array: object) -> bool:
        if is_tensor(array):
            return bool(array.device.type == "cuda")  # type: ignore[attr-defined]  # torch's, which nobody imports
        return device_type(array) in (DeviceType.CUDA, DeviceType.CUDA_MANAGED)

    def library(self, array: object) -> ArrayLibrary:
        from statqat_sim.backends.cupy_gpu.by_library import library_of

        return library_of(array)

    def compile(self, plan: CodecPlan) -> KernelByLibrary:
        from statqat_sim.backends.cupy_gpu.by_library import KernelByLibrary

        return KernelByLibrary(plan)

    def compile_block(self, plan: BlockPlan) -> BlockKernelByLibrary:
        from statqat_sim.backends.cupy_gpu.by_library import BlockKernelByLibrary

        return BlockKernelByLibrary(plan)

    def compile_reduction(self, plan: ReductionPlan) -> ReductionByLibrary:
        from statqat_sim.backends.cupy_gpu.by_library import ReductionByLibrary

        return ReductionByLibrary(plan)

    def compile_mma(self, plan: MmaPlan) -> MmaByLibrary:
        from statqat_sim.backends.cupy_gpu.by_library import MmaByLibrary

        return MmaByLibrary(plan)
