"""Random blocks of ggml."""

from __future__ import annotations

import numpy as np
from block_compare import Array

NAN_SCALE = 0x7F


def random_blocks(name: str, count: int, size: int) -> Array:
    """Any bytes, but for the scales of NVFP4: 0x7F is NaN here, and a number in ggml, as is 0xFF."""
    octets = np.random.default_rng(0).integers(0, 256, (count, size), dtype=np.uint8)
    if name == "gguf_nvfp4":
        scales = octets[:, :4]
        scales[scales & 0x7F == NAN_SCALE] = 0x80
    return octets


def written_blocks(name: str, count: int, size: int) -> Array:
    """Bytes that ggml writes: no sign of NVFP4's scales, and five digits of base 3 in a byte of TQ1_0."""
    octets = random_blocks(name, count, size)
    if name == "gguf_nvfp4":
        octets[:, :4] &= 0x7F
    if name == "gguf_tq1_0":
        octets[:, :48] = ternary(octets[:, :48] % 243)
        octets[:, 48:52] = ternary(octets[:, 48:52] % 81 * 3)
    return octets


def ternary(number: Array) -> Array:
    """The bytes that stand for numbers from 0 to 242."""
    return np.ceil(number * 256.0 / 243.0).astype(np.uint8)
