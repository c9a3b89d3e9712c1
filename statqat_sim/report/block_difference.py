"""How two block formats differ: in their keys, and in their values of a sample of inputs."""

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
"""The sample's shape; powers of two, so that blocks of common sizes are whole."""

SEED = 0
ZEROS = 2
"""The number of rows of zeros."""


@dataclass(frozen=True, slots=True)
class Example:
    """An input with different values in the two formats."""

    place: tuple[int, int]
    x: float
    values: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDifference:
    """Differences of two block formats. All NaN are equal, 0 and -0 differ.

    Args:
        formats: the two formats.
        keys: the keys that differ, each with the value in either format.
        inputs: the size of the sample.
        other_values: the number of inputs with different values.
        examples: the first of these inputs.
    """

    formats: tuple[BlockFormat, BlockFormat]
    keys: tuple[tuple[str, Any, Any], ...]
    inputs: int
    other_values: int
    examples: tuple[Example, ...]


def sample(formats: tuple[BlockFormat, BlockFormat]) -> NDArray[np.float32]:
    """Normal values in rows of various magnitudes, two rows of zeros, and a NaN and an Inf if both formats take NaN."""
    random = np.random.default_rng(SEED)
    x = random.standard_normal(SHAPE) * np.exp2(random.uniform(-4, 4, (SHAPE[0], 1)))
    x[:ZEROS] = 0
    if all(fmt.element.encode.nan_input is not NanInput.ERROR for fmt in formats):
        x[ZEROS, SHAPE[1] // 4], x[ZEROS, SHAPE[1] // 2] = np.nan, np.inf
    return x.astype(np.float32)


def block_difference(a: BlockFormat, b: BlockFormat, shown: int = 10) -> BlockDifference:
    """Compare two block formats on a sample; stochastic rounding uses one seed for both.

    Raises:
        ValueError: if a format requires the caller to give its scale.
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
