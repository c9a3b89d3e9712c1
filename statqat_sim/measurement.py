"""What formats make of data: one row of numbers for each tensor, format and quantizer."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import real_array
from statqat_sim.codec import Codec
from statqat_sim.metrics import decibels
from statqat_sim.quantizer import Quantizer, Scale, quantizer_named
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.number import NumberFormat

CHUNK = 1 << 17
"""Elements that are quantized together: all of a chunk's buffers fit a core's cache."""

GIVEN = "given"
"""The quantizer of rows whose scale the caller gave."""

AnyFormat: TypeAlias = str | os.PathLike[str] | NumberFormat
Per: TypeAlias = Literal["tensor", "channel"]
Float32s: TypeAlias = NDArray[np.float32]


class Row(TypedDict):
    """One tensor in one format. JSON-ready: None stands for every number that is undefined, or not finite.

    All but `elements` and `nonfinite` are about the finite inputs.
    """

    tensor: str
    format: str
    quantizer: str
    """The quantizer's name; `given`, where the caller gave the scale."""
    scale: float | list[float]
    """What decoded values are multiplied by; per channel a list, in the order of the channels."""
    sqnr_db: float | None
    """10·log10(Σx² / Σ(x − y)²), in dB; None without any error (then `mse` is 0)."""
    mse: float | None
    """Mean of (x − y)²."""
    max_error: float | None
    """Largest |x − y|."""
    bits_per_element: float
    """Bits of the codes; the float32 scales are not counted."""
    clipped_fraction: float | None
    """Share of inputs outside scale · [min, max] of the format."""
    flushed_fraction: float | None
    """Share of inputs that became zero without being zero."""
    entropy_bits: float | None
    """Entropy of the codes' histogram, in bits per element; None for formats of more than 16 bits."""
    power: float | None
    """Mean of x²."""
    elements: int
    nonfinite: int
    """How many inputs are NaN or Inf."""


def measure(
    x: Any,
    formats: AnyFormat | Iterable[AnyFormat],
    quantizers: str | Quantizer | Iterable[str | Quantizer] = ("minmax",),
    *,
    scale: Any = None,
    per: Per = "tensor",
    channel_axis: int = 0,
    seed: int = 0,
    name: str = "x",
    search: Iterable[str | os.PathLike[str]] = (),
) -> list[Row]:
    """Quantize data, and tell how far the result y = decode(encode(x / scale)) · scale is from it.

    Args:
        x: an array or CPU tensor of real numbers, or a mapping of names to them. What is not float32 is converted to
            float32 first, to nearest even: the error of that is not measured; beyond float32 is non-finite.
        formats: number formats: names, paths of `.yaml` files, or values.
        quantizers: what chooses the scales: names, or values (their rows are named by their `repr`).
        scale: the scale, instead of quantizers': a number, or one number for each channel.
        per: `"tensor"`, or `"channel"`: a scale for each slice along `channel_axis`, for tensors of two or more axes.
        channel_axis: see `per`.
        seed: of the random bits of stochastic rounding; each row begins with the first of them.
        name: what the rows call x, if it is not a mapping.
        search: directories of further formats.

    Returns:
        A row for each tensor, format and quantizer, in this order.

    Raises:
        LookupError: if a format or quantizer is unknown.
        SpecError: if a format's file is wrong.
        TypeError: if x is not real numbers.
        ValueError: if a scale does not fit, or an option has no such value.

    >>> import numpy as np
    >>> rows = measure(np.linspace(-1, 1, 101, dtype=np.float32), ["int4", "int8"])
    >>> [(row["format"], round(row["sqnr_db"], 2)) for row in rows]
    [('int4', 23.05), ('int8', 48.22)]
    """
    if per not in ("tensor", "channel"):
        raise ValueError(f"per is {per!r}; allowed: 'tensor', 'channel'")
    codecs = [Codec(_format(each, search)) for each in _listed(formats, (str, os.PathLike, NumberFormat))]
    choosers = _choosers(quantizers, scale)
    rows = []
    for tensor, array in (x if isinstance(x, Mapping) else {name: x}).items():
        channels = _channels(_float32(array, tensor), channel_axis if per == "channel" else None, tensor)
        rows += [_row(tensor, channels, codec, *chooser, seed) for codec in codecs for chooser in choosers]
    return rows


def _listed(one_or_more: Any, kinds: tuple[type, ...]) -> list[Any]:
    return [one_or_more] if isinstance(one_or_more, kinds) else list(one_or_more)


def _format(format: AnyFormat, search: Iterable[str | os.PathLike[str]]) -> NumberFormat:
    return format if isinstance(format, NumberFormat) else load_format(format, search)


# --- data ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Channels:
    """Data as rows that have a scale each; one row, if all of it shares one."""

    data: Float32s
    per_channel: bool


def _float32(x: Any, tensor: str) -> Float32s:
    array = real_array(x, tensor)
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def _channels(x: Float32s, axis: int | None, tensor: str) -> _Channels:
    if axis is None or x.ndim < 2:
        return _Channels(x.reshape(1, -1), per_channel=False)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{tensor}: channel_axis is {axis}; allowed: {-x.ndim} to {x.ndim - 1} for shape {x.shape}")
    length = x.size // max(x.shape[axis], 1)
    return _Channels(np.moveaxis(x, axis, 0).reshape(x.shape[axis], length), per_channel=True)


