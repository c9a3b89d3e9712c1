"""Codes as strings of bits: little-endian ones, or big-endian ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.spec.base import BYTE

Words: TypeAlias = NDArray[Any]
Bytes: TypeAlias = NDArray[np.uint8]

WHOLE_BYTES: Final = (8, 16, 32)
"""Code widths that are numpy integer widths."""

WORD_BITS: Final = 64


def row_bytes(count: int, bits: int) -> int:
    """The bytes of a row of codes."""
    return -(-count * bits // BYTE)


def pack_bits(codes: Words, bits: int, *, big_endian: bool = False) -> Bytes:
    """Codes of shape (..., n) -> bytes of shape (..., ceil(n·bits/8)); bits above the width are dropped."""
    if bits in WHOLE_BYTES:
        octets = np.ascontiguousarray(codes, f"{'>' if big_endian else '<'}u{bits // BYTE}")
        return octets.view(np.uint8).reshape(*codes.shape[:-1], codes.shape[-1] * bits // BYTE)
    groups = _Groups.of(bits, big_endian)
    if groups is not None:
        return groups.pack(codes)[..., : row_bytes(codes.shape[-1], bits)]
    return _pack_each_bit(codes, bits, big_endian)


def unpack_bits(octets: Bytes, bits: int, count: int, *, big_endian: bool = False) -> Words:
    """Bytes of shape (..., ceil(count·bits/8)) -> codes of shape (..., count)."""
    if bits in WHOLE_BYTES:
        words = np.ascontiguousarray(octets).view(f"{'>' if big_endian else '<'}u{bits // BYTE}")
        return words.astype(words.dtype.newbyteorder("="))
    groups = _Groups.of(bits, big_endian)
    if groups is not None:
        return groups.unpack(octets)[..., :count]
    return _unpack_each_bit(octets, bits, count, big_endian)


@dataclass(frozen=True, slots=True)
class _Groups:
    """A group of codes that fills whole bytes, packed through the low bytes of a word."""

    codes: int
    bits: int
    big_endian: bool

    @classmethod
    def of(cls, bits: int, big_endian: bool) -> _Groups | None:
        """As many codes as fill one byte, or else 8 or 4 codes; None if they do not fit a word."""
        fewest = BYTE // math.gcd(bits, BYTE)
        if fewest * bits == BYTE:
            return cls(fewest, bits, big_endian)
        for count in (8, 4):
            if count % fewest == 0 and count * bits < WORD_BITS:
                return cls(count, bits, big_endian)
        return None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.codes * self.bits // BYTE

    @property
    def word(self) -> str:
        return "u1" if self.size == 1 else "u8"

    @property
    def shifts(self) -> range:
        """Where each code lies in its word."""
        top = self.size * BYTE
        return range(top - self.bits, -1, -self.bits) if self.big_endian else range(0, top, self.bits)

    def pack(self, codes: Words) -> Bytes:
        """Codes of shape (..., n) -> bytes, n padded to whole groups."""
        grouped = padded(codes, self.codes)
        grouped = grouped.reshape(*codes.shape[:-1], grouped.shape[-1] // self.codes, self.codes)
        words: Words = np.zeros(grouped.shape[:-1], self.word)
        mask = grouped.dtype.type((1 << self.bits) - 1)
        for place, shift in enumerate(self.shifts):
            words |= (grouped[..., place] & mask).astype(self.word) << np.array(shift, self.word)
        octets = words.astype(self._stored)[..., None].view(np.uint8)
        return octets[..., self._used].reshape(*codes.shape[:-1], words.shape[-1] * self.size)

    def unpack(self, octets: Bytes) -> Words:
        """Bytes -> codes, of whole groups."""
        whole = padded(octets, self.size)
        whole = whole.reshape(*octets.shape[:-1], whole.shape[-1] // self.size, self.size)
        wide = np.zeros((*whole.shape[:-1], np.dtype(self.word).itemsize), np.uint8)
        wide[..., self._used] = whole
        words: Words = wide.view(self._stored).astype(self.word).reshape(whole.shape[:-1])
        codes = np.empty((*words.shape, self.codes), np.uint8 if self.bits <= BYTE else np.uint16)
        for place, shift in enumerate(self.shifts):
            codes[..., place] = words >> np.array(shift, self.word) & np.array((1 << self.bits) - 1, self.word)
        return codes.reshape(*octets.shape[:-1], words.shape[-1] * self.codes)

    @property
    def _stored(self) -> str:
        return f"{'>' if self.big_endian else '<'}{self.word}"

    @property
    def _used(self) -> slice:
        """The bytes of a stored word that codes lie in."""
        return slice(-self.size, None) if self.big_endian else slice(self.size)


def _pack_each_bit(codes: Words, bits: int, big_endian: bool) -> Bytes:
    octets = codes.astype("<u4")[..., None].view(np.uint8)
    each = np.unpackbits(octets, axis=-1, bitorder="little")[..., :bits]
    each = each[..., ::-1] if big_endian else each
    rows = each.reshape(*codes.shape[:-1], codes.shape[-1] * bits)
    return np.packbits(rows, axis=-1, bitorder="big" if big_endian else "little")


def _unpack_each_bit(octets: Bytes, bits: int, count: int, big_endian: bool) -> Words:
    rows = np.unpackbits(octets, axis=-1, bitorder="big" if big_endian else "little")[..., : count * bits]
    each = rows.reshape(*octets.shape[:-1], count, bits)
    each = each[..., ::-1] if big_endian else each
    whole = np.packbits(padded(each, 32), axis=-1, bitorder="little")
    words: Words = whole.view("<u4")[..., 0]
    return words.astype(np.uint16 if bits <= 16 else np.uint32)


def padded(array: Words, multiple: int) -> Words:
    """The array with zeros at the end of its last axis, up to a multiple of a length."""
    missing = -array.shape[-1] % multiple
    if not missing:
        return array
    return np.concatenate([array, np.zeros((*array.shape[:-1], missing), array.dtype)], axis=-1)
