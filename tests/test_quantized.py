"""Quantizing with block formats as users do it: kinds of arrays, axes, given scales, `out`, and what is refused."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from block_specs import SPECS, SQUARES, block_format

import statqat_sim as sqs
from statqat_sim.errors import UnsupportedError
from statqat_sim.identification import identify
from statqat_sim.reference.blocks import quantize_exactly
from statqat_sim.runtime import Backend, backend_named, block_kernel
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

Array = Any
NEEDS_SCALE = ("given",)
SHAPES = [(), (1,), (5,), (64,), (3, 70), (2, 5, 33), (0, 4), (4, 0)]


def codec_of(name: str, backend: str = "reference") -> sqs.Codec:
    return sqs.Codec(block_format(name), backend=backend)


def some(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(3)


def options(name: str) -> dict[str, Any]:
    """What a format needs besides x."""
    return {"scale": 0.5} if name in NEEDS_SCALE else {"seed": 7} if name == "stochastic" else {}


def cases() -> list[tuple[str, tuple[int, ...], int]]:
    """Formats, shapes, and axes that blocks may run along."""
    every = itertools.product(SPECS, SHAPES)
    fits = [(name, shape) for name, shape in every if name not in SQUARES or len(shape) > 1]
    axes = {name: range(-2, 0) if name in SQUARES else range(-1, 3) for name in SPECS}
    return [(name, shape, axis) for name, shape in fits for axis in axes[name] if axis < max(len(shape), 1)]


# --- there and back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape", "axis"), cases())
def test_every_way_gives_the_same_bits(name: str, shape: tuple[int, ...], axis: int) -> None:
    codec, x, more = codec_of(name), np.asarray(some(*shape)), options(name)
    q = codec.quantize(x, axis=axis, **more)
    y = codec.dequantize(q)
    assert q.shape == q.codes.shape == y.shape == x.shape
    assert y.dtype == np.float32
    assert_bit_exact(codec.fake_quantize(x, axis=axis, **more), y)
    assert codec.pack(x, axis, **more) == q.pack()
    assert sqs.unpack(q.pack(), codec.format, shape, axis) == q


@pytest.mark.parametrize("name", SPECS)
def test_nonfinite_elements_too(name: str) -> None:
    x = some(6, 64)
    x[1, 3], x[2, 40], x[3], x[4] = np.nan, -np.inf, 0, 1e-42
    codec, more = codec_of(name), options(name)
    q = codec.quantize(x, **more)
    assert_bit_exact(codec.fake_quantize(x, **more), codec.dequantize(q))


@pytest.mark.parametrize(
    "name", [name for name in sqs.formats() if not isinstance(sqs.load_format(name), NumberFormat)]
)
def test_every_format_of_the_catalog_goes_there_and_back(name: str) -> None:
    codec = sqs.Codec(sqs.load_format(name), backend="reference")
    more = {"scale": 0.25} if codec.format.needs_scale else {}
    for shape in ((3, 70), (2, 512)):
        x = some(*shape)
        q = codec.quantize(x, **more)
        assert_bit_exact(codec.fake_quantize(x, **more), codec.dequantize(q))
        assert codec.pack(x, **more) == q.pack()
        assert sqs.unpack(q.pack(), codec.format, shape) == q


def test_along_an_axis_is_along_rows_of_the_transposed() -> None:
    codec, x = codec_of("mx9"), some(3, 37, 4)
    for axis in range(3):
        moved = codec.quantize(np.moveaxis(x, axis, -1))
        q = codec.quantize(x, axis=axis)
        assert q.axis == axis
        assert np.array_equal(np.moveaxis(q.codes, axis, -1), moved.codes)
        for ours, theirs in zip(q.scales, moved.scales, strict=True):
            assert np.array_equal(np.moveaxis(ours, axis, -1), theirs)
        assert q.pack() == moved.pack()


def test_a_ragged_block_is_a_block() -> None:
    """Missing elements do not exist: they neither raise the scale nor take codes."""
    codec, x = codec_of("mxfp4"), some(2, 40)
    q, last = codec.quantize(x), codec.quantize(x[:, 32:])
    assert np.array_equal(q.codes[:, 32:], last.codes)
    assert np.array_equal(q.scales[0][:, 1:], last.scales[0])


# --- the tensor --------------------------------------------------------------------------------------------------


def test_scales_have_the_shapes_of_their_blocks() -> None:
    q = codec_of("nvfp4").quantize(some(3, 40))
    assert [(scale.shape, scale.dtype.name) for scale in q.scales] == [((1, 1), "float32"), ((3, 3), "uint8")]
    assert q.offset is None
    assert q.offset_scales == ()
    q = codec_of("q4_k").quantize(some(300, 2), axis=0)
    assert [(scale.shape, scale.dtype.name) for scale in q.scales] == [((2, 2), "float16"), ((10, 2), "uint8")]
    assert q.offset.shape == (10, 2)
    assert [scale.shape for scale in q.offset_scales] == [(2, 2)]
    assert [scale.shape for scale in codec_of("squares").quantize(some(2, 9, 17)).scales] == [(2, 3, 3)]
    assert [scale.shape for scale in codec_of("channels").quantize(some(4, 9), axis=0).scales] == [(1, 9)]


def test_scale_values_are_factors() -> None:
    outer, inner = np.array([[130, 127]], np.uint8), np.zeros((1, 16), np.uint8)
    inner[0, 1] = 1
    q = sqs.QuantizedTensor(np.full((1, 32), 64, np.uint8), (outer, inner), block_format("mx9"))
    first, second = q.scale_values()
    assert first.dtype == second.dtype == np.float32
    assert first.tolist() == [[8.0, 1.0]]
    assert second.tolist() == [[1.0, 0.5] + [1.0] * 14]
    y = codec_of("mx9").dequantize(q)
    assert y[0, :4].tolist() == [8.0, 8.0, 4.0, 4.0]


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "mx9", "squares", "nested", "given"])
def test_values_are_codes_times_every_scale(name: str) -> None:
    format, x = block_format(name), some(4, 32)
    q = codec_of(name).quantize(x, **options(name))
    product = np.ones((4, 32), np.float32)
    for scale in q.scale_values():
        rows, columns = (-(-long // short) for long, short in zip(x.shape, scale.shape, strict=True))
        product = product * np.repeat(np.repeat(scale, rows, 0), columns, 1)
    expected = format.element.table()[q.codes].astype(np.float32) * product
    assert np.array_equal(codec_of(name).dequantize(q), expected)


def test_its_size_is_told() -> None:
    q = codec_of("nvfp4").quantize(some(128, 64))
    assert q.nbytes == len(q.pack()) == 4 + 512 + 4096
    assert q.bits_per_element == 8 * q.nbytes / 8192
    assert repr(q) == "QuantizedTensor(nvfp4, shape=(128, 64), axis=1: 4612 bytes, 4.504 bits per element)"
    assert math.isnan(codec_of("mxfp4").quantize(some(0, 4)).bits_per_element)


def test_tensors_are_equal_if_all_their_bits_are() -> None:
    codec, x = codec_of("q4_1"), some(2, 64)
    q = codec.quantize(x)
    assert q == codec.quantize(x)
    assert q == pickle.loads(pickle.dumps(q))
    assert q != codec.quantize(-x)
    assert q != codec_of("mxfp4").quantize(x)
    assert q != "q"
    assert codec_of("mxfp4").quantize(some(64, 64)) != codec_of("mxfp4").quantize(some(64, 64), axis=0)
    with pytest.raises(TypeError):
        hash(q)


def test_a_tensor_is_frozen() -> None:
    q = codec_of("mxfp4").quantize(some(2))
    with pytest.raises(AttributeError):
        q.codes = None  # type: ignore[misc]


@pytest.mark.parametrize("name", ["mxfp4", "mxfp6", "mx9", "given", "zero_points", "q4_0", "q4_k", "nested"])
def test_bits_above_a_code_s_width_mean_nothing(name: str) -> None:
    codec = codec_of(name)
    q = codec.quantize(some(2, 256), **options(name))
    arrays = {}
    for stored in q.format.stored:
        array = q.arrays()[stored.name]
        above = 0 if array.dtype.kind == "f" else (1 << 8 * array.itemsize) - (1 << stored.format.bits)
        arrays[stored.name] = array | array.dtype.type(above) if above else array.copy()
    assert any(not np.array_equal(array, q.arrays()[name]) for name, array in arrays.items())
    scales, offsets = ([array for key, array in arrays.items() if key.startswith(kind)] for kind in ("scale", "offset"))
    offset = offsets[-1] if offsets else None
    same = sqs.QuantizedTensor(arrays["elements"], tuple(scales), q.format, q.axis, offset, tuple(offsets[:-1]))
    assert same == q
    assert_bit_exact(codec.dequantize(same), codec.dequantize(q))
    assert same.pack() == q.pack()
    for ours, theirs in zip(same.scale_values(), q.scale_values(), strict=True):
        assert_bit_exact(ours, theirs)
    arrays["elements"][0, 0] ^= 1
    assert same != q


@pytest.mark.parametrize("shape", [(), (5,), (3, 40), (2, 3, 40)])
def test_a_scale_of_the_whole_array_is_a_field_of_no_axes(shape: tuple[int, ...]) -> None:
    """As many axes as the array in `scales`, and where it is bytes; none where `fields` has it as a float."""
    codec = codec_of("nvfp4")
    q = codec.quantize(np.asarray(some(*shape)))
    fields = q.fields()
    assert q.scales[0].shape == (1,) * len(shape)
    assert (fields["scale0"].shape, fields["scale0"].dtype) == ((), np.float32)
    assert fields["scale0"] == q.scales[0].reshape(())
    assert b"".join(field.tobytes() for field in fields.values()) == q.pack()
    back = sqs.unpack(q.pack(), q.format, shape)
    assert back == q
    assert back.scales[0].shape == (1,) * len(shape)
    whole = codec_of("whole").quantize(np.asarray(some(*shape)))
    assert (whole.fields()["scale"].shape, whole.fields()["scale"].dtype) == ((2,), np.uint8)  # of bfloat16


CODES, SCALES = np.zeros((2, 40), np.uint8), np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("codes", "scales", "more", "error", "message"),
    [
        (CODES.astype(np.int8), (SCALES,), {}, TypeError, "elements is int8; allowed: uint8"),
        ([1, 2], (SCALES,), {}, TypeError, "codes is of type list"),
        (CODES, (SCALES.astype(np.float32),), {}, TypeError, "scale is float32; allowed: uint8"),
        (CODES, (SCALES[:, :1],), {}, ValueError, r"scale has shape \(2, 1\); allowed: \(2, 2\)"),
        (CODES, (SCALES,), {"axis": 0}, ValueError, r"scale has shape \(2, 2\); allowed: \(1, 40\)"),
        (CODES, (SCALES,), {"axis": 2}, ValueError, "axis is 2; allowed: -2 to 1"),
        (CODES, (SCALES, SCALES), {}, ValueError, "2 arrays of scales and 0 of offsets; allowed for mxfp4: scale"),
        (CODES, (SCALES,), {"offset": SCALES}, ValueError, "1 arrays of scales and 1 of offsets"),
        (CODES, (SCALES,), {"offset_scales": (SCALES,)}, ValueError, "1 arrays of scales and 1 of offsets"),
        (CODES, SCALES, {}, TypeError, r"scales is of type ndarray; allowed: a tuple of arrays, .*: scales=\(scale,\)"),
        (CODES, torch.from_numpy(SCALES), {}, TypeError, "scales is of type Tensor; allowed: a tuple of arrays"),
        (CODES, None, {}, TypeError, "scales is of type NoneType; allowed: a tuple of arrays"),
        (
            CODES,
            (SCALES,),
            {"offset_scales": SCALES},
            TypeError,
            r"offset_scales is of type ndarray; .*offset_scale,\)",
        ),
    ],
)
def test_a_tensor_s_arrays_fit(
    codes: Any, scales: Any, more: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sqs.QuantizedTensor(codes, scales, block_format("mxfp4"), **more)


def test_a_tensor_needs_a_block_format() -> None:
    with pytest.raises(TypeError, match="uint4 is a number format; allowed: a BlockFormat"):
        sqs.QuantizedTensor(CODES, (SCALES,), sqs.load_format("uint4"))  # type: ignore[arg-type]


# --- inputs and outputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "uint16", "int32", "int64"])
def test_every_dtype_becomes_float32_first(dtype: str) -> None:
    codec = codec_of("nvfp4")
    x = (some(4, 48) * 20).astype(getattr(ml_dtypes if dtype == "bfloat16" else np, dtype))
    as_float32 = x.astype(np.float32)
    assert codec.quantize(x) == codec.quantize(as_float32)
    assert codec.pack(x) == codec.pack(as_float32)
    assert_bit_exact(codec.fake_quantize(x), codec.fake_quantize(as_float32))
    if dtype != "uint16":
        tensor = torch.from_numpy(as_float32).to(getattr(torch, dtype))
        assert codec.quantize(tensor) == codec.quantize(x)


def test_a_float64_beyond_float32_is_infinite() -> None:
    codec = codec_of("nvfp4")
    assert codec.quantize(np.array([1e300, 1.0])) == codec.quantize(np.array([np.inf, 1.0], np.float32))


def test_integers_are_rounded_once() -> None:
    x = np.array([(1 << 62) + (1 << 38) + 1, 1], np.int64)  # through float64 it would be a tie
    codec = sqs.Codec(sqs.parse_format("name: t\nelement: float32\nscales: [{format: float32, block: 2}]"), "reference")
    expected = codec.quantize(np.array([2.0**62 + 2.0**39, 1], np.float32))
    assert codec.quantize(x) == expected


def test_strides_and_byte_orders_do_not_matter() -> None:
    codec, x = codec_of("mxfp4"), some(6, 80)
    read_only = x.copy()
    read_only.flags.writeable = False
    for view in (read_only, np.asfortranarray(x), x.astype(">f4"), np.repeat(x, 2, 1)[:, ::2], x[::-1][::-1]):
        assert codec.quantize(view) == codec.quantize(x)
        assert_bit_exact(codec.fake_quantize(view), codec.fake_quantize(x))
        assert codec.pack(view) == codec.pack(x)


@pytest.mark.parametrize("name", ["nvfp4", "q4_k", "zero_points"])
def test_tensors_give_tensors(name: str) -> None:
    codec, x = codec_of(name), some(4, 300)
    tensor = torch.from_numpy(x)
    q, expected = codec.quantize(tensor), codec.quantize(x)
    for array in (q.codes, *q.scales, *q.offset_scales, *q.scale_values()):
        assert isinstance(array, torch.Tensor)
    assert q == expected
    assert q.pack() == codec.pack(tensor) == expected.pack()
    assert all(isinstance(field, np.ndarray) for field in q.fields().values())
    y = codec.dequantize(q)
    assert isinstance(y, torch.Tensor)
    assert_bit_exact(y, codec.dequantize(expected))
    assert_bit_exact(codec.fake_quantize(tensor), y)


def test_gradients_are_left_behind() -> None:
    codec, x = codec_of("mxfp4"), torch.ones(3, requires_grad=True)
    assert not codec.fake_quantize(x).requires_grad


@pytest.mark.parametrize("name", ["nvfp4", "squares", "q4_k", "searched"])
def test_out_may_be_x(name: str) -> None:
    codec, x = codec_of(name), some(8, 70)
    expected = codec.fake_quantize(x)
    inside = np.zeros((8, 140), np.float32)[:, ::2]
    assert codec.fake_quantize(x, out=inside) is inside
    assert_bit_exact(np.ascontiguousarray(inside), expected)
    assert codec.fake_quantize(x, out=x) is x
    assert_bit_exact(x, expected)


def test_out_may_overlap_x() -> None:
    codec, memory = codec_of("nvfp4"), some(200)
    expected = codec.fake_quantize(memory[:160].copy())
    codec.fake_quantize(memory[:160], out=memory[7:167])
    assert_bit_exact(memory[7:167], expected)


def test_dequantize_writes_to_out() -> None:
    codec, x = codec_of("mxfp4"), some(3, 40)
    q = codec.quantize(x)
    out = torch.zeros(40, 3).T
    assert codec.dequantize(q, out=out) is out
    assert_bit_exact(out.contiguous(), codec.dequantize(q))


def test_out_may_overlap_codes() -> None:
    codec = codec_of("nvfp4")
    memory = np.zeros(400, np.uint8)
    q = codec.quantize(some(64))
    expected = codec.dequantize(q)
    codes = memory[100:164]
    codes[:] = q.codes
    out = memory[:256].view(np.float32)
    moved = sqs.QuantizedTensor(codes, q.scales, q.format)
    assert_bit_exact(codec.dequantize(moved, out=out).copy(), expected)


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
@pytest.mark.parametrize("name", ["nf4_block64", "fp8_block128_deepseek", "mxfp4"])
def test_out_over_given_scales(name: str, backend: str) -> None:
    codec, x = sqs.Codec(sqs.load_format(name), backend), some(64, 128)
    memory = np.abs(some(64, 128)) + np.float32(0.5)
    count = codec.quantize(x).scales[0].size
    scale = memory.reshape(-1)[:count].reshape(64, -1)
    expected = codec.fake_quantize(x, scale=scale.copy())
    assert_bit_exact(codec.fake_quantize(x, scale=scale, out=memory), expected)


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
def test_out_over_stored_scales(backend: str) -> None:
    codec, x = sqs.Codec(sqs.load_format("nf4_block64"), backend), some(4096)
    q = codec.quantize(x)
    memory = np.zeros(4096, np.float32)
    memory[:64] = q.scales[0]
    moved = sqs.QuantizedTensor(q.codes, (memory[:64],), q.format)
    assert_bit_exact(codec.dequantize(moved, out=memory), codec.dequantize(q))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((3, 4), np.float64), TypeError, "out is float64; allowed: float32"),
        (np.zeros((4, 3), np.float32), ValueError, r"out has shape \(4, 3\); allowed: \(3, 4\)"),
        ([0.0], TypeError, "out is of type list"),
        (np.broadcast_to(np.float32(0), (3, 4)), ValueError, "read-only"),
    ],
)
def test_wrong_outs_are_refused(out: Any, error: type[Exception], message: str) -> None:
    codec, x = codec_of("mxfp4"), some(3, 4)
    with pytest.raises(error, match=message):
        codec.fake_quantize(x, out=out)
    with pytest.raises(error, match=message):
        codec.dequantize(codec.quantize(x), out=out)


@pytest.mark.parametrize("x", [[1.0, 2.0], np.array([True]), np.array([1j]), np.array(["a"]), None, 1.0])
def test_what_is_no_array_of_numbers_is_refused(x: Any) -> None:
    for method in ("quantize", "fake_quantize", "pack"):
        with pytest.raises(TypeError, match="x is"):
            getattr(codec_of("mxfp4"), method)(x)


@pytest.mark.parametrize(("name", "shape", "axis"), [("mxfp4", (3, 4), 2), ("mxfp4", (), 1), ("squares", (3, 4, 5), 0)])
def test_wrong_axes_are_refused(name: str, shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(ValueError, match="ax"):
        codec_of(name).quantize(np.asarray(some(*shape)), axis=axis)


# --- given scales, weights, random bits --------------------------------------------------------------------------


def test_a_given_scale_is_encoded() -> None:
    codec, x = codec_of("given"), some(2, 16)
    scale = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    q = codec.quantize(x, scale=scale)
    assert_bit_exact(q.scales[0], scale.astype(np.float16))
    expected = np.clip(np.rint(x / np.repeat(scale.astype(np.float16).astype(np.float32), 8, 1)), -8, 7)
    assert np.array_equal(block_format("given").element.table()[q.codes], expected)
    assert codec.quantize(x, scale=scale[:, :1]) == codec.quantize(x, scale=np.repeat(scale[:, :1], 2, 1))
    assert codec.quantize(x, scale=0.25) == codec.quantize(x, scale=torch.full((2, 2), 0.25))


def test_a_given_scale_replaces_the_outermost_rule() -> None:
    codec, x = codec_of("nvfp4"), some(4, 32)
    q = codec.quantize(x, scale=0.125)
    assert q.scales[0].tolist() == [[0.125]]
    assert q.format is codec.format
    inner = np.abs(x).reshape(4, 2, 16).max(-1) / np.float32(6) / np.float32(0.125)
    number = sqs.Codec(sqs.load_format("float8_e4m3fn"))
    assert np.array_equal(q.scales[1], number.encode(inner))
    assert_bit_exact(codec.fake_quantize(x, scale=0.125), codec.dequantize(q))
    assert codec.pack(x, scale=0.125) == q.pack()
    assert codec.quantize(x) == codec.quantize(x, scale=codec.quantize(x).scales[0])


@pytest.mark.parametrize("block", ["tensor", "channel"])
def test_blocks_too_long_for_the_place_of_their_largest_element_are_refused(block: str) -> None:
    """Of an array that takes no memory."""
    levels = f"[{{block: {block}, format: float32, rule: signed_absmax}}]"
    format = sqs.parse_format(f"name: long\nelement: int8\nscales: {levels}\n")
    x = np.broadcast_to(np.float32(1), (1, (1 << 30) + 1))
    with pytest.raises(UnsupportedError, match=r"long counts at most 2\^30 elements of a block; this array is"):
        sqs.Codec(format, "reference").quantize(x)


@pytest.mark.parametrize(
    ("name", "scale", "error", "message"),
    [
        ("given", None, ValueError, r"given has a scale that the caller gives \(rule: given\)"),
        ("given", np.nan, ValueError, "scale is NaN; allowed for given: 0 and above"),
        ("given", -1.0, ValueError, "scale is negative; allowed for given: 0 and above"),
        ("given", np.float32([[1], [-1]]), ValueError, r"scale\[1, 0\] is negative"),
        ("q4_0", np.nan, ValueError, "scale is NaN; allowed for q4_0: numbers"),
        ("mxfp4", np.full((2, 1), 127, np.uint8), TypeError, "scale is uint8, which may be codes of float8_e8m0fnu"),
        ("mxfp4", np.full((2, 1), 127), TypeError, r"allowed: a number, or float32, as q.scale_values\(\) has them"),
        ("mxfp4", torch.full((2, 1), 127, dtype=torch.uint8), TypeError, "scale is uint8, which may be codes"),
        ("mxfp4", np.uint8(127), TypeError, "scale is uint8, which may be codes of float8_e8m0fnu"),
        ("nested", np.ones((2, 1), np.uint8), TypeError, "scale is uint8, which may be codes of uint6"),
        ("given", np.ones((2, 16), np.float32), ValueError, r"allowed: shapes that broadcast to \(2, 2\)"),
        ("given", np.ones((2, 2)), TypeError, "scale is float64; allowed: float32"),
        ("zero_points", 1.0, UnsupportedError, "finds its offsets together with its scales"),
    ],
)
def test_wrong_scales_are_refused(name: str, scale: Any, error: type[Exception], message: str) -> None:
    for method in ("quantize", "fake_quantize", "pack"):
        with pytest.raises(error, match=message):
            getattr(codec_of(name), method)(some(2, 16), scale=scale)


def test_integers_are_values_where_scales_are_stored_as_floats() -> None:
    x = some(2, 16)
    for name in ("nvfp4", "given"):
        assert codec_of(name).quantize(x, scale=np.array([[2]], np.uint8)) == codec_of(name).quantize(x, scale=2)
    assert codec_of("mxfp4").quantize(x, scale=2) == codec_of("mxfp4").quantize(x, scale=2.0)


def test_a_given_scale_may_be_negative_where_the_rule_s_may() -> None:
    codec, x = codec_of("q4_0"), some(2, 64)
    scale = np.array([[-0.5, 0.25], [0.0, -1.0]], np.float32)
    q = codec.quantize(x, scale=scale)
    assert_bit_exact(q.scale_values()[0], scale)
    steps = x / np.where(scale == 0, np.float32(np.inf), scale).repeat(32, 1)
    expected = np.clip(np.floor(steps + np.float32(0.5)), -8, 7) * scale.repeat(32, 1)
    assert np.array_equal(codec.dequantize(q), expected)
    assert np.array_equal(codec.fake_quantize(x, scale=scale), expected)
    negative_target = sqs.parse_format("name: neg\nelement: int4\nscales: [{format: float16, block: 8, target: -8}]")
    assert_bit_exact(
        sqs.Codec(negative_target).quantize(x, scale=-2).scale_values()[0], np.full((2, 8), -2, np.float32)
    )


@pytest.mark.parametrize("name", ["q4_0", "gguf_q6_k", "gguf_iq4_nl", "gguf_q3_k"])
def test_negative_scales_are_those_of_the_definition(name: str) -> None:
    format = block_format(name) if name in SPECS else sqs.load_format(name)
    x, level = some(2, 256), format.scales[0]
    shape = (2, 256 // level.block)
    scale = np.linspace(-1, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    expected = quantize_exactly(format, x, scale=scale)
    for backend in ("reference", "numba"):
        q = sqs.Codec(format, backend).quantize(x, scale=scale)
        assert np.array_equal(q.codes, expected.codes)
        for ours, theirs in zip(q.scales, expected.scales, strict=True):
            assert np.array_equal(ours.view(f"u{ours.itemsize}"), theirs)


def test_weights_choose_the_scale() -> None:
    """Of two scales the plain one cuts the largest element off; weight on the others keeps it."""
    codec = codec_of("searched")
    x = np.full((1, 32), 0.5, np.float32)
    x[0, 0] = 7.9
    on_first, on_others = (np.where(np.arange(32) == 0, one, 1 - one) for one in (1.0, 0.0))
    kept, cut = (codec.quantize(x, weights=weights) for weights in (on_first, on_others))
    assert kept.scales[0] > cut.scales[0]
    assert_bit_exact(codec.fake_quantize(x, weights=on_others), codec.dequantize(cut))
    columns = codec.quantize(x.T.copy(), axis=0, weights=torch.from_numpy(on_others))
    assert np.array_equal(columns.codes.T, cut.codes)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("searched", np.ones(31), r"weights have shape \(31,\); allowed: \(32,\)"),
        ("searched", np.ones((1, 32)), r"allowed: \(32,\)"),
        ("searched", np.full(32, -1.0), "negative, NaN or infinite"),
        ("searched", np.full(32, np.nan), "negative, NaN or infinite"),
        ("mxfp4", np.ones(32), "mxfp4 compares no errors"),
    ],
)
def test_wrong_weights_are_refused(name: str, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec_of(name).quantize(some(2, 32), weights=weights)


def test_weights_need_a_block_format() -> None:
    with pytest.raises(ValueError, match="uint4 has no blocks"):
        sqs.Codec(sqs.load_format("uint4")).fake_quantize(some(3), weights=np.ones(3))


def test_parts_get_the_random_bits_of_the_whole() -> None:
    codec, x = codec_of("stochastic"), some(4, 64)
    whole = codec.quantize(x, seed=5)
    assert whole == codec.quantize(x, seed=5)
    assert whole != codec.quantize(x, seed=6)
    assert np.array_equal(codec.quantize(x[2:], seed=5, offset=128).codes, whole.codes[2:])
    along_columns = codec.quantize(np.ascontiguousarray(x.T), axis=0, seed=5)
    assert not np.array_equal(along_columns.codes.T, whole.codes)  # the index is x's, not the block's
    assert codec.quantize(x) != codec.quantize(x)
    with pytest.raises(ValueError, match="seed is -1"):
        codec.quantize(x, seed=-1)


# --- NaN that a format refuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nonfinite", ["saturate", "nan_block"])
def test_nan_is_refused_where_it_would_reach_an_element(nonfinite: str) -> None:
    text = (
        "name: strict\nelement: float4_e2m1fn\nencode: {nan_input: error}\n"
        f"scales: [{{format: float8_e8m0fnu, block: 4, rule: floor, nonfinite: {nonfinite}}}]\n"
    )
    codec = sqs.Codec(sqs.parse_format(text), backend="reference")
    x = some(2, 5)
    x[1, 2] = np.nan
    if nonfinite == "nan_block":
        assert np.isnan(codec.fake_quantize(x)[1, :4]).all()
        return
    for method in ("quantize", "fake_quantize", "pack"):
        with pytest.raises(ValueError, match=r"x\[1, 2\] is NaN, which strict refuses"):
            getattr(codec, method)(x)
    assert not np.isnan(codec.fake_quantize(np.where(np.isnan(x), np.inf, x))).any()


# --- formats and backends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["encode", "decode"])
def test_codes_alone_are_for_number_formats(method: str) -> None:
    x = np.zeros(3, np.float32 if method == "encode" else np.uint8)
    with pytest.raises(UnsupportedError, match="mxfp4 is a block format.*allowed: quantize, dequantize"):
        getattr(codec_of("mxfp4"), method)(x)


def test_scales_are_for_block_formats() -> None:
    codec = sqs.Codec(sqs.load_format("uint4"))
    for method, instead in {"quantize": "encode", "pack": r"encode\(x, packed=True\)", "dequantize": "decode"}.items():
        with pytest.raises(UnsupportedError, match=f"uint4 is a number format.*allowed: {instead}"):
            getattr(codec, method)(some(3))


def test_a_tensor_of_another_format_is_refused() -> None:
    q = codec_of("mxfp4").quantize(some(3))
    with pytest.raises(ValueError, match="q is in mxfp4; allowed: nvfp4"):
        codec_of("nvfp4").dequantize(q)
    with pytest.raises(TypeError, match="q is of type ndarray; allowed: a QuantizedTensor"):
        codec_of("nvfp4").dequantize(q.codes)  # type: ignore[arg-type]
    namesake = sqs.parse_format("name: mxfp4\n" + SPECS["nvfp4"])
    with pytest.raises(ValueError, match="q is in another mxfp4"):
        sqs.Codec(namesake, "reference").dequantize(q)


def test_a_backend_may_have_no_block_formats() -> None:
    class Elementwise:
        """A third party's, from before there were block formats."""

        name = "elementwise"
        compile = available = versions = owns = None

    backend: Backend = Elementwise()  # type: ignore[assignment]
    with pytest.raises(UnsupportedError, match="backend 'elementwise' has no block formats"):
        block_kernel(backend, None)  # type: ignore[arg-type]
    assert isinstance(backend_named("reference"), Backend)


