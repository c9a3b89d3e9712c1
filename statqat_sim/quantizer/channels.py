"""Granularity: one scale for a whole array, or one for each of its channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array, Floats
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer.base import checked_histogram, cpu_data, reduced_axes, scaled_format
from statqat_sim.quantizer.data import Data, Elements
from statqat_sim.quantizer.minmax import chosen_minmax, fitted_minmax
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.representable import LARGEST, Scales
from statqat_sim.quantizer.task import Task
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat

Choice: TypeAlias = Callable[[Task], float]
"""A function that chooses the scale of one task."""


@dataclass(frozen=True, slots=True)
class Channels:
    """An array as rows with one scale each.

    Args:
        rows: the data, float32, shape (channels, length); may have NaN and Inf.
        weights: the weights, in the same shape, or None.
        minmax: MinMax's scale of each row, and its zero-points if these are chosen, too.
    """

    rows: NDArray[np.float32]
    weights: Floats | None
    minmax: Scale

    @classmethod
    def of(
        cls,
        x: Any,
        format: NumberFormat,
        channel_axis: int | None,
        objective: Objective,
        scales: Scales,
        zero_point: bool,
    ) -> Channels:
        """The channels of a quantizer's arguments.

        Raises:
            TypeError: if x is not real numbers or is on a device, or the format is a block format.
            ValueError: if x has no such axis, or the weights do not fit.
            UnsupportedError: for zero-points if the format does not support them.
        """
        x, format = cpu_data(x), scaled_format(format)
        axes = reduced_axes(x.ndim, channel_axis)
        minmax = fitted_minmax(x, format, axes, scales, zero_point)
        weights = objective.weights_of(x.shape)
        rows = by_channel(_as_float32(x), channel_axis)
        weight_rows = None if weights is None else by_channel(weights, channel_axis)
        return cls(rows, weight_rows, minmax)

    def choose(self, choice: Choice, format: NumberFormat, objective: Objective, scales: Scales) -> Scale:
        """The scale of each row; MinMax's for rows without finite nonzero elements."""
        return _chosen(choice, self._data(), self.minmax, format, objective, scales)

    def _data(self) -> Iterator[Data | None]:
        """The finite elements of each row; None if all are zero."""
        for index, row in enumerate(self.rows):
            finite = np.isfinite(row)
            kept = slice(None) if finite.all() else finite
            values = row[kept]
            weights = None if self.weights is None else self.weights[index][kept]
            yield Elements(values, weights) if values.any() else None


def _as_float32(x: Array) -> NDArray[np.float32]:
    """The elements in float32; finite ones beyond its range become its largest magnitude and stay finite."""
    with np.errstate(all="ignore"):
        narrow: NDArray[np.float32] = x.astype(np.float32, copy=False)
    is_beyond = np.isinf(narrow) & np.isfinite(x) if x.dtype.kind == "f" and x.dtype.itemsize > 4 else np.False_
    return np.where(is_beyond, np.copysign(LARGEST, narrow), narrow) if is_beyond.any() else narrow


def choose_channels(
    choice: Choice, histogram: Histogram, format: NumberFormat, scales: Scales, zero_point: bool
) -> Scale:
    """See `StateQuantizer.choose`."""
    histogram, format = checked_histogram(histogram), scaled_format(format)
    minmax = chosen_minmax(histogram.low, histogram.high, format, scales, zero_point)
    data = (each if each.low.any() or each.high.any() else None for each in histogram.each_channel())
    return _chosen(choice, data, minmax, format, SQUARED, scales)


def _chosen(
    choice: Choice,
    data: Iterable[Data | None],
    minmax: Scale,
    format: NumberFormat,
    objective: Objective,
    scales: Scales,
) -> Scale:
    """The scale of each channel, and its zero-point if MinMax gives zero-points; MinMax's for channels of None."""
    values, points = minmax.value.copy(), None if minmax.zero_point is None else minmax.zero_point.copy()
    for index, each in enumerate(data):
        if each is None:
            continue
        point = None if points is None else int(points.flat[index])
        task = Task(each, format, float(values.flat[index]), point, objective, scales)
        values.flat[index] = scale = choice(task)
        if points is not None:
            points.flat[index] = task.zero_point_of(scale)
    return Scale(values, points)


def by_channel(x: Array, channel_axis: int | None) -> Array:
    """The channels of x as rows, in C order."""
    if channel_axis is None:
        return x.reshape(1, -1)
    moved = np.moveaxis(x, channel_axis, 0)
    return np.ascontiguousarray(moved).reshape(len(moved), -1 if moved.size else 0)
