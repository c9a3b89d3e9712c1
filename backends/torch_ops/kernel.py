"""A printed plan on tensors, or on numpy arrays with numpy results."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statqat_sim.arrays import Array, as_numpy, as_scale, result_array
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.backends.torch_ops.draws import Draws
from statqat_sim.backends.torch_ops.program import Halves, Program
from statqat_sim.backends.torch_ops.streams import stored, words
from statqat_sim.packing import array_shape, element_shape
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan


class TorchKernel:
    """See `runtime.Kernel`. Results carry no gradients; torch's compiler can trace it."""

    def __init__(self, plan: CodecPlan) -> None:
        self.plan = plan
        self._program, self._draws = Program(plan), Draws.of(plan)
        self._is_scaled = any(stream.name != RANDOM for stream in plan.shape.streams[1:])

    def __reduce__(self) -> tuple[type[TorchKernel], tuple[CodecPlan]]:
        """Pickle the plan alone: the printed function has no importable name."""
        return TorchKernel, (self.plan,)

    def __call__(
        self, x: Any, *, out: Any = None, scale: Any = None, seed: int = 0, offset: int = 0, shape: Any = None
    ) -> Any:
        """See `runtime.Kernel`."""
        on_kind = self._on_tensors if is_tensor(x) else self._on_numpy
        return on_kind(x, out, scale, seed, offset, shape)

    def _on_tensors(self, x: Tensor, out: Any, scale: Any, seed: int, offset: int, shape: Any) -> Tensor:
        plan = self.plan.shape
        stream = plan.streams[0]
        source = TENSORS.as_native(x, stream.storage, stream.name)
        shape = element_shape(tuple(x.shape), stream.storage, shape, stream.name)
        if self._is_scaled:
            scale = TENSORS.as_scale(scale, shape, x)
        if out is None:
            return self._computed(source, scale, shape, seed, offset)
        target = TENSORS.result(out, array_shape(shape, plan.result), plan.result, x)
        target.copy_(self._computed(source, scale, shape, seed, offset))
        return out  # type: ignore[no-any-return]

    def _on_numpy(self, x: Any, out: Any, scale: Any, seed: int, offset: int, shape: Any) -> Any:
        plan = self.plan.shape
        stream = plan.streams[0]
        source = as_numpy(x, stream.storage, stream.name)
        shape = element_shape(source.shape, stream.storage, shape, stream.name)
        target = result_array(out, array_shape(shape, plan.result), plan.result)
        scale = _lent(as_scale(scale, shape)) if self._is_scaled else None
        result = self._computed(_lent(source), scale, shape, seed, offset).numpy()
        target[...] = result.view(target.dtype)
        return target if out is None else out

    def _computed(self, source: Tensor, scale: Any, shape: tuple[int, ...], seed: int, offset: int) -> Tensor:
        """The result for elements of this shape, in a new tensor."""
        first, *others = self._program.names
        streams: dict[str, Halves] = {first: words(source, self.plan.shape.streams[0].storage, shape)}
        for name in others:
            if name == RANDOM and self._draws is not None:
                streams[name] = self._draws.fields(seed, offset, shape, source.device), None
            else:
                streams[name] = scale.view(torch.int32), None
        outputs = self._program(streams, source.device)
        return stored(outputs, self.plan.shape.result, shape)


def _lent(array: Array) -> Tensor:
    """A numpy array as a tensor; copied, as it may be read-only."""
    return torch.from_numpy(np.array(array))