# --- what a user may get wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sqs.formats(kind="block"))
def test_a_scale_is_taken_or_refused_by_name(name: str) -> None:
    codec, x = sqs.Codec(sqs.load_format(name), "reference"), np.ones((32, 256), np.float32)
    rules = {level.rule for level in codec.format.scales} | {level.order for level in codec.format.scales}
    if rules & {"minmax", "encode"}:
        with pytest.raises(sqs.UnsupportedError, match="allowed: no scale="):
            codec.quantize(x, scale=2.0)
    else:
        assert np.isfinite(codec.dequantize(codec.quantize(x, scale=2.0))).all()


def test_weights_need_a_rule_that_is_left() -> None:
    format = sqs.load_format("mxfp4.mse")
    with pytest.raises(ValueError, match="under scale= mxfp4.mse compares no errors, .*; allowed: no scale="):
        sqs.Codec(format).quantize(np.ones(32, np.float32), scale=1.0, weights=np.ones(32))


@pytest.mark.parametrize("axis", [None, 1.0, "x", True])
def test_an_axis_is_an_integer(axis: Any) -> None:
    with pytest.raises(TypeError, match="axis is .*allowed: -2 to 1"):
        sqs.Codec(sqs.load_format("mxfp4")).quantize(np.ones((2, 32), np.float32), axis=axis)


def test_an_axis_may_be_a_numpy_integer() -> None:
    q = sqs.Codec(sqs.load_format("mxfp4")).quantize(np.ones((2, 32), np.float32), axis=np.int64(-1))
    assert q.axis == 1


@pytest.mark.parametrize("facts", ["grid", "table"])
def test_values_are_told_of_elements(facts: str) -> None:
    with pytest.raises(sqs.UnsupportedError, match=rf"allowed: element\.{facts}\(\)"):
        getattr(sqs.load_format("mxfp4"), facts)()


def test_identify_refuses_an_axis_that_is_not_there() -> None:
    x = np.ones((2, 32), np.float32)
    with pytest.raises(ValueError, match="axis is 9"):
        identify(x, values=x, axis=9)
