"""The measured error of data at a scale: encoded, decoded, compared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from statqat_sim.codec import Codec
from statqat_sim.quantizer.objective import Objective
from statqat_sim.spec.number import NumberFormat

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
    x: NDArray[np.float32],
    format: NumberFormat,
    scale: float,
    objective: Objective,
    weights: Any = None,
    ends: tuple[float, float] | None = None,
) -> Measured:
    """The sums of finite data quantized at a scale.

    Args:
        x: the data, 1-D.
        format: the format; stochastic rounding uses seed 0.
        scale: the factor of decoded values.
        objective: the error to sum.
        weights: one for each element, 1-D; None: all 1.
        ends: bounds to which decoded values are clipped; None: no clipping.
    """
    codec, sums = codec_of(format), np.zeros(3)
    with np.errstate(all="ignore"):
        for part in chunks(x.size):
            given = x[part]
            codes = codec.encode(given / np.float32(scale), seed=0, offset=part.start)
            values = codec.decode(codes) if ends is None else np.clip(codec.decode(codes), *ends)
            wide, y = given.astype(np.float64), (values * np.float32(scale)).astype(np.float64)
            error, weight = objective.power(wide - y), 1.0 if weights is None else weights[part]
            sums += [np.sum(weight * error), np.sum(weight * wide * y), np.sum(weight * y * y)]
    return Measured(*sums.tolist())


@lru_cache(maxsize=64)
def codec_of(format: NumberFormat) -> Codec:
    """The codec of a format, cached with its kernels."""
    return Codec(format)


def chunks(size: int) -> Iterator[slice]:
    """Slices of `CHUNK` elements that cover an array of this size."""
    return (slice(start, start + CHUNK) for start in range(0, size, CHUNK))
