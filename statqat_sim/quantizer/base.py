"""What every quantizer is."""

from __future__ import annotations

from typing import Any, Protocol

from statqat_sim.histogram import Histogram, checked_channel_axis
from statqat_sim.scale import Scale
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat, checked_format


class Quantizer(Protocol):
    """Chooses scales for data and a format; never encodes."""

    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """The scale of x: one for all of it, or one for each slice along `channel_axis`.

        Args:
            x: an array or CPU tensor of real numbers, any shape; for what lies on a device there is
                `StateQuantizer.choose`, and MinMax takes it.
            format: the format that x / scale is to be encoded in.
            channel_axis: the axis that keeps its own scales; negative counts from the end.

        Returns:
            Scales of x's rank, with size 1 along every axis but `channel_axis`. NaN and Inf in x are ignored; where
            nothing else is left, or nothing but zeros, the scale is 1. Zero-points, in the same shape, where the
            quantizer has an option `zero_point` that is set; there 0.

        Raises:
            TypeError: if x is not an array of real numbers in the CPU's memory, the format is a block format, or the
                axis is no integer.
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
            TypeError: if the format is a block format, or `histogram` none.
        """


def scaled_format(format: object) -> NumberFormat:
    """A format whose scales a quantizer can choose.

    Raises:
        TypeError: if it is a block format, or none.
    """
    if isinstance(format, BlockFormat):
        raise TypeError(f"{format.name} is a block format, which finds its own scales; allowed: a NumberFormat")
    return checked_format(format)


def checked_histogram(histogram: object) -> Histogram:
    """What `choose` takes.

    Raises:
        TypeError: if it is something else.
    """
    if not isinstance(histogram, Histogram):
        told = f"histogram is a {type(histogram).__name__}"
        raise TypeError(f"{told}; allowed: a Histogram, as Histogram.of(x) gives it, or fit(x, format)")
    return histogram


def reduced_axes(rank: int, channel_axis: int | None) -> tuple[int, ...]:
    """The axes that share a scale.

    Raises:
        TypeError: if `channel_axis` is no integer.
        ValueError: if there is no such axis.
    """
    if channel_axis is None:
        return tuple(range(rank))
    kept = checked_channel_axis(channel_axis, rank)
    return tuple(axis for axis in range(rank) if axis != kept)
