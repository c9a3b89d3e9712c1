"""What a scale makes of the data itself: encoded, decoded, compared."""

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
"""Elements that are quantized together: all buffers fit a core's cache."""


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
    """Of finite values.

    Args:
        x: flat.
        format: what they are encoded in; random bits begin with seed 0.
        scale: what decoded values are multiplied by.
        objective: what is summed.
        weights: flat, one for each value; None: all 1.
        ends: what decoded values are held between; None: the format's own.
    """
    codec, sums = codec_of(format), np.zeros(3)
    with np.errstate(all="ignore"):
        for part in _chunks(x.size):
            given = x[part]
            codes = codec.encode(given / np.float32(scale), seed=0, offset=part.start)
            values = codec.decode(codes) if ends is None else np.clip(codec.decode(codes), *ends)
            wide, y = given.astype(np.float64), (values * np.float32(scale)).astype(np.float64)
            error, weight = objective.power(wide - y), 1.0 if weights is None else weights[part]
            sums += [np.sum(weight * error), np.sum(weight * wide * y), np.sum(weight * y * y)]
    return Measured(*sums.tolist())


@lru_cache(maxsize=64)
def codec_of(format: NumberFormat) -> Codec:
    """A codec that keeps its kernels for all that is measured in a format."""
    return Codec(format)


def _chunks(size: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, size, CHUNK))
