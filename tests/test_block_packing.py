"""Block tensors in bytes: against strings of bits made in plain Python, formulas, gguf and torchao."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from block_specs import SPECS, SQUARES, block_format
from ggml_bytes import written_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

import statqat_sim as sqs
from statqat_sim import layouts
from statqat_sim.block_codec import BlockCodec
from statqat_sim.geometry import Geometry
from statqat_sim.layouts.bits import pack_bits, unpack_bits
from statqat_sim.layouts.coding import HalfSplit, Swizzle128x4
from statqat_sim.spec.pack import Layout

Array = Any
SHAPES = [(3, 70), (2, 512), (64,), (2, 5, 33), (0, 4), (4, 0), (1,), (2, 3, 4, 5)]


def some(bits: int, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 1 << bits, shape, np.uint32)


def some_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8).tobytes()


def word_of(bits: int) -> str:
    return "u1" if bits <= 8 else "u2" if bits <= 16 else "u4"


def in_python(row: Any, bits: int, big_endian: bool) -> list[int]:
    """Bytes of a row: little-endian bits are written from right to left, big-endian ones as one reads."""
    words = [f"{int(code):0{bits}b}" for code in row]
    length = -(-len(words) * bits // 8) * 8
    text = "".join(words).ljust(length, "0") if big_endian else "".join(reversed(words)).rjust(length, "0")
    octets = [int(text[place : place + 8], 2) for place in range(0, length, 8)]
    return octets if big_endian else octets[::-1]


# --- strings of bits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("bits", range(1, 33))
def test_bits_lie_as_python_writes_them(bits: int, big_endian: bool) -> None:
    for count in (0, 1, 2, 3, 4, 5, 8, 9, 17):
        codes = some(bits, 2, 3, count, seed=count).astype(word_of(bits))
        octets = pack_bits(codes, bits, big_endian=big_endian)
        assert octets.shape == (2, 3, -(-count * bits // 8))
        expected = [in_python(row, bits, big_endian) for row in codes.reshape(6, count)]
        assert octets.reshape(6, octets.shape[-1]).tolist() == expected
        back = unpack_bits(octets, bits, count, big_endian=big_endian)
        assert back.dtype == codes.dtype
        assert np.array_equal(back, codes)


@pytest.mark.parametrize("bits", [1, 3, 4, 6, 9, 12])
def test_bits_above_the_width_are_left_out(bits: int) -> None:
    codes = some(bits, 4, 11).astype(word_of(bits))
    marked = codes | np.array(1 << bits, codes.dtype) if bits not in (8, 16) else codes
    assert np.array_equal(pack_bits(marked, bits), pack_bits(codes, bits))


# --- half split and swizzle --------------------------------------------------------------------------------------


def test_halves_of_a_block_share_bytes() -> None:
    codes = np.arange(1, 7, dtype=np.uint8).reshape(1, 6)
    coding = HalfSplit(4)
    assert coding.pack(codes).tolist() == [[0x31, 0x42, 0x05, 0x06]]  # the second block is padded
    assert np.array_equal(coding.unpack(coding.pack(codes), (1, 6)), codes)


@pytest.mark.parametrize("shape", [(128, 4), (1, 1), (129, 5), (300, 9), (2, 200, 3), (0, 4), (4, 0)])
def test_swizzled_scales_lie_where_the_formula_says(shape: tuple[int, ...]) -> None:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    codes = (some(8, rows, columns).astype(np.uint8) | 1).reshape(shape)
    octets = Swizzle128x4().pack(codes)
    expected = np.zeros(-(-rows // 128) * -(-columns // 4) * 512, np.uint8)
    for r, c in itertools.product(range(rows), range(columns)):
        tile = (r // 128) * -(-columns // 4) + c // 4
        expected[tile * 512 + (r % 32) * 16 + (r % 128) // 32 * 4 + c % 4] = codes.reshape(rows, columns)[r, c]
    assert np.array_equal(octets, expected)
    assert np.array_equal(Swizzle128x4().unpack(octets, shape), codes)


def torchao(module: str) -> Any:
    """A module of torchao, which warns when it is imported."""
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(f"torchao.prototype.mx_formats.{module}")


def test_swizzled_scales_are_torchao_s() -> None:
    import torch

    codes = some(8, 300, 9).astype(np.uint8)
    expected = torchao("utils").to_blocked(torch.from_numpy(codes))
    assert np.array_equal(Swizzle128x4().pack(codes), expected.numpy().reshape(-1))


def test_nibbles_are_torchao_s() -> None:
    import torch

    codes = some(4, 6, 32).astype(np.uint8)
    expected = torchao("kernels").pack_uint4(torch.from_numpy(codes)).numpy()
    q = sqs.QuantizedTensor(codes, (np.zeros((6, 1), np.uint8),), block_format("mxfp4"))
    assert np.array_equal(q.fields()["elements"], expected)


# --- whole tensors -----------------------------------------------------------------------------------------------


def axes_of(name: str, shape: tuple[int, ...]) -> range:
    axes = range(len(shape))
    return axes[-2:] if name in SQUARES else axes


CASES = [
    (name, shape, axis)
    for name in SPECS
    for shape in SHAPES
    if name not in SQUARES or len(shape) > 1
    for axis in axes_of(name, shape)
]


@pytest.mark.parametrize(("name", "shape", "axis"), CASES)
def test_packing_undoes_unpacking(name: str, shape: tuple[int, ...], axis: int) -> None:
    """Up to the bits that pad rows and blocks, which are zero."""
    format = block_format(name)
    size = layouts.packed_size(format, Geometry.of(shape, axis, format))
    q = sqs.unpack(some_bytes(size), format, shape, axis)
    packed = q.pack()
    assert len(packed) == size == q.nbytes
    assert sqs.unpack(packed, format, shape, axis) == q
    assert sqs.unpack(packed, format, shape, axis).pack() == packed
    ones = sqs.unpack(b"\xff" * size, format, shape, axis).pack()
    assert all(octet & ~mask == 0 for octet, mask in zip(packed, ones, strict=True))


@pytest.mark.parametrize("name", sorted(set(SPECS) - {"nvfp4", "zero_points"}))
def test_whole_blocks_have_no_padding(name: str) -> None:
    format, shape = block_format(name), (4, 512)
    data = some_bytes(layouts.packed_size(format, Geometry.of(shape, -1, format)), seed=1)
    assert sqs.unpack(data, format, shape).pack() == data


@given(st.data())
@settings(max_examples=60)
def test_any_tensor_comes_back(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SPECS)))
    lengths = st.integers(0, 70)
    shape = tuple(data.draw(st.lists(lengths, min_size=2 if name in SQUARES else 0, max_size=3)))
    axis = data.draw(st.sampled_from(axes_of(name, shape or (1,))))
    format = block_format(name)
    size = layouts.packed_size(format, Geometry.of(shape, axis, format))
    q = sqs.unpack(some_bytes(size, seed=axis), format, shape, axis)
    assert q.shape == shape
    assert sqs.unpack(bytearray(q.pack()), format, shape, axis) == q


def test_separate_fields_follow_each_other() -> None:
    codes, outer, inner = (some(bits, 3, count).astype(np.uint8) for bits, count in ((8, 37), (8, 3), (1, 19)))
    q = sqs.QuantizedTensor(codes, (outer, inner), block_format("mx9"))
    fields = q.fields()
    assert list(fields) == ["scale0", "scale1", "elements"]
    assert fields["scale0"].shape == (3, 3)
    assert fields["scale1"].tolist() == [in_python(row, 1, False) for row in inner]  # 19 bits in 3 bytes
    assert fields["elements"].shape == (3, 37)
    assert q.pack() == b"".join(field.tobytes() for field in fields.values())


def test_rows_run_along_the_axis() -> None:
    codes = some(4, 64, 3).astype(np.uint8)
    scales = some(8, 2, 3).astype(np.uint8)
    along_rows = sqs.QuantizedTensor(np.ascontiguousarray(codes.T), (scales.T.copy(),), block_format("mxfp4"))
    along_columns = sqs.QuantizedTensor(codes, (scales,), block_format("mxfp4"), axis=0)
    assert along_columns.pack() == along_rows.pack()
    assert along_columns != along_rows


def test_one_scale_of_the_tensor_is_one_value() -> None:
    codes, scale = some(4, 2, 32).astype(np.uint8), np.full((1, 1), 0.5, np.float32)
    inner = np.arange(4, dtype=np.uint8).reshape(2, 2)
    q = sqs.QuantizedTensor(codes, (scale, inner), block_format("nvfp4"))
    fields = q.fields()
    assert fields["scale0"].shape == ()
    assert fields["scale0"] == np.float32(0.5)
    assert fields["scale1"].shape == (512,)
    assert fields["scale1"][[0, 1, 16, 17]].tolist() == [0, 1, 2, 3]
    assert fields["elements"].tolist() == [in_python(row, 4, False) for row in codes]
    assert q.nbytes == 4 + 512 + 32


def test_the_fields_order_is_the_format_s() -> None:
    text = "name: t\n" + SPECS["mxfp4"] + "pack: {fields: [elements, scale]}\n"
    format = sqs.parse_format(text)
    q = sqs.QuantizedTensor(np.full((1, 32), 5, np.uint8), (np.full((1, 1), 9, np.uint8),), format)
    assert q.pack() == b"\x55" * 16 + b"\x09"
    assert list(q.fields()) == ["elements", "scale"]


def test_scales_in_any_order_come_back() -> None:
    text = "name: t\n" + SPECS["mx9"] + "pack: {fields: [scale1, elements, scale0]}\n"
    q = sqs.Codec(sqs.parse_format(text), "reference").quantize(np.arange(64, dtype=np.float32).reshape(2, 32))
    assert sqs.unpack(q.pack(), q.format, q.shape) == q


def test_high_nibbles_first() -> None:
    q = sqs.QuantizedTensor(np.arange(1, 4, dtype=np.uint8), (np.ones(1, np.float16),), block_format("given"))
    assert q.pack() == np.float16(1).tobytes() + bytes([0x12, 0x30])


def test_interleaved_blocks_hold_all_their_fields() -> None:
    """Rows of 300 elements: two blocks of 256, each a float16, 8 scales of 6 bits, and 256 nibbles."""
    format = block_format("nested")
    halves = np.array([[1.0, 2.0]], np.float16)
    scales, codes = some(6, 1, 10).astype(np.uint8), some(4, 1, 300).astype(np.uint8)
    data = sqs.QuantizedTensor(codes, (halves, scales), format).pack()
    blocks = [data[:136], data[136:]]
    assert len(data) == 2 * (2 + 6 + 128)
    for place, block in enumerate(blocks):
        assert block[:2] == halves[0, place].tobytes()
        inside = np.pad(scales[0], (0, 6))[8 * place : 8 * place + 8]
        assert list(block[2:8]) == in_python(inside, 6, False)
        elements = np.pad(codes[0], (0, 212))[256 * place : 256 * place + 256]
        assert list(block[8:]) == in_python(elements, 4, False)


# --- gguf --------------------------------------------------------------------------------------------------------


def gguf_formats() -> list[str]:
    """Those of the catalog whose bytes are gguf's, not only their numbers."""
    loaded = ((name, sqs.load_format(name)) for name in sqs.formats() if name.startswith("gguf_"))
    return [name for name, format in loaded if format.pack.layout is not Layout.SEPARATE]


