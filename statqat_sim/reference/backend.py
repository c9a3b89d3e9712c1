"""The interpreter as a backend: slow; its results define those of all others."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import CPU, Array, ArrayLibrary, as_numpy, as_scale, in_kind, result_array, separate
from statqat_sim.packing import array_shape, element_shape
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan, Packed, Storage
from statqat_sim.plan.reduction import ReductionPlan
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.reference.dense import pack, unpack
from statqat_sim.reference.interpret import interpret
from statqat_sim.reference.reduction import reduced
from statqat_sim.reference.streams import random_fields, words


@dataclass(frozen=True, slots=True)
class ReferenceKernel:
    """A plan that numpy interprets."""

    plan: CodecPlan

    def __call__(
        self, x: Any, *, out: Any = None, scale: Any = None, seed: int = 0, offset: int = 0, shape: Any = None
    ) -> Any:
        """See `runtime.Kernel`."""
        plan = self.plan.shape
        stream = plan.streams[0]
        source = as_numpy(x, stream.storage, stream.name)
        shape = element_shape(source.shape, stream.storage, shape, stream.name)
        target = result_array(out, array_shape(shape, plan.result), plan.result)
        streams = [_elements(separate(source, target), stream.storage, shape)]
        for other in plan.streams[1:]:
            if other.name == RANDOM:
                streams.append(random_fields(seed, offset, shape, other.storage))
            else:
                streams.append(words(np.broadcast_to(as_scale(scale, shape), shape)))
        target[...] = _stored(interpret(self.plan, streams), plan.result, target)
        return in_kind(target, x) if out is None else out


@dataclass(frozen=True, slots=True)
class ReferenceReduction:
    """A reduction that numpy executes."""

    plan: ReductionPlan

    def __call__(self, x: Any, *, rows: int = 1) -> tuple[Array, ...]:
        """See `runtime.ReductionKernel`."""
        source = np.ascontiguousarray(as_numpy(x, self.plan.storage, "x"))
        return reduced(self.plan, words(source).reshape(rows, source.size // max(rows, 1)))


class ReferenceBackend:
    """Used only when named: `Codec(fmt, backend="reference")`."""

    name = "reference"

    def available(self) -> str | None:
        return None

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__, "python": platform.python_version()}

    def owns(self, array: object) -> bool:
        return False

    def library(self, array: object) -> ArrayLibrary:
        return CPU

    def compile(self, plan: CodecPlan) -> ReferenceKernel:
        return ReferenceKernel(plan)

    def compile_block(self, plan: BlockPlan) -> ReferenceBlockKernel:
        return ReferenceBlockKernel(plan)

    def compile_reduction(self, plan: ReductionPlan) -> ReferenceReduction:
        return ReferenceReduction(plan)


def _elements(array: Array, storage: Storage | Packed, shape: tuple[int, ...]) -> Array:
    """A stream's elements as unsigned integers."""
    if not isinstance(storage, Packed):
        return words(array).reshape(shape)
    flat = array.reshape(array_shape(shape or (1,), storage))
    return unpack(flat, storage, (shape or (1,))[-1]).astype(np.uint32).reshape(shape)


def _stored(results: Array, storage: Storage | Packed, target: Array) -> Array:
    """The interpreter's results as `target` stores them."""
    if isinstance(storage, Packed):
        return pack(np.atleast_1d(results), storage)
    if results.ndim > target.ndim:
        return results.view(target.dtype)[..., 0]
    return results.astype(f"u{target.itemsize}").view(target.dtype)
