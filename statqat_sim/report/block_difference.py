"""What two block formats do differently: by which keys, and to a sample of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.codec import Codec
from statqat_sim.report.keys import differing_keys
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import NanInput

SHAPE = (256, 1024)
"""Whole blocks of any format, along the last axis."""

SEED = 0
ZEROS = 2
"""Rows of zeros."""


@dataclass(frozen=True, slots=True)
class Example:
    """An input that becomes two values."""

    place: tuple[int, int]
    x: float
    values: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDifference:
    """All NaN count as one value, 0 and -0 as two; `examples` are the first of `other_values`."""

    formats: tuple[BlockFormat, BlockFormat]
    keys: tuple[tuple[str, Any, Any], ...]
    inputs: int
    other_values: int
    examples: tuple[Example, ...]


def sample(formats: tuple[BlockFormat, BlockFormat]) -> NDArray[np.float32]:
    """Normal values, rows of many magnitudes, two rows of zeros; a NaN and an Inf, where neither format refuses NaN."""
    random = np.random.default_rng(SEED)
    x = random.standard_normal(SHAPE) * np.exp2(random.uniform(-4, 4, (SHAPE[0], 1)))
    x[:ZEROS] = 0
    if all(fmt.element.encode.nan_input is not NanInput.ERROR for fmt in formats):
        x[ZEROS, SHAPE[1] // 4], x[ZEROS, SHAPE[1] // 2] = np.nan, np.inf
    return x.astype(np.float32)


def block_difference(a: BlockFormat, b: BlockFormat, shown: int = 10) -> BlockDifference:
    """Compare two block formats on a sample; stochastic rounding with one seed.

    Raises:
        ValueError: if the caller of one of them must give its scale.
    """
    x = sample((a, b))
    y, z = (Codec(fmt).fake_quantize(x, seed=SEED) for fmt in (a, b))
    differs = (y.view(np.uint32) != z.view(np.uint32)) & ~(np.isnan(y) & np.isnan(z))
    places = [(int(row), int(column)) for row, column in np.argwhere(differs)[:shown]]
    return BlockDifference(
        formats=(a, b),
        keys=tuple((key, one, other) for key, (one, other) in differing_keys((a, b))),
        inputs=x.size,
        other_values=int(np.count_nonzero(differs)),
        examples=tuple(Example(at, float(x[at]), (float(y[at]), float(z[at]))) for at in places),
    )
