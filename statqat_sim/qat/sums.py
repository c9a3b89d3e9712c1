"""Checksums of the tensors in a file, by which changed bytes are told by name."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor


def sums_of(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """CRC-32 of each tensor."""
    return {name: sum_of(tensor) for name, tensor in tensors.items()}


def changed(sums: Mapping[str, int], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """The names of tensors that have other bytes than when `sums_of` was given them; none of those without a sum."""
    yield from (name for name, tensor in tensors.items() if name in sums and sums[name] != sum_of(tensor))


def sum_of(tensor: Tensor) -> int:
    """CRC-32 of a tensor in the CPU's memory: its bytes in C order, after its dtype and shape."""
    octets = tensor.contiguous().reshape(-1).view(torch.uint8)
    start = zlib.crc32(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    return zlib.crc32(np.from_dlpack(octets), start)  # type: ignore[arg-type]
