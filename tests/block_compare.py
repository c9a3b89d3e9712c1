"""What statqat_sim makes of arrays, by the names that other software's results have, and where the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.codec import Codec
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Whole

Array: TypeAlias = NDArray[Any]


def quantized(format: BlockFormat, x: Array) -> QuantizedTensor:
    q = Codec(format, "reference").quantize(x)
    assert isinstance(q, QuantizedTensor)
    return q


def dequantized(q: QuantizedTensor) -> Array:
    return np.asarray(Codec(q.format, "reference").dequantize(q))


def made(q: QuantizedTensor) -> dict[str, Array]:
    """By the names that `block_libraries` has for them."""
    arrays = q.arrays()
    codes = arrays.pop("elements")
    octets = np.frombuffer(q.pack(), np.uint8)
    return {**arrays, "codes": codes, "elements": q.fields()["elements"], "bytes": octets, "values": dequantized(q)}


def block_of(format: BlockFormat, x: Array) -> int:
    """Elements of an array's innermost blocks that have a scale of their own."""
    block = format.anchor.block
    if block is Whole.CHANNEL:
        return int(x.shape[-1])
    assert isinstance(block, int)
    return block


def differing(ours: Mapping[str, Array], theirs: Mapping[str, Array], blocks: int) -> Any:
    """Which blocks differ in any of the arrays that the library gives."""
    return np.any([_differing(ours[name], theirs[name], blocks) for name in theirs], axis=0)


def _differing(ours: Array, theirs: Array, blocks: int) -> Any:
    assert ours.size == theirs.size
    different = words(ours) != words(theirs)
    if different.size == 1:  # of the whole array
        return np.full(blocks, different[0])
    return different.reshape(blocks, -1).any(axis=-1)


def words(array: Array) -> Array:
    """Codes, or the bits of floats as float64; every NaN has the same. One axis."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind == "u":
        return flat
    return np.where(np.isnan(flat), np.nan, flat).astype(np.float64).view(np.uint64)


def nibbles(octets: Array) -> Array:
    """The 4-bit codes of bytes whose low halves come first."""
    pairs = np.stack([octets & np.uint8(0xF), octets >> np.uint8(4)], axis=-1)
    return pairs.reshape(*octets.shape[:-1], -1)
