"""The measured error of data at a scale: encoded, decoded, compared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from statqat_sim.codec import Codec
from statqat_sim.quantizer.data import Elements
from statqat_sim.quantizer.objective import Objective
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import integers, with_any_zero_point

CHUNK = 1 << 17
"""Elements quantized together: all buffers fit a core's cache."""


class Measured(NamedTuple):
    """Sums over the data x and its values y at a scale."""

    error: float
    """Σ w·|x − y|^norm"""
    xy: float
    """Σ w·x·y"""
    yy: float
    """Σ w·y²"""


def measured(
    data: Elements, format: NumberFormat, scale: float, zero_point: int | None, objective: Objective
) -> Measured:
    """The sums of data quantized at a scale.

    Args:
        data: the elements, with their weights.
        format: the format; stochastic rounding uses seed 0.
        scale: the factor of decoded values.
        zero_point: the integer that stands for zero; None: the format's own.
        objective: the error to sum.
    """
    format, ends = (format, None) if zero_point is None else _shifted(format, zero_point)
    codec, sums = codec_of(format), np.zeros(3)
    with np.errstate(all="ignore"):
        for part in chunks(data.values.size):
            given = data.values[part]
            codes = codec.encode(given / np.float32(scale), seed=0, offset=part.start)
            values = codec.decode(codes) if ends is None else np.clip(codec.decode(codes), *ends)
            wide, y = given.astype(np.float64), (values * np.float32(scale)).astype(np.float64)
            error, weight = objective.power(wide - y), 1.0 if data.weights is None else data.weights[part]
            sums += [np.sum(weight * error), np.sum(weight * wide * y), np.sum(weight * y * y)]
    return Measured(*sums.tolist())


def _shifted(format: NumberFormat, zero_point: int) -> tuple[NumberFormat, tuple[int, int]]:
    """A format for all zero-points, so that one codec serves all, and the least and greatest integer with this one."""
    low, high = integers(format).range
    return with_any_zero_point(format), (low - zero_point, high - zero_point)


@lru_cache(maxsize=64)
def codec_of(format: NumberFormat) -> Codec:
    """The codec of a format, cached with its kernels."""
    return Codec(format)


def chunks(size: int) -> Iterator[slice]:
    """Slices of `CHUNK` elements that cover an array of this size."""
    return (slice(start, start + CHUNK) for start in range(0, size, CHUNK))
