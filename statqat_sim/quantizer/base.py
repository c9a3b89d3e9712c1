"""The protocols of quantizers, and checks of their arguments."""

from __future__ import annotations

from typing import Any, Protocol

from statqat_sim.arrays import Array, real_array
from statqat_sim.errors import of_type
from statqat_sim.histogram import Histogram, checked_channel_axis, lies_elsewhere
from statqat_sim.scale import Scale
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat, checked_format


class Quantizer(Protocol):
    """Chooses scales for data and a format; never encodes."""

    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """The scale of x: one for all of it, or one for each slice along `channel_axis`.

        Args:
            x: an array or CPU tensor of real numbers, any shape. MinMax also takes arrays on devices; the others have
                `StateQuantizer.choose` for them.
            format: the format in which x / scale is to be encoded.
            channel_axis: the axis whose indices each get a scale; negative counts from the end.

        Returns:
            Scales of x's rank, with size 1 along every axis but `channel_axis`. NaN and Inf in x are ignored; without
            any other nonzero elements the scale is 1 and the zero-point 0. Zero-points, in the same shape, are chosen
            if the quantizer has an option `zero_point` that is set.

        Raises:
            TypeError: if x is not an array of real numbers in the CPU's memory, the format is a block format, or the
                axis is not an integer.
            ValueError: if x has no such axis.
        """


class StateQuantizer(Quantizer, Protocol):
    """A quantizer that needs only the data's histogram, which may be merged from parts or from a stream."""

    def choose(self, histogram: Histogram, format: NumberFormat) -> Scale:
        """The scale of the data in a histogram.

        Args:
            histogram: the histogram of one tensor, or of its channels.
            format: the format in which x / scale is to be encoded.

        Returns:
            One scale for each channel, shape `(channels,)`. If the histogram's bounds do not decide which of two scales
            is better, its estimates do, since there are no data to measure.

        Raises:
            TypeError: if the format is a block format, or `histogram` is not a Histogram.
        """


def scaled_format(format: object) -> NumberFormat:
    """The format, checked to be a number format, whose scales a quantizer can choose.

    Raises:
        TypeError: if it is a block format, or not a format.
    """
    if isinstance(format, BlockFormat):
        raise TypeError(f"{format.name} is a block format, which finds its own scales; allowed: a NumberFormat")
    return checked_format(format)


def cpu_data(x: Any) -> Array:
    """The argument of `fit` as a numpy array; nothing is copied from a device.

    Raises:
        TypeError: if x is not real numbers, or not in the CPU's memory.
    """
    if lies_elsewhere(x):
        where = getattr(x, "device", "a device")
        raise TypeError(
            f"x is on {where}; allowed: arrays in the CPU's memory, or choose(Histogram.of(x), format), which counts x "
            "where it lies"
        )
    return real_array(x, "x")


def checked_histogram(histogram: object) -> Histogram:
    """The argument of `choose`, checked to be a Histogram.

    Raises:
        TypeError: if it is something else.
    """
    if not isinstance(histogram, Histogram):
        told = f"histogram is {of_type(histogram)}"
        raise TypeError(f"{told}; allowed: a Histogram, as Histogram.of(x) gives it, or fit(x, format)")
    return histogram


def reduced_axes(rank: int, channel_axis: int | None) -> tuple[int, ...]:
    """The axes that share a scale.

    Raises:
        TypeError: if `channel_axis` is not an integer.
        ValueError: if there is no such axis.
    """
    if channel_axis is None:
        return tuple(range(rank))
    kept = checked_channel_axis(channel_axis, rank)
    return tuple(axis for axis in range(rank) if axis != kept)
