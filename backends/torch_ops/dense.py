"""Packs and unpacks dense codes. The fewest codes that fill whole bytes form a group; shifts move them to its bytes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from statqat_sim.plan.program import Packed
from statqat_sim.spec.base import BYTE


def pack(codes: Tensor, packed: Packed) -> Tensor:
    """int32 codes (..., n) -> int32 bytes (..., ceil(n·bits/8))."""
    count = codes.shape[-1]
    codes_each, bytes_each = _group(packed)
    groups = _grouped(codes, codes_each)
    made = []
    for byte in range(bytes_each):
        parts = [
            _moved(groups[..., code], _distance(packed, code, byte))
            for code in range(codes_each)
            if abs(_distance(packed, code, byte)) < BYTE
        ]
        made.append(_any_of(parts) & 0xFF)
    return torch.stack(made, dim=-1).flatten(-2)[..., : packed.row_bytes(count)]


def unpack(dense: Tensor, packed: Packed, count: int) -> Tensor:
    """int32 bytes (..., ceil(count·bits/8)) -> int32 codes (..., count)."""
    codes_each, bytes_each = _group(packed)
    groups = _grouped(dense, bytes_each)
    found = []
    for code in range(codes_each):
        parts = [
            _moved(groups[..., byte], -_distance(packed, code, byte))
            for byte in range(bytes_each)
            if abs(_distance(packed, code, byte)) < BYTE
        ]
        found.append(_any_of(parts) & (1 << packed.bits) - 1)
    return torch.stack(found, dim=-1).flatten(-2)[..., :count]


def _group(packed: Packed) -> tuple[int, int]:
    """The fewest codes that fill whole bytes, and the number of these bytes."""
    common = math.gcd(packed.bits, BYTE)
    return BYTE // common, packed.bits // common


def _distance(packed: Packed, code: int, byte: int) -> int:
    """How far left a code of a group is shifted to its place in a byte; 8 if none of its bits are in that byte."""
    first, last = code * packed.bits, (code + 1) * packed.bits
    if last <= byte * BYTE or first >= (byte + 1) * BYTE:
        return BYTE
    return (byte + 1) * BYTE - last if packed.big_endian else first - byte * BYTE


def _grouped(words: Tensor, size: int) -> Tensor:
    """Split the last axis into groups of `size`; the last group is padded with zeros."""
    *leading, count = words.shape
    return pad(words, (0, -count % size)).reshape(*leading, -(-count // size), size)


def _moved(words: Tensor, distance: int) -> Tensor:
    return words << distance if distance >= 0 else words >> -distance


def _any_of(parts: list[Tensor]) -> Tensor:
    first, *others = parts
    for part in others:
        first = first | part
    return first
