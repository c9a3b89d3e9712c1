"""Kernels for both cupy arrays and torch tensors; neither is converted to the other."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.library import ArrayLibrary
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.backends.cupy_gpu.block_kernel import CudaBlockKernel
from statqat_sim.backends.cupy_gpu.cupy_arrays import CupyLibrary, device_of
from statqat_sim.backends.cupy_gpu.cupy_launcher import CupyLauncher
from statqat_sim.backends.cupy_gpu.kernel import CudaKernel
from statqat_sim.backends.cupy_gpu.mma_kernel import CudaMma
from statqat_sim.backends.cupy_gpu.reduction_kernel import CudaReduction
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.mma import MmaPlan
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.reduction import ReductionPlan

LAUNCHER: Final = CupyLauncher()
ARRAYS: Final = CupyLibrary(LAUNCHER)


class KernelByLibrary:
    """See `runtime.Kernel`."""

    def __init__(self, plan: CodecPlan) -> None:
        self.plan = plan

    def __reduce__(self) -> tuple[type[KernelByLibrary], tuple[CodecPlan]]:
        """A copy in another process has a GPU of its own."""
        return KernelByLibrary, (self.plan,)

    @cached_property
    def _kernels(self) -> dict[bool, CudaKernel]:
        return {tensor: CudaKernel(self.plan, LAUNCHER, _library(tensor)) for tensor in (False, True)}

    def __call__(self, x: Any, **options: Any) -> Any:
        """See `runtime.Kernel`."""
        kernel = self._kernels[_is_tensor(x, self.plan.shape.streams[0].name)]
        with device_of(x):
            return kernel(x, **options)


class BlockKernelByLibrary:
    """See `runtime.BlockKernel`."""

    def __init__(self, plan: BlockPlan) -> None:
        self.plan = plan

    def __reduce__(self) -> tuple[type[BlockKernelByLibrary], tuple[BlockPlan]]:
        """A copy in another process has a GPU of its own."""
        return BlockKernelByLibrary, (self.plan,)

    @cached_property
    def _kernels(self) -> dict[bool, CudaBlockKernel]:
        return {tensor: CudaBlockKernel(self.plan, LAUNCHER, _library(tensor)) for tensor in (False, True)}

    def quantize(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """See `runtime.BlockKernel`."""
        with device_of(x):
            return self._kernels[_is_tensor(x, "x")].quantize(x, *arguments, **options)

    def fake_quantize(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """See `runtime.BlockKernel`."""
        with device_of(x):
            return self._kernels[_is_tensor(x, "x")].fake_quantize(x, *arguments, **options)

    def dequantize(self, codes: Any, *arguments: Any, **options: Any) -> Any:
        """See `runtime.BlockKernel`."""
        with device_of(codes):
            return self._kernels[_is_tensor(codes, "codes")].dequantize(codes, *arguments, **options)


class ReductionByLibrary:
    """See `runtime.ReductionKernel`."""

    def __init__(self, plan: ReductionPlan) -> None:
        self.plan = plan

    def __reduce__(self) -> tuple[type[ReductionByLibrary], tuple[ReductionPlan]]:
        """A copy in another process has a GPU of its own."""
        return ReductionByLibrary, (self.plan,)

    @cached_property
    def _kernels(self) -> dict[bool, CudaReduction]:
        return {tensor: CudaReduction(self.plan, LAUNCHER, _library(tensor)) for tensor in (False, True)}

    def __call__(self, x: Any, *, rows: int = 1) -> tuple[Any, ...]:
        """See `runtime.ReductionKernel`."""
        with device_of(x):
            return self._kernels[_is_tensor(x, "x")](x, rows=rows)


class MmaByLibrary:
    """See `runtime.MmaKernel`."""

    def __init__(self, plan: MmaPlan) -> None:
        self.plan = plan

    def __reduce__(self) -> tuple[type[MmaByLibrary], tuple[MmaPlan]]:
        """A copy in another process has a GPU of its own."""
        return MmaByLibrary, (self.plan,)

    @cached_property
    def _kernels(self) -> dict[bool, CudaMma]:
        return {tensor: CudaMma(self.plan, LAUNCHER, _library(tensor)) for tensor in (False, True)}

    def __call__(self, a: Any, b: Any, c: Any, *, a_scale: Any = None, b_scale: Any = None) -> Any:
        """See `runtime.MmaKernel`."""
        with device_of(a):
            return self._kernels[_is_tensor(a, "a")](a, b, c, a_scale=a_scale, b_scale=b_scale)


def library_of(array: object) -> ArrayLibrary:
    """The `ArrayLibrary` of an array: torch's for tensors, else cupy's."""
    return _library(is_tensor(array))


def _library(tensor: bool) -> ArrayLibrary:
    return TENSORS if tensor else ARRAYS


def _is_tensor(array: Any, what: str) -> bool:
    """Whether this is a torch tensor, which must be on a GPU.

    Raises:
        TypeError: if it is a tensor on another device.
    """
    if not is_tensor(array):
        return False
    if array.device.type != "cuda":
        raise TypeError(f"{what} is a tensor on {array.device}; allowed: arrays on a GPU")
    return True