def test_the_catalog_has_gguf_s_layouts() -> None:
    assert {sqs.load_format(name).pack.layout for name in gguf_formats()} == set(Layout) - {Layout.SEPARATE}


@pytest.mark.parametrize("name", gguf_formats())
def test_bytes_are_read_as_gguf_reads_them(name: str) -> None:
    gguf = pytest.importorskip("gguf")
    kind, format = gguf.GGMLQuantizationType[name.removeprefix("gguf_").upper()], sqs.load_format(name)
    size = layouts.packed_size(format, Geometry.of((20, 512), -1, format))
    assert size == 20 * gguf.quants.quant_shape_to_byte_shape((512,), kind)[-1]
    elements, block = gguf.GGML_QUANT_SIZES[kind]
    assert format.bits_per_element == 8 * block / elements
    data = written_blocks(name, size // block, block).reshape(20, -1)
    q = sqs.unpack(data, format, (20, 512))
    assert q.pack() == data.tobytes()
    try:
        with np.errstate(all="ignore"):
            expected = gguf.quants.dequantize(data, kind)
    except NotImplementedError:
        pytest.skip(f"gguf reads no {kind.name}")
    assert np.array_equal(sqs.Codec(format, backend="reference").dequantize(q), expected, equal_nan=True)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "size", "message"),
    [
        ("mxfp4", (3, 70), 10, "mxfp4 of shape (3, 70) has 114 bytes, not 10; allowed: scale 9 + elements 105"),
        (
            "q4_0",
            (2, 33),
            71,
            "q4_0 of shape (2, 33) has 72 bytes, not 71; allowed: 4 × (scale 2 + elements 16)",
        ),
        (
            "q4_k",
            (256,),
            0,
            "q4_k of shape (256,) has 144 bytes, not 0; allowed: 1 × (scale0 2 + offset0 2 + "
            "scale1 4 + offset1 4 + scale1 and offset1 4 + elements 128)",
        ),
    ],
)
def test_other_lengths_are_refused(name: str, shape: tuple[int, ...], size: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        sqs.unpack(bytes(size), block_format(name), shape)
    assert str(caught.value) == message


def test_what_lies_elsewhere_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    prepare, codec, x, seen = BlockCodec._job, sqs.Codec(block_format("mxfp4"), "torch"), torch.ones(2, 32), []
    monkeypatch.setattr(BlockCodec, "_job", lambda self, *args: seen.append(args) or prepare(self, *args))
    assert codec.pack(x) == sqs.Codec(block_format("mxfp4")).quantize(x).pack()
    assert len(seen) == 2  # one by each codec


def test_unpacking_takes_bytes_of_any_kind() -> None:
    torch = pytest.importorskip("torch")
    format, data = block_format("mxfp4"), some_bytes(34)
    expected = sqs.unpack(data, format, (2, 32))
    octets = np.frombuffer(data, np.uint8)
    for buffer in (bytearray(data), memoryview(data), octets, torch.tensor(list(data), dtype=torch.uint8)):
        assert sqs.unpack(buffer, format, [2, 32]) == expected


@pytest.mark.parametrize(
    ("buffer", "shape", "axis", "error", "message"),
    [
        ("text", (2,), -1, TypeError, "buffer is of type str"),
        (np.zeros(34, np.float32), (2, 32), -1, TypeError, "buffer is float32; allowed: uint8"),
        (bytes(34), (2, -3), -1, ValueError, "shape is"),
        (bytes(34), (2, 32), 2, ValueError, "axis is 2; allowed: -2 to 1"),
    ],
)
def test_what_unpacking_refuses(buffer: Any, shape: Any, axis: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sqs.unpack(buffer, block_format("mxfp4"), shape, axis)


def test_unpacking_needs_a_block_format() -> None:
    with pytest.raises(TypeError, match="float8_e4m3fn is a number format"):
        sqs.unpack(bytes(3), sqs.load_format("float8_e4m3fn"), (3,))
    with pytest.raises(TypeError, match="'mxfp4'; allowed: a BlockFormat"):
        sqs.unpack(bytes(3), "mxfp4", (3,))
