"""A block plan on tensors, or on numpy arrays with numpy results."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.backends.torch_ops import parts
from statqat_sim.backends.torch_ops.block_stages import Found, Programs
from statqat_sim.backends.torch_ops.dense import pack
from statqat_sim.backends.torch_ops.grids import tiling_of
from statqat_sim.backends.torch_ops.streams import narrowed
from statqat_sim.backends.torch_ops.vectors import loops_matter
from statqat_sim.geometry import Geometry
from statqat_sim.plan.block import CODES, ELEMENT, BlockPlan, Stored
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import Packed


class TorchBlockKernel:
    """See `runtime.BlockKernel`. Results carry no gradients; torch's compiler can trace it."""

    def __init__(self, plan: BlockPlan) -> None:
        self.plan = plan
        self._programs = Programs(plan)

    def __reduce__(self) -> tuple[type[TorchBlockKernel], tuple[BlockPlan]]:
        """Pickle the plan alone: the printed functions have no importable names."""
        return TorchBlockKernel, (self.plan,)

    def quantize(
        self,
        x: Any,
        geometry: Geometry,
        *,
        given: Any = None,
        weights: Any = None,
        seed: int = 0,
        offset: int = 0,
        packed: Packed | None = None,
    ) -> tuple[Any, tuple[Any, ...]]:
        """See `runtime.BlockKernel`."""
        found = self._found(x, geometry, given, weights, seed, offset)
        codes, storage = found.elements(self._programs.encode), self.plan.encode.shape.result
        if packed is None:
            assert not isinstance(storage, Packed)
            codes = found.tiling.joined(narrowed(codes, storage), ELEMENT).reshape(geometry.shape)
        else:
            rows = found.tiling.joined(codes, ELEMENT).reshape(geometry.shape or (1,))
            codes = pack(rows, packed).to(torch.uint8)
        kept = tuple(_kept(found, one) for one in self.plan.stored)
        return _in_kind(codes, x), tuple(_in_kind(each, x) for each in kept)

    def fake_quantize(
        self,
        x: Any,
        geometry: Geometry,
        *,
        out: Any = None,
        given: Any = None,
        weights: Any = None,
        seed: int = 0,
        offset: int = 0,
    ) -> Any:
        """See `runtime.BlockKernel`."""
        is_plain = given is None and weights is None and self._programs.draws is None
        if is_plain and loops_matter(x):
            return _written(parts.fake_quantized(x.detach(), geometry, self.plan, self._programs), out, x)
        found = self._found(x, geometry, given, weights, seed, offset)
        return _written(found.values(self._programs.fake_quantize), out, x)

    def dequantize(self, codes: Any, stored: tuple[Any, ...], geometry: Geometry, *, out: Any = None) -> Any:
        """See `runtime.BlockKernel`."""
        words = _lent(codes)
        found = Found(tiling_of(geometry, self.plan), words.device)
        found.put(CODES, words, ELEMENT)
        for one, array in zip(self.plan.stored, stored, strict=True):
            found.put(one.result, _lent(array), one.block)
        found.decode(self._programs.decoding)
        return _written(found.values(self._programs.decode), out, codes)

    def _found(self, x: Any, geometry: Geometry, given: Any, weights: Any, seed: int, offset: int) -> Found:
        """The results of all stages."""
        values = _lent(x)
        scales, factors = (None if array is None else _lent(array) for array in (given, weights))
        found = Found(tiling_of(geometry, self.plan), values.device)
        found.put_elements(values, self._programs.stages)
        if self._programs.draws is not None:
            fields = self._programs.draws.fields(seed, offset, geometry.shape, values.device)
            found.put(RANDOM, fields, ELEMENT)
        for stage in self._programs.stages:
            found.do(stage, self._programs.fake_quantize, scales, factors)
        return found


def _kept(found: Found, one: Stored) -> Tensor:
    word = found.tiling.joined(found.known[one.result], one.block)
    return narrowed(word, one.storage).reshape(found.tiling.geometry.scale_shape(one.block))


def _written(values: Tensor, out: Any, like: Any) -> Any:
    """Copy the values to `out`, or return them as a tensor or numpy array, as `like` is."""
    if out is None:
        return _in_kind(values, like)
    if is_tensor(out):
        out.copy_(values)
    else:
        out[...] = values.numpy()
    return out


def _lent(array: Any) -> Tensor:
    """The array as a tensor without gradients; numpy arrays are copied, as they may be read-only."""
    return array.detach() if is_tensor(array) else torch.from_numpy(np.array(array))


def _in_kind(result: Tensor, like: Any) -> Any:
    """A contiguous tensor, as a numpy array if `like` is one."""
    return result.contiguous() if is_tensor(like) else result.contiguous().numpy()