# --- scales ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """The quantizer that gives what it was given."""

    scale: Scale

    def fit(self, x: Any, fmt: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """See `Quantizer.fit`."""
        count = self.scale.value.size
        channels = 1 if channel_axis is None else len(x)
        if count not in (1, channels):
            raise ValueError(f"{count} scales for {channels} channels; allowed: 1 or {channels}")
        return Scale(np.broadcast_to(self.scale.value.reshape(-1, 1), (channels, 1)))


def _choosers(quantizers: Any, scale: Any) -> list[tuple[str, Quantizer]]:
    """Quantizers and what their rows call them."""
    if scale is not None:
        return [(GIVEN, _Given(Scale(np.asarray(scale))))]
    listed = [quantizers] if hasattr(quantizers, "fit") else _listed(quantizers, (str,))
    return [(each, quantizer_named(each)) if isinstance(each, str) else (repr(each), each) for each in listed]


# --- one row ---------------------------------------------------------------------------------------------------


def _row(tensor: str, channels: _Channels, codec: Codec, quantizer: str, chooser: Quantizer, seed: int) -> Row:
    x, fmt = channels.data, codec.format
    scales = np.asarray(chooser.fit(x, fmt, channel_axis=0 if channels.per_channel else None))
    sums = _Sums(codec, seed)
    for rows, columns in _chunks(*x.shape):
        sums.add(x[rows, columns], scales[rows])
    return {
        "tensor": tensor,
        "format": fmt.name,
        "quantizer": quantizer,
        "scale": scales.ravel().tolist() if channels.per_channel else float(scales[0, 0]),
        "sqnr_db": _finite(decibels(sums.power, sums.noise)),
        "mse": sums.share(sums.noise),
        "max_error": _finite(sums.max_error) if sums.count else None,
        "bits_per_element": float(fmt.bits),
        "clipped_fraction": sums.share(sums.clipped),
        "flushed_fraction": sums.share(sums.flushed),
        "entropy_bits": sums.entropy_bits(),
        "power": sums.share(sums.power),
        "elements": x.size,
        "nonfinite": x.size - sums.count,
    }


def _chunks(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Pieces of at most `CHUNK` elements that cover a matrix."""
    height = max(CHUNK // max(columns, 1), 1)
    for top in range(0, rows, height):
        for left in range(0, columns, CHUNK):
            yield slice(top, top + height), slice(left, left + CHUNK)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


class _Sums:
    """What is counted and summed over the finite inputs of one row; sums in float64."""

    def __init__(self, codec: Codec, seed: int) -> None:
        self.codec = codec
        self.seed = seed
        self.count = self.clipped = self.flushed = 0
        self.noise = self.power = self.max_error = 0.0
        countable = codec.format.bits <= MAX_TABLE_BITS
        self._histogram = np.zeros(1 << codec.format.bits, np.int64) if countable else None

    def add(self, x: Float32s, scale: Float32s) -> None:
        """Quantize a chunk; `scale` broadcasts against it."""
        finite = np.isfinite(x)
        if not finite.all():
            scale = np.broadcast_to(scale, x.shape)[finite]
            x = x[finite]
        if x.size == 0:
            return
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            codes = self.codec.encode(x / scale, seed=self.seed, offset=self.count)
            y = self.codec.decode(codes) * scale
            self._compare(x, y)
            self._place(x, y, scale)
        if self._histogram is not None:
            self._histogram += np.bincount(codes.reshape(-1), minlength=self._histogram.size)

    def _compare(self, x: Float32s, y: Float32s) -> None:
        squares = np.subtract(x, y, dtype=np.float64)
        np.square(squares, out=squares)
        self.count += x.size
        self.noise += float(squares.sum())
        # the root of a rounded square is the number itself, unless the square over- or underflows
        self.max_error = float(np.maximum(self.max_error, np.sqrt(squares.max())))
        self.power += float(np.square(x, dtype=np.float64, out=squares).sum())

    def _place(self, x: Float32s, y: Float32s, scale: Float32s) -> None:
        wide, fmt = scale.astype(np.float64), self.codec.format
        low, high = _rounded_up(wide * fmt.min), -_rounded_up(-wide * fmt.max)
        self.clipped += int(np.count_nonzero((x < low) | (x > high)))
        self.flushed += int(np.count_nonzero((y == 0) & (x != 0)))

    def share(self, total: float) -> float | None:
        """A total per finite input."""
        return _finite(total / self.count) if self.count else None

    def entropy_bits(self) -> float | None:
        """-Σ p·log2(p) of the codes."""
        if self._histogram is None or self.count == 0:
            return None
        p = self._histogram[self._histogram > 0] / self.count
        return float(np.sum(p * -np.log2(p)))


def _rounded_up(bounds: NDArray[np.float64]) -> Float32s:
    """The least float32 that is not below each bound: no float32 lies between them."""
    nearest = bounds.astype(np.float32)
    return np.where(nearest < bounds, np.nextafter(nearest, np.float32(np.inf)), nearest)
