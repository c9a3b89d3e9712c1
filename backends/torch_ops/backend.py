"""torch's side of the backend protocol. Importing this module does not load torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from statqat_sim.arrays import CPU, ArrayLibrary
from statqat_sim.arrays.tensors import TENSORS, is_tensor
from statqat_sim.errors import to_install
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.program import CodecPlan
from statqat_sim.plan.reduction import ReductionPlan

if TYPE_CHECKING:
    from statqat_sim.backends.torch_ops.block_kernel import TorchBlockKernel
    from statqat_sim.backends.torch_ops.kernel import TorchKernel
    from statqat_sim.backends.torch_ops.reduction import TorchReduction


class TorchBackend:
    """Tensors on any device, where `backend="torch"` is asked for; numpy arrays too, in kind.

    On CPUs the bits are those of the interpreter, in eager and under `torch.compile`, but for what follows.

    - In compiled code an `offset` from 2^63 on may not change from call to call, see `draws`.
    - `torch.set_flush_denormal(True)` loses subnormals here as it does everywhere.
    - On CUDA eager operations round as IEEE 754 says. Triton, which compiles for it, divides and contracts otherwise
      where it is not told not to (`torch._inductor.config.eager_numerics.division_rounding`); nothing was proven there.
    - MPS has no float64: no float64 inputs or results, no `rule: mse`, no histograms; its compiler's maths are fast.
    """

    name = "torch"

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
