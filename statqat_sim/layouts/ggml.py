"""Blocks of ggml that fields cannot say.

Source: ggml-common.h, block_q5_0, block_q5_1, block_q4_K, block_q5_K, block_tq2_0; gguf 0.19, quants.py.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from statqat_sim.layouts.bits import Words
from statqat_sim.layouts.block import BlockLayout, Blocks, Part
from statqat_sim.layouts.coding import BitString, HalfSplit
from statqat_sim.layouts.field import ELEMENTS

LOW, HIGH, SIXES = "low 4 bits of elements", "high bits of elements", "6-bit scales and offsets"
LOW_BITS: Final = 4

Q5_0_BLOCK, K_BLOCK, K_SUBBLOCK = 32, 256, 32


def ggml_q5_0(halves: tuple[str, ...]) -> BlockLayout:
    """32 elements of 5 bits: the float16 fields; bit 4 of each element; low nibbles, half split.

    Args:
        halves: names of the float16 fields, one code each.
    """

    def split(fields: Blocks) -> Blocks:
        elements = fields[ELEMENTS]
        return {**fields, HIGH: elements >> LOW_BITS, LOW: elements}

    def join(parts: Blocks) -> Blocks:
        elements = parts[LOW] | parts[HIGH] << LOW_BITS
        return {**_only(parts, halves), ELEMENTS: elements}

    high = Part(HIGH, Q5_0_BLOCK, BitString(1))
    return BlockLayout((*_floats(halves), high, Part(LOW, Q5_0_BLOCK, HalfSplit(Q5_0_BLOCK))), split, join)


def ggml_q4_k(halves: tuple[str, str], sixes: tuple[str, str], bits: int) -> BlockLayout:
    """8 × 32 elements of 4 or 5 bits: float16 fields; 6-bit fields in 12 bytes; bits 4, if any; low nibbles.

    Bit s of byte j is bit 4 of element 32·s + j. Nibbles are half split, 64 elements at a time.

    Args:
        halves: names of the float16 fields of the scale and of the offset, one code each.
        sixes: names of their 6-bit fields, 8 codes each.
        bits: of an element.
    """

    def split(fields: Blocks) -> Blocks:
        elements = fields[ELEMENTS]
        high = _transposed(elements >> LOW_BITS, K_BLOCK // K_SUBBLOCK, K_SUBBLOCK)
        return {**fields, SIXES: _pack_sixes(*(fields[name] for name in sixes)), HIGH: high, LOW: elements}

    def join(parts: Blocks) -> Blocks:
        elements = parts[LOW]
        if HIGH in parts:
            high = _transposed(parts[HIGH], K_SUBBLOCK, K_BLOCK // K_SUBBLOCK)
            elements = elements | high << LOW_BITS
        codes = dict(zip(sixes, _unpack_sixes(parts[SIXES]), strict=True))
        return {**_only(parts, halves), **codes, ELEMENTS: elements}

    high = (Part(HIGH, K_BLOCK, BitString(1)),) if bits > LOW_BITS else ()
    low = Part(LOW, K_BLOCK, HalfSplit(2 * K_SUBBLOCK))
    return BlockLayout((*_floats(halves), Part(SIXES, 12, BitString(8)), *high, low), split, join)


def ggml_tq2_0(halves: tuple[str, ...]) -> BlockLayout:
    """2 × 4 × 32 elements of 2 bits: bits 2·l of byte 32·j + m are element 128·j + 32·l + m; then the float16 fields.

    Args:
        halves: names of the float16 fields, one code each.
    """

    def split(fields: Blocks) -> Blocks:
        return {**fields, ELEMENTS: _planes(fields[ELEMENTS], (2, 4, 32))}

    def join(parts: Blocks) -> Blocks:
        return {**parts, ELEMENTS: _planes(parts[ELEMENTS], (2, 32, 4))}

    return BlockLayout((Part(ELEMENTS, K_BLOCK, BitString(2)), *_floats(halves)), split, join)


def _floats(names: tuple[str, ...]) -> tuple[Part, ...]:
    return tuple(Part(name, 1, BitString(16)) for name in names)


def _only(parts: Blocks, names: tuple[str, ...]) -> Blocks:
    return {name: parts[name] for name in names}


def _planes(elements: Words, shape: tuple[int, int, int]) -> Words:
    """Elements of every part of a block, whose rows and columns change places."""
    return elements.reshape(-1, *shape).swapaxes(-1, -2).reshape(elements.shape)


def _transposed(elements: Words, rows: int, columns: int) -> Words:
    return _planes(elements, (1, rows, columns))


def _pack_sixes(scales: Words, offsets: Words) -> Words:
    """Two times 8 codes of 6 bits -> 12 bytes: the first four each, bits 4 and 5 of the others above them."""
    whole = [codes[:, :4] & 0x3F | (codes[:, 4:] >> 4 & 3) << 6 for codes in (scales, offsets)]
    return np.concatenate([*whole, scales[:, 4:] & 0xF | (offsets[:, 4:] & 0xF) << 4], axis=-1)


def _unpack_sixes(octets: Words) -> tuple[Words, Words]:
    """12 bytes -> two times 8 codes of 6 bits."""
    scales, offsets, low_bits = np.split(octets, 3, axis=-1)
    return _sixes(scales, low_bits & 0xF), _sixes(offsets, low_bits >> 4)


def _sixes(whole: Words, low_bits: Words) -> Words:
    """Four codes, and four of which they carry bits 4 and 5."""
    return np.concatenate([whole & 0x3F, low_bits | whole >> 6 << 4], axis=-1)
