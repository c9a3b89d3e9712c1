"""What every quantizer is, and the scales that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array
from statqat_sim.histogram import Histogram
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat, checked_format


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What decoded values are multiplied by: float32, finite, above zero, in a shape that broadcasts against x.

    `np.asarray(scale)` and `Codec.fake_quantize(x, scale=scale)` read it as an array.

    Args:
        value: one scale or an array of scales, rounded to float32.
        zero_point: the code of zero where it is not fixed; no quantizer chooses one yet.

    Raises:
        ValueError: unless every value is finite and above zero.
    """

    value: NDArray[np.float32]
    zero_point: Array | None = None

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            value = np.array(self.value, np.float32)
        wrong = ~(np.isfinite(value) & (value > 0))
        if wrong.any():
            raise ValueError(f"a scale is {value[wrong][0]}; allowed: finite float32 numbers above zero")
        value.flags.writeable = False
        object.__setattr__(self, "value", value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy or (dtype is not None and np.dtype(dtype) != self.value.dtype):
            return self.value.astype(dtype or np.float32)
        return self.value


class Quantizer(Protocol):
    """Chooses scales for data and a format; never encodes."""

    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """The scale of x: one for all of it, or one for each slice along `channel_axis`.

        Args:
            x: an array or CPU tensor of real numbers, any shape.
            format: the format that x / scale is to be encoded in.
            channel_axis: the axis that keeps its own scales; negative counts from the end.

        Returns:
            Scales of x's rank, with size 1 along every axis but `channel_axis`. NaN and Inf in x are ignored; where
            nothing else is left, or nothing but zeros, the scale is 1.

        Raises:
            TypeError: if x is not an array of real numbers, or the format is a block format.
            ValueError: if x has no such axis.
        """


class StateQuantizer(Quantizer, Protocol):
    """A quantizer that needs no more than the data's histogram: of parts that were merged, or of what came by."""

    def choose(self, histogram: Histogram, format: NumberFormat) -> Scale:
        """The scale of the data that a histogram is of.

        Args:
            histogram: of one tensor, or of its channels.
            format: the format that x / scale is to be encoded in.

        Returns:
            One scale for each channel, shape `(channels,)`, by the errors that the histogram lets expect: where its
            bounds leave open which of two scales is better, there are no data to measure.

        Raises:
            TypeError: if the format is a block format.
        """


def scaled_format(format: object) -> NumberFormat:
    """A format whose scales a quantizer can choose.

    Raises:
        TypeError: if it is a block format, or none.
    """
    if isinstance(format, BlockFormat):
        raise TypeError(f"{format.name} is a block format, which finds its own scales; allowed: a NumberFormat")
    return checked_format(format)


def reduced_axes(rank: int, channel_axis: int | None) -> tuple[int, ...]:
    """The axes that share a scale.

    Raises:
        ValueError: if there is no such `channel_axis`.
    """
    if channel_axis is None:
        return tuple(range(rank))
    if not -rank <= channel_axis < rank:
        allowed = f"{-rank} to {rank - 1}" if rank else "None"
        raise ValueError(f"channel_axis is {channel_axis}, of an array with {rank} axes; allowed: {allowed}")
    return tuple(axis for axis in range(rank) if axis != channel_axis % rank)
