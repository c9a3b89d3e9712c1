"""The scales of channels while they are chosen one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from statqat_sim.quantizer.affine_task import AffineTask
from statqat_sim.quantizer.task import Task
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat

Choice: TypeAlias = Callable[[Task], float]
"""A function that chooses the scale of one task."""


class Chosen:
    """Scales and optional zero-points: MinMax's, until others are chosen."""

    def __init__(self, minmax: Scale) -> None:
        self._shape = minmax.value.shape
        self._values = minmax.value.reshape(-1).copy()
        self._points = None if minmax.zero_point is None else minmax.zero_point.reshape(-1).copy()

    def choose(self, index: int, choice: Choice, format: NumberFormat, **data: Any) -> None:
        """Choose the scale of one channel; `data`: further fields of its task."""
        minmax = float(self._values[index])
        if self._points is None:
            self._values[index] = choice(Task(format, minmax, **data))
            return
        task = AffineTask(format, minmax, **data, zero_point=int(self._points[index]))
        self._values[index] = scale = choice(task)
        self._points[index] = task.zero_point_of(scale)

    def scale(self) -> Scale:
        """The scales of all channels."""
        points = None if self._points is None else self._points.reshape(self._shape)
        return Scale(self._values.reshape(self._shape), points)
