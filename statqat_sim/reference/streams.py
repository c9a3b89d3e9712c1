"""Inputs of the interpreter: arrays as words, and the random bits of elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.plan.philox import BLOCK_BITS, philox
from statqat_sim.plan.program import Packed, Storage
from statqat_sim.reference.interpret import interpret

Words = NDArray[Any]


def words(array: NDArray[Any]) -> Words:
    """The bits of an array's elements, as unsigned integers of 32 or 64 bits."""
    bits = np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(array.shape)
    return bits if bits.itemsize == 8 else bits.astype(np.uint32)


def random_fields(seed: int, offset: int, shape: tuple[int, ...], storage: Storage | Packed) -> Words:
    """The random field of each element of an array of this shape; the first element has index `offset`."""
    index = offset + np.arange(int(np.prod(shape)), dtype=np.uint64)
    per_block = BLOCK_BITS // storage.bits
    blocks, places = np.unique(index // np.uint64(per_block), return_inverse=True)
    drawn = interpret(philox(), [blocks, np.full(1, seed, np.uint64)])
    fields = drawn.astype("<u4").view(f"<u{storage.bits // 8}").reshape(-1, per_block)
    chosen: Words = fields[places.reshape(-1), (index % np.uint64(per_block)).astype(np.int64)]
    return chosen.astype(np.uint32).reshape(shape)
