"""Granularity: one choice for all of an array, or one for each of its channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array, real_array
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer.base import Scale, reduced_axes, scaled_format
from statqat_sim.quantizer.levels import Floats
from statqat_sim.quantizer.minmax import LARGEST, MinMax, minmax_scales
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.representable import FLOAT32_SCALES, Scales
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

Choice: TypeAlias = Callable[[Task], float]
"""Chooses one scale."""


@dataclass(frozen=True, slots=True)
class Channels:
    """An array as rows that have a scale each.

    Args:
        rows: float32, not all of them finite.
        weights: in the same shape.
        shape: of the scales.
        minmax: MinMax's scales, one for each row.
    """

    rows: NDArray[np.float32]
    weights: Floats | None
    shape: tuple[int, ...]
    minmax: NDArray[np.float32]

    @classmethod
    def of(
        cls, x: Any, format: NumberFormat, channel_axis: int | None, objective: Objective, scales: Scales
    ) -> Channels:
        """Of data as a quantizer is given them.

        Raises:
            TypeError: if x is not real numbers, or the format is a block format.
            ValueError: if x has no such axis, or the weights do not fit.
        """
        x, format = real_array(x, "x"), scaled_format(format)
        axes = reduced_axes(x.ndim, channel_axis)
        minmax = minmax_scales(x, format, axes, scales)
        weights = objective.weights_of(x.shape)
        with np.errstate(over="ignore"):
            narrow = np.clip(x, -LARGEST, LARGEST) if x.dtype == np.float64 else x
            rows = by_channel(narrow.astype(np.float32, copy=False), channel_axis)
        weight_rows = None if weights is None else by_channel(weights, channel_axis)
        return cls(rows, weight_rows, minmax.shape, minmax.reshape(-1))

    def choose(self, choice: Choice, format: NumberFormat, objective: Objective, scales: Scales) -> Scale:
        """One scale for each row; MinMax's where nothing but zeros is finite."""
        chosen = self.minmax.copy()
        for index, row in enumerate(self.rows):
            finite = np.isfinite(row)
            is_whole = bool(finite.all())
            values = row if is_whole else row[finite]
            if not values.any():
                continue
            weights = self.weights
            if weights is not None:
                weights = weights[index] if is_whole else weights[index][finite]
            chosen[index] = choice(Task(format, float(chosen[index]), None, values, objective, weights, scales))
        return Scale(chosen.reshape(self.shape))


def fit_channels(
    choice: Choice,
    x: Any,
    format: NumberFormat,
    channel_axis: int | None,
    objective: Objective = SQUARED,
    scales: Scales = FLOAT32_SCALES,
) -> Scale:
    """See `Quantizer.fit`."""
    return Channels.of(x, format, channel_axis, objective, scales).choose(choice, format, objective, scales)


def choose_channels(
    choice: Choice, histogram: Histogram, format: NumberFormat, scales: Scales = FLOAT32_SCALES
) -> Scale:
    """See `StateQuantizer.choose`."""
    format = scaled_format(format)
    minmax = scales.at_least(MinMax().choose(histogram, format).value)
    chosen = minmax.copy()
    for index, channel in enumerate(histogram.each_channel()):
        if channel.low.any() or channel.high.any():
            chosen[index] = choice(Task(format, float(minmax[index]), channel, scales=scales))
    return Scale(chosen)


def by_channel(x: Array, channel_axis: int | None) -> Array:
    """The channels of x as rows, in C order."""
    if channel_axis is None:
        return x.reshape(1, -1)
    moved = np.moveaxis(x, channel_axis, 0)
    return np.ascontiguousarray(moved).reshape(len(moved), -1 if moved.size else 0)
