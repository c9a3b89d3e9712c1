"""Number formats, which have no scales of their own: each is tried with common scales."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array
from statqat_sim.arrays.inputs import widened
from statqat_sim.codec import Codec
from statqat_sim.identification.given import ENOUGH, SAMPLE, SAMPLER, Given, Values, codec_for, without_signs
from statqat_sim.identification.result import Candidate, Compared
from statqat_sim.layouts import ELEMENTS
from statqat_sim.layouts.bits import row_bytes
from statqat_sim.quantizer import MinMax
from statqat_sim.quantizer.levels import has_ends
from statqat_sim.quantizer.representable import LARGEST
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.number import NumberFormat

MAX_BITS = 8
"""The largest code size, in bits, of the formats that are tried: larger ones take seconds."""

Scales: TypeAlias = NDArray[np.float32] | None
"""Scales in a shape that broadcasts against the original; None: unscaled."""


def number_candidates(given: Given, format: NumberFormat, extremes: Extremes) -> Iterator[Candidate]:
    """A number format with each scale under which it reproduces enough of a sample of the values or codes."""
    if format.bits > MAX_BITS or format.encode.rounding.is_stochastic:
        return
    for name, scale in _given_scales(given) if given.scales else extremes.scales_for(format):
        try:
            if given.values is not None:
                compared = _values_beside(given, given.values, format, scale)
            else:
                compared = None if given.codes is None else _codes_beside(given, given.codes, format, scale)
        except ValueError:  # the format refuses NaN
            continue
        if compared is not None:
            yield Candidate(format, name, (compared,))


def _first(scale: Scales, count: int) -> Scales:
    """The scales of the first indices of axis 0."""
    return scale if scale is None or len(scale) == 1 else scale[:count]


# --- values ------------------------------------------------------------------------------------------------------


def _values_beside(given: Given, values: Values, format: NumberFormat, scale: Scales) -> Compared | None:
    """The comparison of all values; None if a sample shows that the format does not fit."""
    if not _are_among(format, values, scale):
        return None
    sample = given.sample
    if not values.begin_like(Codec(format, SAMPLER).fake_quantize(sample, scale=_first(scale, len(sample)))):
        return None
    return values.beside(codec_for(format, given.x).fake_quantize(given.x, scale=scale))


def _are_among(format: NumberFormat, values: Values, scale: Scales) -> bool:
    """Whether the first values lie on the scaled grid of the format; with several scales, those under the first."""
    length = values.array[0].size if scale is not None and scale.size > 1 else values.array.size
    sample = np.unique(values.array.reshape(-1)[: min(length, SAMPLE)])
    with np.errstate(over="ignore", under="ignore"):
        grid = format.grid().astype(np.float32)
        scaled = grid if scale is None else grid * scale.reshape(-1)[0]
    return bool(np.isin(sample[np.isfinite(sample)], values.rounded(scaled)).all())


# --- codes -------------------------------------------------------------------------------------------------------


def _given_scales(given: Given) -> Iterator[tuple[str, Scales]]:
    """The scales given with codes: one value for the tensor, or one for each index of axis 0."""
    scales, shape = given.scales[0], given.x.shape
    if len(given.scales) == 1 and scales.size in (1, shape[0]):
        for name, values in _values_of(scales):
            yield name, values.reshape(scales.size, *(1,) * (len(shape) - 1))


def _values_of(scales: Array) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Named values of scales: floats as given; 16-bit words, as numpy saves bfloat16, as bfloat16 and as float16."""
    if scales.dtype.kind == "f":
        yield "given", scales
    elif scales.dtype.itemsize == 2:
        words = scales.view(np.uint16)
        yield "given, as bfloat16", widened(words)
        with np.errstate(invalid="ignore"):  # the word may be a signalling NaN
            as_float16 = words.view(np.float16).astype(np.float32)
        yield "given, as float16", as_float16


def _codes_beside(given: Given, codes: Array, format: NumberFormat, scale: Scales) -> Compared | None:
    """The comparison of all codes; None if their number or a sample shows that the format does not fit."""
    *rows, length = given.x.shape
    if codes.size not in (given.x.size, math.prod(rows) * row_bytes(length, format.bits)):
        return None
    is_dense, sample = codes.size != given.x.size, given.sample
    first = _encoded(Codec(format, SAMPLER), sample, _first(scale, len(sample)), is_dense)
    if _elements(codes, first, format, is_dense).share < ENOUGH:
        return None
    return _elements(codes, _encoded(codec_for(format, given.x), given.x, scale, is_dense), format, is_dense)


def _encoded(codec: Codec, x: NDArray[np.float32], scale: Scales, is_dense: bool) -> Array:
    with np.errstate(all="ignore"):
        codes: Array = codec.encode(x if scale is None else x / scale, packed=is_dense)
    return codes


def _elements(codes: Array, ours: Array, format: NumberFormat, is_dense: bool) -> Compared:
    """The comparison of the format's codes (or dense bytes) `ours` with as many of the first given ones."""
    first = codes.reshape(-1)[: ours.size]
    return Compared.of(ELEMENTS, without_signs(first, BYTE if is_dense else format.bits), ours)


@dataclass(frozen=True, slots=True)
class Extremes:
    """The minimum and maximum of zero and the original's finite values, from which scales are chosen."""

    rank: int
    """The number of axes of the original."""

    tensor: NDArray[np.float32]
    """Minimum and maximum of the whole tensor, shape (1, 2)."""

    channels: NDArray[np.float32] | None
    """Minimum and maximum of each of the n indices of axis 0, shape (n, 2); None for one axis."""

    @classmethod
    def of(cls, x: NDArray[np.float32]) -> Extremes:
        rows = x.reshape(1, -1) if x.ndim < 2 else x.reshape(len(x), -1)
        finite = np.isfinite(rows)
        ends = [reduce(axis=1, initial=0, where=finite) for reduce in (rows.min, rows.max)]
        each = np.stack(ends, axis=1).astype(np.float32)
        whole = np.array([[each[:, 0].min(initial=0), each[:, 1].max(initial=0)]], np.float32)
        return cls(x.ndim, whole, each if x.ndim > 1 else None)

    def scales_for(self, format: NumberFormat) -> Iterator[tuple[str, Scales]]:
        """The scales to try, each after its name, in shapes that broadcast against the original."""
        yield "1", None
        if not has_ends(format):
            return
        for extent, ends in (("tensor", self.tensor), ("channel", self.channels)):
            if ends is None:
                continue
            shape = (len(ends), *(1,) * (self.rank - 1))
            yield f"minmax, {extent}", MinMax().fit(ends, format, channel_axis=0).value.reshape(shape)
            if 0 < format.max <= LARGEST:
                amax = np.abs(ends).max(axis=1)
                with np.errstate(over="ignore"):
                    absmax = np.where(amax > 0, amax / np.float32(format.max), np.float32(1))
                if np.isfinite(absmax).all():
                    yield f"absmax, {extent}", absmax.reshape(shape)
