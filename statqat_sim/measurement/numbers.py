"""Rows of number formats: data as a matrix with one scale per row, quantized in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.codec import Codec
from statqat_sim.histogram import checked_channel_axis
from statqat_sim.measurement.row import Float32s, Row, Sums
from statqat_sim.quantizer import Quantizer, Scale
from statqat_sim.quantizer.measured import CHUNK
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import with_zero_point


@dataclass(frozen=True, slots=True)
class Channels:
    """Data as a matrix with one scale per row; a single row if all data share one scale."""

    data: Float32s
    per_channel: bool

    @classmethod
    def of(cls, x: Float32s, axis: int | None, tensor: str) -> Channels:
        """One row for each index of the axis; None: one row.

        Raises:
            TypeError: if the axis is not an integer.
            ValueError: if there is no such axis.
        """
        if axis is None or x.ndim < 2:
            return cls(x.reshape(1, -1), per_channel=False)
        axis = checked_channel_axis(axis, x.ndim, f"{tensor}: channel_axis")
        length = x.size // max(x.shape[axis], 1)
        return cls(np.moveaxis(x, axis, 0).reshape(x.shape[axis], length), per_channel=True)


@dataclass(frozen=True, slots=True)
class GivenScale:
    """A quantizer that returns the scale the caller gave."""

    scale: Scale

    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """See `Quantizer.fit`; x has one row for each channel."""
        count = self.scale.value.size
        channels = 1 if channel_axis is None else len(x)
        if count not in (1, channels):
            one_each = "with per='channel' one for each channel of data with two axes or more"
            told = f"a whole tensor; allowed: 1, or {one_each}"
            if channel_axis is not None:
                told = f"{channels} channels; allowed: 1 or {channels}"
            raise ValueError(f"{count} scales for {told}")
        shape, points = (channels, 1), self.scale.zero_point
        value = np.broadcast_to(self.scale.value.reshape(-1, 1), shape)
        return Scale(value, None if points is None else np.broadcast_to(points.reshape(-1, 1), shape))


def number_row(
    tensor: str, channels: Channels, codec: Codec, format: NumberFormat, chooser: tuple[str, Quantizer], seed: int
) -> Row:
    """The row of a tensor in a number format; `chooser`: the row's name of the quantizer, and the quantizer."""
    x, (name, quantizer) = channels.data, chooser
    scale = quantizer.fit(x, format, channel_axis=0 if channels.per_channel else None)
    sums = Sums(format.bits)
    for shifted, rows in _by_zero_point(scale, format):
        part, scales = x[rows], scale.value[rows]
        used = codec if shifted is format else Codec(shifted)
        for height, width in _chunks(*part.shape):
            _add(sums, part[height, width], scales[height], used, shifted, seed)
    values, points = (_told(each, channels.per_channel) for each in (scale.value, scale.zero_point))
    return sums.row(tensor, format, name, values, x.size, points)


def _told(numbers: NDArray[Any] | None, per_channel: bool) -> Any:
    """Scales or zero-points as the row's `scale` or `zero_point`."""
    if numbers is None:
        return None
    return numbers.ravel().tolist() if per_channel else numbers.item()


def _by_zero_point(scale: Scale, format: NumberFormat) -> Iterator[tuple[NumberFormat, slice | NDArray[np.intp]]]:
    """For each distinct zero-point: the format with it, and the rows that have it."""
    if scale.zero_point is None:
        yield format, slice(None)
        return
    points = scale.zero_point.ravel()
    for point in np.unique(points).tolist():
        yield with_zero_point(format, point), np.flatnonzero(points == point)


def _chunks(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Submatrices of at most `CHUNK` elements that cover a matrix."""
    height = max(CHUNK // max(columns, 1), 1)
    for top in range(0, rows, height):
        for left in range(0, columns, CHUNK):
            yield slice(top, top + height), slice(left, left + CHUNK)


def _add(sums: Sums, x: Float32s, scale: Float32s, codec: Codec, format: NumberFormat, seed: int) -> None:
    """Quantize a chunk and add it to the sums; `scale` broadcasts against it."""
    finite = np.isfinite(x)
    if not finite.all():
        scale = np.broadcast_to(scale, x.shape)[finite]
        x = x[finite]
    if x.size == 0:
        return
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        codes = codec.encode(x / scale, seed=seed, offset=sums.count)
        y = codec.decode(codes) * scale
        wide = scale.astype(np.float64)
        sums.add_clipped(x, _rounded_up(wide * format.min), -_rounded_up(-wide * format.max))
    sums.add(x, y, codes)


def _rounded_up(bounds: NDArray[np.float64]) -> Float32s:
    """Each bound rounded up to float32: comparisons of float32 numbers with it are unchanged."""
    nearest = bounds.astype(np.float32)
    return np.where(nearest < bounds, np.nextafter(nearest, np.float32(np.inf)), nearest)
