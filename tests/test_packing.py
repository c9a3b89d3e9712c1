"""Dense codes: against strings of bits made in plain Python, byte for byte, and not a byte beyond them."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from checking import BACKENDS, COMPILED, array_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inputs import DTYPES, accepted, around, exact_codes, exact_values, random_bits, specs

from statqat_sim import set_threads
from statqat_sim.backends.numba_cpu import kernel, threads
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.program import Packed, Storage
from statqat_sim.reference.dense import pack, unpack
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

Array = Any
SPLIT = threads.MIN_ELEMENTS
ORDERS = ("lsb", "msb")
WIDTHS = range(1, 9)
CASES = [(bits, order) for bits in WIDTHS for order in ORDERS]


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    yield
    set_threads(None)


@cache
def whole_numbers(bits: int, order: str = "lsb") -> NumberFormat:
    """A format whose codes are their values."""
    element = f"{{kind: int, encoding: unsigned, bits: {bits}}}"
    return parse_format(f"name: dense{bits}\nelement: {element}\npack: {{bit_order: {order}}}\n")


def some(bits: int, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 1 << bits, shape).astype(np.float32)


def in_python(codes: Array, bits: int, order: str) -> Array:
    """Bytes of shape (..., ceil(n·bits/8)), spelled out: lsb writes from right to left, msb as one reads."""
    if codes.ndim > 1:
        rows = [in_python(row, bits, order) for row in codes]
        return np.stack(rows) if rows else np.zeros((0, *codes.shape[1:-1], row_bytes(codes.shape[-1], bits)), np.uint8)
    words = [f"{int(code):0{bits}b}" for code in codes.reshape(-1)]
    if order == "msb" and bits < 8:
        text = "".join(words)
        places = [text[start : start + 8].ljust(8, "0") for start in range(0, len(text), 8)]
    else:
        text = "".join(reversed(words))
        places = [text[max(end - 8, 0) : end].rjust(8, "0") for end in range(len(text), 0, -8)]
    return np.array([int(place, 2) for place in places], np.uint8)


def row_bytes(count: int, bits: int) -> int:
    return math.ceil(count * bits / 8)


# --- the layout itself -------------------------------------------------------------------------------------------


def test_examples_from_the_definitions() -> None:
    """6 bits: 4 codes in 3 bytes; 4 bits: the first code in the low half."""
    assert in_python(np.array([1, 2, 3, 4]), 6, "lsb").tolist() == [0b10_000001, 0b0011_0000, 0b000100_00]
    assert in_python(np.array([1, 2, 3, 4]), 6, "msb").tolist() == [0b000001_00, 0b0010_0000, 0b11_000100]
    assert in_python(np.array([0xA, 0xB, 0xC]), 4, "lsb").tolist() == [0xBA, 0x0C]
    assert in_python(np.array([0xA, 0xB, 0xC]), 4, "msb").tolist() == [0xAB, 0xC0]
    assert in_python(np.array([1, 1, 0, 0, 0, 0, 0, 0, 1]), 1, "lsb").tolist() == [0b11, 1]
    assert in_python(np.array([1, 1, 0, 0, 0, 0, 0, 0, 1]), 1, "msb").tolist() == [0b1100_0000, 0x80]


@pytest.mark.parametrize(("bits", "order"), CASES)
def test_the_interpreters_packing(bits: int, order: str) -> None:
    """By numpy's bits on the one side, by text on the other."""
    if bits == 8:
        return
    packed = Packed(bits, order == "msb")
    for count in range(30):
        codes = some(bits, 2, count).astype(np.uint32)
        dense = pack(codes, packed)
        assert_bit_exact(dense, in_python(codes, bits, order))
        assert_bit_exact(unpack(dense, packed, count).astype(np.uint32), codes)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_bit_is_what_numpy_packs(backend: str, order: str) -> None:
    codec, x = Codec(whole_numbers(1, order), backend), some(1, 7, 1001)
    names = {"lsb": "little", "msb": "big"}
    assert_bit_exact(codec.encode(x, packed=True), np.packbits(x.astype(np.uint8), axis=-1, bitorder=names[order]))


