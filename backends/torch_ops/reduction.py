"""A reduction of tensors or numpy arrays. torch's compiler can trace it; nothing synchronizes with a device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statqat_sim.arrays import as_numpy
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.backends.torch_ops.largest import Among, largest
from statqat_sim.backends.torch_ops.program import Program
from statqat_sim.backends.torch_ops.streams import words
from statqat_sim.plan.layout import INFINITY, MAGNITUDE
from statqat_sim.plan.ranges import ranges
from statqat_sim.plan.reduction import Reducer, ReductionPlan
from statqat_sim.plan.step import WORD


class TorchReduction:
    """See `runtime.ReductionKernel`. Histograms have all bins, so that no shape depends on data."""

    def __init__(self, plan: ReductionPlan) -> None:
        self.plan = plan
        self._program = Program(plan.element)
        self._limits = [ranges(plan.element)[output].high for output in plan.element.shape.outputs]

    def __reduce__(self) -> tuple[type[TorchReduction], tuple[ReductionPlan]]:
        """Pickle the plan alone: the printed function has no importable name."""
        return TorchReduction, (self.plan,)

    def __call__(self, x: Any, *, rows: int = 1) -> tuple[Any, ...]:
        """See `runtime.ReductionKernel`."""
        storage = self.plan.storage
        if is_tensor(x):
            return self._reduced(TENSORS.as_native(x, storage, "x"), rows)
        source = torch.from_numpy(np.array(as_numpy(x, storage, "x")))  # a copy, as arrays may be read-only
        return tuple(result.numpy() for result in self._reduced(source, rows))

    def _reduced(self, source: Tensor, rows: int) -> tuple[Tensor, ...]:
        shape = rows, math.prod(source.shape) // max(rows, 1)
        stream = words(source, self.plan.storage, shape)
        outputs = self._program({self._program.names[0]: stream}, source.device)
        if self.plan.reducer is Reducer.HISTOGRAM:
            return _histogram(outputs[0].broadcast_to(shape), self.plan)
        return (self._maxima([output.broadcast_to(shape) for output in outputs]),)

    def _maxima(self, outputs: list[Tensor]) -> Tensor:
        """The largest words of each row; 0 for rows without elements."""
        dtype = torch.uint64 if self.plan.in_pairs else torch.uint32
        if 0 in outputs[0].shape:
            return torch.zeros((outputs[0].shape[0], self.plan.width), dtype=dtype, device=outputs[0].device)
        if self.plan.in_pairs:
            pairs = zip(outputs[::2], outputs[1::2], strict=True)
            found = [(high.to(torch.int64) << 32 | low.to(torch.int64) & WORD).amax(1) for low, high in pairs]
        else:
            limited = zip(outputs, self._limits, strict=True)
            found = [largest(each, [1], Among.up_to(limit))[:, 0] for each, limit in limited]
        return torch.stack(found, 1).view(dtype)


def _histogram(elements: Tensor, plan: ReductionPlan) -> tuple[Tensor, Tensor]:
    """The counts and the sums of every bin, int64 of shape (rows, bins)."""
    rows = torch.arange(elements.shape[0], device=elements.device)[:, None] * plan.bins
    places = ((elements >> plan.shift & plan.bins - 1) + rows).reshape(-1)
    rest = torch.where((elements & MAGNITUDE) < INFINITY, elements & (1 << plan.shift) - 1, 0).reshape(-1)
    empty = torch.zeros(elements.shape[0] * plan.bins, dtype=torch.int64, device=elements.device)
    tables = (empty.scatter_add(0, places, each.to(torch.int64)) for each in (torch.ones_like(rest), rest))
    counts, sums = (table.reshape(elements.shape[0], plan.bins) for table in tables)
    return counts, sums
