"""Where ggml's blocks have their bits: against ggml-common.h, as people read it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

import statqat_sim as sqs
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.block_map import BlockMap
from statqat_sim.spec.ggml import MAPS

SIZES = {
    "gguf_q5_0": (32, 22),
    "gguf_q5_1": (32, 24),
    "gguf_q2_k": (256, 84),
    "gguf_q3_k": (256, 110),
    "gguf_q4_k": (256, 144),
    "gguf_q5_k": (256, 176),
    "gguf_q6_k": (256, 210),
    "gguf_iq4_xs": (256, 136),
    "gguf_tq1_0": (256, 54),
    "gguf_tq2_0": (256, 66),
    "gguf_nvfp4": (64, 36),
}
"""Elements and bytes of a block."""

PLACES = [  # a bit of a code of a field; the byte, and the bit of the byte
    ("q5_0", "scale", 0, 15, 1, 7),
    ("q5_0", "elements", 11, 4, 3, 3),
    ("q5_0", "elements", 16, 0, 6, 4),
    ("q5_1", "offset", 0, 0, 2, 0),
    ("q5_1", "elements", 15, 3, 23, 3),
    ("q2_k", "scale1", 3, 0, 3, 0),
    ("q2_k", "offset1", 3, 1, 3, 5),
    ("q2_k", "elements", 32, 0, 16, 2),
    ("q2_k", "elements", 133, 1, 53, 1),
    ("q2_k", "scale0", 0, 0, 80, 0),
    ("q2_k", "offset0", 0, 8, 83, 0),
    ("q3_k", "elements", 103, 2, 7, 3),
    ("q3_k", "elements", 64, 0, 32, 4),
    ("q3_k", "elements", 255, 1, 95, 7),
    ("q3_k", "scale1", 8, 0, 96, 4),
    ("q3_k", "scale1", 4, 5, 104, 3),
    ("q3_k", "scale1", 15, 5, 107, 7),
    ("q3_k", "scale0", 0, 15, 109, 7),
    ("q4_k", "scale1", 3, 5, 7, 5),
    ("q4_k", "scale1", 6, 4, 6, 6),
    ("q4_k", "scale1", 6, 0, 14, 0),
    ("q4_k", "offset1", 6, 5, 10, 7),
    ("q4_k", "offset1", 6, 0, 14, 4),
    ("q4_k", "elements", 32, 0, 16, 4),
    ("q5_k", "elements", 169, 4, 25, 5),
    ("q5_k", "elements", 64, 3, 80, 3),
    ("q6_k", "elements", 32, 0, 32, 0),
    ("q6_k", "elements", 64, 0, 0, 4),
    ("q6_k", "elements", 128, 0, 64, 0),
    ("q6_k", "elements", 96, 5, 128, 7),
    ("q6_k", "scale1", 15, 7, 207, 7),
    ("q6_k", "scale0", 0, 0, 208, 0),
    ("iq4_xs", "scale0", 0, 8, 1, 0),
    ("iq4_xs", "scale1", 5, 4, 3, 2),
    ("iq4_xs", "scale1", 5, 3, 6, 7),
    ("iq4_xs", "elements", 16, 0, 8, 4),
    ("iq4_xs", "elements", 33, 0, 25, 0),
    ("tq2_0", "elements", 164, 0, 36, 2),
    ("tq2_0", "scale", 0, 0, 64, 0),
    ("nvfp4", "scale", 2, 6, 2, 6),
    ("nvfp4", "elements", 8, 0, 4, 4),
    ("nvfp4", "elements", 16, 3, 12, 3),
]


def block_format(name: str) -> BlockFormat:
    format = sqs.load_format(name)
    assert isinstance(format, BlockFormat)
    return format


def words(array: Any) -> Any:
    return array.view(f"u{array.itemsize}").reshape(-1)


# --- the maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [known for maps in MAPS.values() for known in maps], ids=str)
def test_every_bit_has_one_place(known: BlockMap) -> None:
    pieces = [piece for run in known.runs for piece in run.pieces]
    stored = Counter(
        (piece.field, code, bit) for piece in pieces for code in piece.codes for bit in range(piece.width + piece.low)
        if bit >= piece.low
    )  # fmt: skip
    expected = {
        (name, code, bit)
        for name, (bits, _) in known.fields.items()
        for code in range(known.counts[name])
        for bit in range(bits)
    }
    assert stored == Counter(expected)
    for run in known.runs:
        assert {len(piece.codes) for piece in run.pieces} == {run.size}
        assert len(run.pieces) <= 5 if run.ternary else sum(piece.width for piece in run.pieces) <= 8


@pytest.mark.parametrize("name", SIZES)
def test_blocks_have_the_sizes_of_ggml(name: str) -> None:
    format, (elements, size) = block_format(name), SIZES[name]
    known = format.block_map
    assert known
    assert (known.elements, known.size) == (elements, size)
    assert format.bits_per_element == 8 * size / elements


def test_every_map_is_of_a_format() -> None:
    used = {id(block_format(name).block_map) for name in SIZES}
    assert used == {id(known) for maps in MAPS.values() for known in maps}


# --- the bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "field", "code", "bit", "byte", "shift"), PLACES)
def test_a_bit_lies_where_ggml_has_it(name: str, field: str, code: int, bit: int, byte: int, shift: int) -> None:
    format, (elements, size) = block_format(f"gguf_{name}"), SIZES[f"gguf_{name}"]
    octets = bytearray(size)
    octets[byte] = 1 << shift
    q = sqs.unpack(octets, format, (elements,))
    arrays = {stored: words(array) for stored, array in q.arrays().items()}
    found = {(stored, place): array[place] for stored, array in arrays.items() for place in np.flatnonzero(array)}
    assert found == {(field, code): 1 << bit}
    assert q.pack() == octets


@pytest.mark.parametrize("shape", [(3, 70), (1,), (2, 5, 300), (0, 256), (4, 0), (513, 2)])
@pytest.mark.parametrize("name", SIZES)
def test_rows_end_with_a_whole_block(name: str, shape: tuple[int, ...]) -> None:
    format, (elements, size) = block_format(name), SIZES[name]
    for axis in (0, -1):
        rows = math.prod(shape) // shape[axis] if shape[axis] else math.prod(shape[:axis] + shape[axis + 1 :] or (1,))
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        q = sqs.Codec(format, backend="reference").quantize(x, axis=axis)
        octets = q.pack()
        assert len(octets) == q.nbytes == rows * -(-shape[axis] // elements) * size
        assert sqs.unpack(octets, format, shape, axis) == q


def test_codes_that_are_missing_are_zero() -> None:
    """70 elements of 4 bits are two blocks of NVFP4; of the second, one scale and 6 elements exist."""
    format = block_format("gguf_nvfp4")
    q = sqs.QuantizedTensor(np.full(70, 0xF, np.uint8), (np.full(5, 0x7E, np.uint8),), format)
    assert q.pack() == b"\x7e" * 4 + b"\xff" * 32 + b"\x7e\0\0\0" + b"\x0f" * 6 + bytes(26)


def test_bytes_of_another_number_are_refused() -> None:
    allowed = r"has 72 bytes, not 71; allowed: 2 × \(scale 4 \+ elements 32\)"
    with pytest.raises(ValueError, match=allowed):
        sqs.unpack(bytes(71), block_format("gguf_nvfp4"), (70,))


def test_the_top_bit_of_nvfp4_s_scales_is_not_read() -> None:
    plain, marked = bytes([5, 6, 7, 8]) + bytes(32), bytes([0x85, 6, 0x87, 8]) + bytes(32)
    assert sqs.unpack(marked, block_format("gguf_nvfp4"), (64,)).pack() == plain


# --- digits of base 3 --------------------------------------------------------------------------------------------


def ternary_tensor(octets: bytes) -> Any:
    return sqs.unpack(octets, block_format("gguf_tq1_0"), (len(octets) // 54, 256))


@pytest.mark.parametrize(
    ("byte", "first", "step", "count"),
    [(0, 0, 32, 5), (31, 31, 32, 5), (32, 160, 16, 5), (48, 240, 4, 4), (51, 243, 4, 4)],
)
def test_digits_of_a_byte_are_those_of_its_256th(byte: int, first: int, step: int, count: int) -> None:
    """Of all 256: 3^count numbers have bytes of their own, and every other byte is read as one of these."""
    octets = np.zeros((256, 54), np.uint8)
    octets[:, byte] = np.arange(256)
    q = ternary_tensor(octets.tobytes())
    digits = q.codes[:, first : first + count * step : step]
    numbers = np.arange(256) * 3**count // 256
    assert (digits @ (3 ** np.arange(count)[::-1]) == numbers).all()
    written = np.frombuffer(q.pack(), np.uint8).reshape(256, 54)[:, byte]
    assert (written == -(-numbers * 256 // 3**count)).all()
    assert (written == np.arange(256)).sum() == 3**count


def test_five_weights_share_a_byte() -> None:
    codes = np.ones((1, 256), np.uint8)
    codes[0, [0, 32, 64, 96, 128]] = 2, 0, 1, 2, 1
    q = sqs.QuantizedTensor(codes, (np.ones((1, 1), np.float16),), block_format("gguf_tq1_0"))
    packed = q.pack()
    assert packed[0] == math.ceil((2 * 81 + 0 * 27 + 1 * 9 + 2 * 3 + 1) * 256 / 243)
    assert packed[1:48] == bytes([math.ceil(121 * 256 / 243)]) * 47
    assert packed[48:52] == bytes([math.ceil(120 * 256 / 243)]) * 4
    assert packed[52:] == b"\x00\x3c"


def test_a_code_that_is_no_digit_is_refused() -> None:
    codes = np.zeros((1, 256), np.uint8)
    codes[0, 200] = 3
    q = sqs.QuantizedTensor(codes, (np.ones((1, 1), np.float16),), block_format("gguf_tq1_0"))
    with pytest.raises(ValueError, match="elements have code 3; allowed in ternary bytes: 0, 1, 2"):
        q.pack()