@pytest.mark.parametrize(
    ("policy", "order"),
    [("nibbles: low_first", "lsb"), ("nibbles: high_first", "msb"), ("nibbles: low_first, bit_order: msb", "msb")],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nibbles(backend: str, policy: str, order: str) -> None:
    """To swap the halves of each byte is to write codes of 4 bits from the top."""
    text = f"name: half\nelement: {{kind: int, encoding: unsigned, bits: 4}}\npack: {{{policy}}}\n"
    codec = Codec(parse_format(text), backend)
    for count in (0, 1, 2, 3, 64, 127, 1001):
        x = some(4, count)
        dense = codec.encode(x, packed=True)
        assert_bit_exact(dense, in_python(x, 4, order))
        assert_bit_exact(codec.decode(dense, packed=True, shape=(count,)), x)


# --- every length ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "order"), CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_small_length_and_its_inverse(backend: str, bits: int, order: str) -> None:
    """Into the middle of an array of ones: the padding is zero, and what lies beside the row stays."""
    codec, x = Codec(whole_numbers(bits, order), backend), some(bits, 200)
    for count in range(201):
        expected = in_python(x[:count], bits, order)
        assert_bit_exact(codec.encode(x[:count], packed=True), expected)
        room = np.full(len(expected) + 40, 0xFF, np.uint8)
        out = room[20 : 20 + len(expected)]
        assert codec.encode(x[:count], packed=True, out=out) is out
        assert_bit_exact(out, expected)
        assert (room[:20] == 0xFF).all()
        assert (room[20 + len(expected) :] == 0xFF).all()
        values = np.full(count + 40, np.float32(99))
        codec.decode(room[20 : 20 + len(expected)], packed=True, shape=(count,), out=values[20 : 20 + count])
        assert_bit_exact(values[20 : 20 + count], x[:count])
        assert (values[:20] == 99).all()
        assert (values[20 + count :] == 99).all()


@pytest.mark.parametrize(("bits", "order"), CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_lies_in_the_padding_and_behind_is_not_read(backend: str, bits: int, order: str) -> None:
    codec = Codec(whole_numbers(bits, order), backend)
    for count in (1, 3, 7, 63, 65, 130):
        dense = in_python(some(bits, count), bits, order)
        for filling in (0x00, 0xFF):
            room = np.full(len(dense) + 64, filling, np.uint8)
            room[: len(dense)] = dense
            spare = 8 * len(dense) - count * bits
            if filling and spare and bits < 8:
                room[len(dense) - 1] |= (1 << spare) - 1 if order == "msb" else 0xFF << (8 - spare) & 0xFF
            found = codec.decode(room[: len(dense)], packed=True, shape=(count,))
            assert_bit_exact(found, some(bits, count))


@pytest.mark.parametrize("shape", [(3, 5), (4, 1), (1, 77), (2, 3, 9), (5, 64), (3, 4, 65), (2, 0), (0, 5), (0,), ()])
@pytest.mark.parametrize(("bits", "order"), CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_padded(backend: str, bits: int, order: str, shape: tuple[int, ...]) -> None:
    codec, x = Codec(whole_numbers(bits, order), backend), some(bits, *shape)
    dense = codec.encode(x, packed=True)
    single = () if bits == 8 else (1,)
    assert dense.shape == ((*shape[:-1], row_bytes(shape[-1], bits)) if shape else single)
    assert_bit_exact(dense.reshape(-1), in_python(np.asarray(x), bits, order).reshape(-1))
    for array in (dense, dense.reshape(-1)):
        assert_bit_exact(codec.decode(array, packed=True, shape=shape), x.reshape(shape))
        exactly = codec.decode(array, packed=True, shape=shape, dtype="float64")
        assert_bit_exact(exactly, x.reshape(shape).astype(np.float64))
    for filled in (np.full(dense.shape, 0xFF, np.uint8), np.full((*dense.shape, 2), 0xFF, np.uint8)[..., 1]):
        codec.encode(x, packed=True, out=filled)
        assert_bit_exact(filled, dense)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_whole_rows_need_no_shape(bits: int, backend: str) -> None:
    codec, x = Codec(whole_numbers(bits), backend), some(bits, 3, 5, 16)
    dense = codec.encode(x, packed=True)
    assert_bit_exact(codec.decode(dense, packed=True), x)
    assert Codec(whole_numbers(6), backend).decode(np.zeros((2, 3), np.uint8), packed=True).shape == (2, 4)
    assert codec.decode(np.zeros((4, 0), np.uint8), packed=True).shape == (4, 0)


# --- arrays of every kind ----------------------------------------------------------------------------------------


VIEWS = {
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1, ::-1],
    "every other": lambda a: a[:, ::2],
    "inner part": lambda a: a[1:-1, 3:-4],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "Fortran order": np.asfortranarray,
    "a row": lambda a: a[2],
    "a column": lambda a: a[:, 2],
    "empty": lambda a: a[:0],
}


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("bits", [3, 4, 7])
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_view_is_read_and_written(backend: str, bits: int, kind: str) -> None:
    codec, x = Codec(whole_numbers(bits), backend), VIEWS[kind](some(bits, 9, 43))
    plain = np.array(x)
    dense = codec.encode(x, packed=True)
    assert_bit_exact(dense, in_python(plain, bits, "lsb"))
    strided = np.full((*dense.shape, 3), 0xFF, np.uint8)[..., 1]
    codec.encode(x, packed=True, out=strided)
    assert_bit_exact(strided, dense)
    frozen = strided.copy()
    frozen.flags.writeable = False
    for array in (strided, frozen, dense[::-1][::-1]):
        assert_bit_exact(codec.decode(array, packed=True, shape=x.shape), plain)
    values = np.zeros((*x.shape, 2), np.float64)[..., 0]
    codec.decode(dense, packed=True, shape=x.shape, out=values, dtype="float64")
    assert_bit_exact(np.array(values), plain.astype(np.float64))


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors(backend: str) -> None:
    codec, x = Codec(whole_numbers(5), backend), some(5, 4, 13)
    dense = codec.encode(torch.from_numpy(x), packed=True)
    assert (type(dense), dense.dtype) == (torch.Tensor, torch.uint8)
    assert_bit_exact(dense, codec.encode(x, packed=True))
    values = codec.decode(dense, packed=True, shape=torch.Size([4, 13]))
    assert (type(values), values.dtype) == (torch.Tensor, torch.float32)
    assert_bit_exact(values, x)
    out = torch.empty(4, 9, dtype=torch.uint8)
    assert codec.encode(x, packed=True, out=out) is out
    assert_bit_exact(out, dense)


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_of_every_type(backend: str, floats: str) -> None:
    for name in ("float4_e2m1fn", "float6_e3m2fn", "int5", "uint1", "float8_e5m2"):
        codec = Codec(load_format(name), backend)
        bits = around(codec.format, floats)
        x = array_of(bits, Storage(floats))
        assert_bit_exact(codec.encode(x, packed=True), in_python(codec.encode(x), codec.format.bits, "lsb"))


@settings(max_examples=60)
@given(text=specs(max_bits=8), seed=st.integers(0, 2**32 - 1), count=st.integers(0, 150))
def test_formats_of_random_specs(text: str, seed: int, count: int) -> None:
    format = parse_format(text)
    bits = accepted(format, random_bits(200, seed))[:count]
    codes = exact_codes(format, bits)
    big_endian = format.pack.bit_order.value == "msb" or format.pack.nibbles.value == "high_first"
    codec = Codec(format, "reference")
    dense = codec.encode(bits.view(np.float32), packed=True)
    assert_bit_exact(dense, in_python(codes, format.bits, "msb" if big_endian else "lsb"))
    values = codec.decode(dense, packed=True, shape=(len(bits),))
    assert_bit_exact(values, exact_values(format, codes).view(np.float32))


@pytest.mark.parametrize("backend", COMPILED)
def test_backends_on_random_specs(backend: str) -> None:
    @settings(max_examples=15)
    @given(text=specs(max_bits=7), seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(1, 200), (8, 25), (40, 5)]))
    def check_one(text: str, seed: int, shape: tuple[int, int]) -> None:
        format = parse_format(text)
        bits = accepted(format, random_bits(200, seed))
        assume(len(bits) == 200)
        x = bits.view(np.float32).reshape(shape)
        dense = Codec(format, backend).encode(x, packed=True)
        assert_bit_exact(dense, Codec(format, "reference").encode(x, packed=True))
        for values in ("float32", "float64"):
            found = Codec(format, backend).decode(dense, packed=True, shape=shape, dtype=values)
            assert_bit_exact(found, Codec(format, "reference").decode(dense, packed=True, shape=shape, dtype=values))

    check_one()


