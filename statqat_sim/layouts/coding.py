"""How the codes of one field become bytes, row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from statqat_sim.layouts.bits import Bytes, Words, pack_bits, padded, row_bytes, unpack_bits

Shape: TypeAlias = tuple[int, ...]

NIBBLE = 4


class Coding(Protocol):
    """A way to write rows of codes, of shape (..., count), as bytes."""

    def shape(self, rows: Shape) -> Shape:
        """The shape of the bytes."""

    def pack(self, rows: Words) -> Bytes:
        """Codes -> bytes."""

    def unpack(self, octets: Bytes, rows: Shape) -> Words:
        """Bytes -> codes of shape `rows`."""


@dataclass(frozen=True, slots=True)
class BitString:
    """Each row is a string of bits, padded to a byte."""

    bits: int
    big_endian: bool = False

    def shape(self, rows: Shape) -> Shape:
        return (*rows[:-1], row_bytes(rows[-1], self.bits))

    def pack(self, rows: Words) -> Bytes:
        return pack_bits(rows, self.bits, big_endian=self.big_endian)

    def unpack(self, octets: Bytes, rows: Shape) -> Words:
        return unpack_bits(octets, self.bits, rows[-1], big_endian=self.big_endian)


@dataclass(frozen=True, slots=True)
class HalfSplit:
    """Byte j of a block of n codes of 4 bits holds codes j, in its low half, and j + n/2; short blocks are padded."""

    block: int

    def shape(self, rows: Shape) -> Shape:
        return (*rows[:-1], -(-rows[-1] // self.block) * (self.block // 2))

    def pack(self, rows: Words) -> Bytes:
        halves = padded(rows, self.block).astype(np.uint8).reshape(-1, 2, self.block // 2) & np.uint8(0xF)
        octets = halves[:, 0] | halves[:, 1] << np.uint8(NIBBLE)
        return octets.reshape(self.shape(rows.shape))

    def unpack(self, octets: Bytes, rows: Shape) -> Words:
        pairs = octets.reshape(-1, 1, self.block // 2)
        halves = np.concatenate([pairs & 0xF, pairs >> NIBBLE], axis=1)
        whole = -(-rows[-1] // self.block) * self.block
        return halves.reshape(*rows[:-1], whole)[..., : rows[-1]]


@dataclass(frozen=True, slots=True)
class Swizzle128x4:
    """One byte per code; 128 rows × 4 columns lie together as 32 × 16 bytes, zero padded.

    Source: NVIDIA cuBLAS documentation, 1D block scaling factors layout (`SM100`, 128 × 4 tiles).
    """

    def shape(self, rows: Shape) -> Shape:
        return (math.prod(self._tiles(rows)) * 512,)

    def pack(self, rows: Words) -> Bytes:
        down, across = self._tiles(rows.shape)
        whole = np.zeros((down * 128, across * 4), np.uint8)
        matrix = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
        whole[: matrix.shape[0], : matrix.shape[1]] = matrix
        return whole.reshape(down, 4, 32, across, 4).transpose(0, 3, 2, 1, 4).reshape(-1)

    def unpack(self, octets: Bytes, rows: Shape) -> Words:
        down, across = self._tiles(rows)
        tiles = octets.reshape(down, across, 32, 4, 4).transpose(0, 3, 2, 1, 4)
        whole = tiles.reshape(down * 128, across * 4)
        return whole[: math.prod(rows[:-1]), : rows[-1]].reshape(rows)

    @staticmethod
    def _tiles(rows: Shape) -> tuple[int, int]:
        return -(-math.prod(rows[:-1]) // 128), -(-rows[-1] // 4)
