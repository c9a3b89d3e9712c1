"""Codes as a string of bits, on any device: code i of width w takes bits i·w to i·w + w - 1, the lowest first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from statqat_sim.layouts.bits import Bytes, pack_bits, row_bytes, unpack_bits
from statqat_sim.spec.base import BYTE


def dense_bytes(count: int, bits: int) -> int:
    """How many bytes so many codes take."""
    return row_bytes(count, bits)


def to_dense(codes: Tensor, bits: int) -> Tensor:
    """The bytes of codes of any shape, in C order, on their device."""
    words = np.from_dlpack(codes.detach().cpu().contiguous().reshape(-1))
    return torch.from_numpy(pack_bits(words, bits).reshape(-1)).clone().to(codes.device)


def from_dense(octets: Tensor, bits: int, shape: tuple[int, ...]) -> Tensor:
    """The codes of this shape whose bytes these are: uint8, uint16 or uint32."""
    count = torch.Size(shape).numel()
    if octets.device.type == "cpu":
        stored: Bytes = np.from_dlpack(octets)  # type: ignore[assignment]
        words = unpack_bits(stored, bits, count)
        return torch.from_numpy(np.ascontiguousarray(words)).reshape(shape)
    return gathered(octets, bits, count).reshape(shape)


def gathered(octets: Tensor, bits: int, count: int) -> Tensor:
    """`from_dense` as torch operations, for devices that numpy does not see: eight codes fill as many bytes as bits.

    Codes have up to 32 bits here, those of packed plans 8, so that no backend's unpacking serves.
    """
    groups, touched = -(-count // BYTE), (bits + 2 * BYTE - 2) // BYTE
    padded = F.pad(octets, (0, groups * bits + touched - len(octets)))
    starts = torch.arange(0, BYTE * bits, bits, device=octets.device)
    rows = padded.as_strided((groups, bits + touched - 1), (bits, 1))
    words = torch.zeros((groups, BYTE), dtype=torch.int64, device=octets.device)
    for place in range(touched):
        words |= rows[:, starts // BYTE + place].to(torch.int64) << (BYTE * place)
    codes = words >> (starts % BYTE) & ((1 << bits) - 1)
    return codes.reshape(-1)[:count].to(_dtype(bits))


def _dtype(bits: int) -> torch.dtype:
    return torch.uint8 if bits <= BYTE else torch.uint16 if bits <= 2 * BYTE else torch.uint32
