"""Blocks whose map places every bit: from the codes of each field to the bytes of a block, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np

from statqat_sim.layouts.bits import Bytes, Words
from statqat_sim.layouts.block import Blocks
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.block_map import BlockMap, Piece, Run

PLACES: Final = (81, 27, 9, 3, 1)
"""Place values of the base-3 digits, most significant first."""


@dataclass(frozen=True, slots=True)
class MappedBlock:
    """A block as its map says."""

    map: BlockMap

    def __str__(self) -> str:
        return str(self.map)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.map.size

    def pack(self, fields: Blocks) -> Bytes:
        """Codes -> bytes of shape (blocks, bytes of one block).

        Raises:
            ValueError: if a ternary code is 3.
        """
        runs = [_pack_ternary(run, fields) if run.ternary else _pack_binary(run, fields) for run in self.map.runs]
        return np.concatenate(runs, axis=-1)

    def unpack(self, octets: Bytes) -> Blocks:
        """Bytes -> codes."""
        fields: dict[str, Words] = {}
        for name, (bits, _) in self.map.fields.items():
            fields[name] = np.zeros((len(octets), self.map.counts[name]), np.uint8 if bits <= BYTE else np.uint16)
        start = 0
        for run in self.map.runs:
            own = octets[:, start : start + run.size]
            for piece, part in _ternary_parts(run, own) if run.ternary else _binary_parts(run, own):
                fields[piece.field][:, _place(piece)] |= part.astype(fields[piece.field].dtype) << piece.low
            start += run.size
        return fields


def _place(piece: Piece) -> slice:
    return slice(piece.codes.start, piece.codes.stop, piece.codes.step)


def _mask(piece: Piece) -> int:
    return (1 << piece.width) - 1


# --- bits --------------------------------------------------------------------------------------------------------


def _pack_binary(run: Run, fields: Blocks) -> Bytes:
    parts, shift = [], 0
    for piece in run.pieces:
        codes = fields[piece.field][:, _place(piece)] >> piece.low & _mask(piece)
        parts.append(codes.astype(np.uint8) << shift)
        shift += piece.width
    return np.asarray(reduce(np.bitwise_or, parts), np.uint8)


def _binary_parts(run: Run, octets: Bytes) -> Iterator[tuple[Piece, Words]]:
    shift = 0
    for piece in run.pieces:
        yield piece, octets >> shift & _mask(piece)
        shift += piece.width


# --- digits of base 3 --------------------------------------------------------------------------------------------


def _pack_ternary(run: Run, fields: Blocks) -> Bytes:
    digits: list[Words] = [fields[piece.field][:, _place(piece)].astype(np.uint16) for piece in run.pieces]
    largest = max(digit.max(initial=0) for digit in digits)
    if largest > 2:
        raise ValueError(f"{' and '.join(run.fields)} have code {largest}; allowed in ternary bytes: 0, 1, 2")
    numbers = sum(digit * place for digit, place in zip(digits, PLACES, strict=False))
    return np.asarray((numbers * 256 + 242) // 243, np.uint8)


def _ternary_parts(run: Run, octets: Bytes) -> Iterator[tuple[Piece, Words]]:
    """A digit is what goes beyond the byte when the byte is multiplied by 3; what stays holds the next one."""
    rest: Words = octets.astype(np.uint16)
    for piece in run.pieces:
        product = rest * 3
        yield piece, product >> BYTE
        rest = product & 0xFF
