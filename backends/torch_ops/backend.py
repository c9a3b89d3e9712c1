"""torch's side of the backend protocol. Importing this module does not load torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from statqat_sim.arrays import CPU, ArrayLibrary
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.errors import to_install
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.reduction import ReductionPlan

if TYPE_CHECKING:
    from statqat_sim.backends.torch_ops.block_kernel import TorchBlockKernel
    from statqat_sim.backends.torch_ops.kernel import TorchKernel
    from statqat_sim.backends.torch_ops.reduction import TorchReduction


class TorchBackend:
    """Tensors on any device, if `backend="torch"` is requested; numpy arrays too, with numpy results.

    On CPUs results equal the interpreter's bit for bit, in eager mode and under `torch.compile`. Exceptions:

    - In compiled code an `offset` of 2^63 or more must stay the same from call to call, see `draws`.
    - `torch.set_flush_denormal(True)` flushes subnormals here as everywhere.
    - On CUDA, eager operations round as IEEE 754 says. Compiled code is Triton's, which by default divides and
      contracts differently (see `torch._inductor.config.eager_numerics.division_rounding`); nothing is proven for it.
    - MPS has no float64: no float64 inputs or results, no `rule: mse`, no histograms; its compiler uses fast math.
    """

    name = "torch"
    is_traced = True

    def available(self) -> str | None:
        return None if find_spec("torch") else f"torch is not installed; {to_install('torch')}"

    def versions(self) -> Mapping[str, str]:
        return {"torch": version("torch")}

    def owns(self, array: object) -> bool:
        return False

    def library(self, array: object) -> ArrayLibrary:
        return TENSORS if is_tensor(array) else CPU

    def compile(self, plan: CodecPlan) -> TorchKernel:
        from statqat_sim.backends.torch_ops.kernel import TorchKernel

        return TorchKernel(plan)

    def compile_block(self, plan: BlockPlan) -> TorchBlockKernel:
        from statqat_sim.backends.torch_ops.block_kernel import TorchBlockKernel

        return TorchBlockKernel(plan)

    def compile_reduction(self, plan: ReductionPlan) -> TorchReduction:
        from statqat_sim.backends.torch_ops.reduction import TorchReduction

        return TorchReduction(plan)
