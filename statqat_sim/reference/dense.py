"""Dense codes in numpy, bit by bit: the reference for the kernels' packing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.plan.program import Packed

Bytes = NDArray[np.uint8]


def pack(codes: NDArray[Any], packed: Packed) -> Bytes:
    """Codes of shape (..., n) -> bytes of shape (..., ceil(n·bits/8))."""
    order = _order(packed)
    bits = codes[..., None] >> np.arange(packed.bits, dtype=codes.dtype) & 1
    bits = bits[..., ::-1] if packed.big_endian else bits
    rows = bits.astype(np.uint8).reshape(*codes.shape[:-1], codes.shape[-1] * packed.bits)
    return np.packbits(rows, axis=-1, bitorder=order)


def unpack(dense: Bytes, packed: Packed, count: int) -> Bytes:
    """Bytes of shape (..., ceil(count·bits/8)) -> codes of shape (..., count)."""
    bits = np.unpackbits(dense, axis=-1, bitorder=_order(packed))[..., : count * packed.bits]
    bits = bits.reshape(*dense.shape[:-1], count, packed.bits)
    bits = bits[..., ::-1] if packed.big_endian else bits
    codes: Bytes = (bits << np.arange(packed.bits, dtype=np.uint8)).sum(axis=-1, dtype=np.uint8)
    return codes


def _order(packed: Packed) -> Any:
    return "big" if packed.big_endian else "little"