@pytest.mark.parametrize("name", [name for name in formats(kind="number") if load_format(name).bits <= 8])
def test_packing_is_encoding_and_unpacking_is_decoding(name: str) -> None:
    codec = Codec(load_format(name), "numba")
    bits = accepted(codec.format, around(codec.format))
    x = bits[: len(bits) // 3 * 3].reshape(3, -1).view(np.float32)
    codes, dense = codec.encode(x, seed=1), codec.encode(x, seed=1, packed=True)
    assert_bit_exact(codec.decode(dense, packed=True, shape=x.shape), codec.decode(codes))
    assert_bit_exact(dense, Codec(codec.format, "reference").encode(x, seed=1, packed=True))


# --- large arrays ------------------------------------------------------------------------------------------------


LARGE = [(SPLIT + 4099,), (2 * SPLIT + 1,), (3, SPLIT // 2 + 5), (700, 401), (SPLIT // 3, 5), (SPLIT + 3, 1)]


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("bits", [1, 3, 4, 6])
def test_threads_change_no_byte(bits: int, shape: tuple[int, ...]) -> None:
    for order in ORDERS:
        x = some(bits, *shape)
        dense = Codec(whole_numbers(bits, order), "reference").encode(x, packed=True)
        codec = Codec(whole_numbers(bits, order), "numba")
        for count in (1, 2, 3):
            set_threads(count)
            room = np.full(dense.nbytes + 128, 0xFF, np.uint8)
            codec.encode(x, packed=True, out=room[64:-64].reshape(dense.shape))
            assert_bit_exact(room[64:-64].reshape(dense.shape), dense)
            assert (room[:64] == 0xFF).all()
            assert (room[-64:] == 0xFF).all()
            assert_bit_exact(codec.decode(dense, packed=True, shape=shape), x)


@pytest.mark.parametrize("first", [0, 1, 17, 63])
@pytest.mark.parametrize("bits", WIDTHS)
def test_large_outputs_are_streamed_from_any_address(bits: int, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "STREAMING_BYTES", 1)
    codec, reference = Codec(whole_numbers(bits), "numba"), Codec(whole_numbers(bits), "reference")
    x = some(bits, SPLIT + 9000)
    for size in (1, 64, 65, 200, 5000, SPLIT + 8001):
        dense = reference.encode(x[:size], packed=True)
        room = np.full(first + len(dense) + 64, 0xFF, np.uint8)
        codec.encode(x[:size], packed=True, out=room[first : first + len(dense)])
        assert_bit_exact(room[first : first + len(dense)], dense)
        assert (room[:first] == 0xFF).all()
        assert (room[first + len(dense) :] == 0xFF).all()
        dense = room[first : first + len(dense)]
        for dtype, place in (("float32", 0), ("float32", 1), ("float32", 4), ("float64", 0), ("float64", 1)):
            values = np.full(size + 80, 99, dtype)
            beginning = -values.ctypes.data % kernel.ALIGNMENT // values.itemsize + place
            out = values[beginning : beginning + size]
            assert_bit_exact(
                codec.decode(dense, packed=True, shape=(size,), dtype=dtype, out=out), x[:size].astype(dtype)
            )
            assert (values[:beginning] == 99).all()
            assert (values[beginning + size :] == 99).all()


@pytest.mark.parametrize("size", [1000, SPLIT + 5000])
def test_memory_that_overlaps(size: int) -> None:
    codec = Codec(whole_numbers(4), "numba")
    memory = some(4, size)
    expected = in_python(memory[:1000], 4, "lsb")
    codes = memory.view(np.uint8)[: (size + 1) // 2]
    plain = memory.copy()
    codec.encode(memory, packed=True, out=codes)
    assert_bit_exact(codes[:500], expected)
    dense = codes.copy()
    values = memory.view(np.float32)
    codec.decode(codes, packed=True, shape=(size,), out=values)  # over the codes themselves
    assert_bit_exact(values, plain)
    assert_bit_exact(codec.decode(dense, packed=True, shape=(size,)), plain)


PAGES = """
import ctypes, mmap, sys
import numpy as np
import statqat_sim as sqs
from statqat_sim.codec import Codec

libc, page = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

def fenced():
    '''A page between two that nobody may touch.'''
    memory = np.frombuffer(mmap.mmap(-1, 3 * page), np.uint8)
    for place in (0, 2 * page):
        assert libc.mprotect(memory.ctypes.data + place, page, 0) == 0
    return memory[page : 2 * page]

def at_an_end(memory, dtype, count, last):
    size = np.dtype(dtype).itemsize * count
    return (memory[page - size :] if last else memory[:size]).view(dtype)

memories = fenced(), fenced()
for bits in range(1, 9):
    for order in ("lsb", "msb"):
        element = f"{{kind: int, encoding: unsigned, bits: {bits}}}"
        codec = Codec(sqs.parse_format(f"name: dense\\nelement: {element}\\npack: {{bit_order: {order}}}"), "numba")
        for count in (*range(1, 20), 63, 64, 65, 127, 128, 129, 200, 256, 511):
            for last in (False, True):
                x = at_an_end(memories[0], np.float32, count, last)
                x[:] = np.arange(count) * 5 % (1 << bits)
                dense = at_an_end(memories[1], np.uint8, -(-count * bits // 8), last)
                codec.encode(x, packed=True, out=dense)
                expected = x.copy()
                x[:] = -1
                codec.decode(dense, packed=True, shape=(count,), out=x)
                assert np.array_equal(x, expected), (bits, order, count, last)
codec = Codec(sqs.load_format("float8_e4m3fn"), "numba")
drawn = Codec(sqs.parse_format("name: d\\nextends: float8_e4m3fn\\nencode: {rounding: stochastic_a}"), "numba")
for dtype in (np.float16, np.float32, np.float64):
    for count in (1, 2, 63, 64, 65, 300):
        for last in (False, True):
            x = at_an_end(memories[0], dtype, count, last)
            x[:] = np.linspace(-3, 3, count)
            codes = at_an_end(memories[1], np.uint8, count, last)
            codec.encode(x, out=codes)
            assert np.array_equal(codes, codec.encode(x.copy()))
            drawn.encode(x, out=codes, seed=1)
            assert np.array_equal(codes, drawn.encode(x.copy(), seed=1))
            values = at_an_end(memories[0], np.float64, count, last)
            codec.decode(codes, out=values, dtype="float64")
            assert np.array_equal(values, codec.decode(codes.copy()))
print("untouched")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are protected by Linux's mprotect")
def test_no_byte_beyond_an_array_is_read_or_written() -> None:
    """Arrays that end where memory ends: one byte further is the end of the process."""
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("array", "shape", "message"),
    [
        (
            (2,),
            None,
            r"codes has rows of 16 bits, not a whole number of 3-bit codes; say their shape, .*shape=\(..., 5\)",
        ),
        ((4, 2), None, "codes has rows of 16 bits"),
        ((2,), (6,), r"codes has shape \(2,\); allowed: \(3,\), the bytes of 3-bit codes \(6,\)"),
        ((3,), (5,), r"codes has shape \(3,\); allowed: \(2,\)"),
        ((4, 2), (2, 9), r"codes has shape \(4, 2\); allowed: \(2, 4\), the bytes of 3-bit codes \(2, 9\)"),
        ((7,), (2, 9), r"codes has shape \(7,\); allowed: \(2, 4\)"),
        ((3,), (3, 0), r"codes has shape \(3,\); allowed: \(3, 0\)"),
        ((2,), (), r"codes has shape \(2,\); allowed: \(1,\)"),
        ((), (), r"codes has shape \(\); allowed: \(1,\)"),
        ((), None, r"codes has shape \(\); allowed: rows of bytes"),
        ((3,), 8, "shape is 8; allowed: a tuple of sizes"),
        ((3,), (-8,), r"shape is \(-8,\); allowed: a tuple of sizes"),
        ((0,), (-1,), r"shape is \(-1,\); allowed: a tuple of sizes"),
        ((3,), (8.0,), r"shape is \(8.0,\); allowed: a tuple of sizes"),
        ((3,), "8", "shape is '8'; allowed: a tuple of sizes"),
    ],
)
def test_lengths_that_do_not_fit(backend: str, array: tuple[int, ...], shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Codec(whole_numbers(3), backend).decode(np.zeros(array, np.uint8), packed=True, shape=shape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", range(1, 9))
def test_a_single_code_is_a_row_of_its_own(backend: str, bits: int) -> None:
    """Codes of 8 bits are packed as they are."""
    codec = Codec(whole_numbers(bits), backend)
    x = np.float32(1) if bits > 1 else np.float32(0)
    dense = codec.encode(x, packed=True)
    assert dense.shape == (() if bits == 8 else (1,))
    assert_bit_exact(codec.decode(dense, packed=True, shape=()), codec.fake_quantize(x))
    if bits < 8:
        with pytest.raises(ValueError, match=r"codes has shape \(\); allowed: rows of bytes, of one axis or more"):
            codec.decode(np.zeros((), np.uint8), packed=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_of_numbers_of_numpy(backend: str) -> None:
    codec = Codec(whole_numbers(3), backend)
    for shape in ((np.int64(2), np.uint8(5)), [2, 5], np.array([2, 5])):
        assert codec.decode(np.zeros((2, 2), np.uint8), packed=True, shape=shape).shape == (2, 5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(3, np.uint8), ValueError, r"out has shape \(3,\); allowed: \(2,\)"),
        (np.zeros(5, np.uint8), ValueError, r"out has shape \(5,\); allowed: \(2,\)"),
        (np.zeros((1, 2), np.uint8), ValueError, r"out has shape \(1, 2\)"),
        (np.zeros(2, np.int8), TypeError, "out is int8; allowed: uint8"),
        (np.frombuffer(bytes(2), np.uint8), ValueError, "out is read-only"),
    ],
)
def test_an_unfit_out_is_refused(backend: str, out: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Codec(whole_numbers(3), backend).encode(np.zeros(5, np.float32), packed=True, out=out)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.uint16, np.int8, np.float32])
def test_dense_codes_are_bytes(backend: str, dtype: type) -> None:
    with pytest.raises(TypeError, match=f"codes is {np.dtype(dtype)}; allowed: uint8"):
        Codec(whole_numbers(3), backend).decode(np.zeros(3, dtype), packed=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [9, 12, 16, 17, 32])
def test_codes_of_more_than_a_byte_are_not_packed(backend: str, bits: int) -> None:
    codec = Codec(parse_format(f"name: wide\nelement: {{kind: int, bits: {bits}}}\n"), backend)
    with pytest.raises(UnsupportedError, match=f"wide: packed codes of {bits} bits; allowed: up to 8 bits"):
        codec.encode(np.zeros(3, np.float32), packed=True)
    with pytest.raises(UnsupportedError, match=f"wide: packed codes of {bits} bits; allowed: up to 8 bits"):
        codec.decode(np.zeros(3, np.uint8), packed=True)


def test_all_codes_of_two_follow_each_other() -> None:
    """Every pair of neighbours, in every place of a byte."""
    for bits in (2, 3, 5):
        pairs = itertools.product(range(1 << bits), repeat=2)
        x = np.array([0, *itertools.chain.from_iterable(pairs)], np.float32)
        for start in range(8):
            codec = Codec(whole_numbers(bits, "msb"), "numba")
            assert_bit_exact(codec.encode(x[start:], packed=True), in_python(x[start:], bits, "msb"))
