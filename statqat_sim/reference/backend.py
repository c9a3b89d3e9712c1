"""The interpreter as a backend: slow, and the definition of what the others must give."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import as_numpy, as_scale, in_kind, result_array, separate
from statqat_sim.plan.program import CodecPlan
from statqat_sim.reference.interpret import interpret


@dataclass(frozen=True, slots=True)
class ReferenceKernel:
    """A plan that numpy interprets."""

    plan: CodecPlan

    def __call__(self, x: Any, *, out: Any = None, scale: Any = None) -> Any:
        """See `runtime.Kernel`."""
        shape = self.plan.shape
        source = as_numpy(x, shape.streams[0].storage, shape.streams[0].name)
        target = result_array(out, source.shape, shape.result)
        source = separate(source, target)
        streams = [_words(source)]
        if len(shape.streams) > 1:
            streams.append(_words(np.broadcast_to(as_scale(scale, source.shape), source.shape)))
        target[...] = interpret(self.plan, streams).astype(f"u{target.itemsize}").view(target.dtype)
        return in_kind(target, x) if out is None else out


class ReferenceBackend:
    """Named only: `Codec(fmt, backend="reference")`."""

    name = "reference"

    def available(self) -> str | None:
        return None

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__, "python": platform.python_version()}

    def owns(self, array: object) -> bool:
        return False

    def compile(self, plan: CodecPlan) -> ReferenceKernel:
        return ReferenceKernel(plan)


def _words(array: Any) -> Any:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(array.shape).astype(np.uint32)
