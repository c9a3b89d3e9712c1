"""What users call: arguments, errors, and which backend answers."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import edges, random_bits

import statqat_sim as sqs
from statqat_sim import Codec, NumberFormat, formats, load_format, measure, parse_format
from statqat_sim.spec.encode import NanInput
from statqat_sim.testing import assert_bit_exact

E4M3, INT4 = load_format("float8_e4m3fn"), load_format("int4")
REFUSES = parse_format("name: strict\nelement: {kind: int, bits: 4}\nencode: {nan_input: error}\n")
X = np.float32([1.0, -0.3, 1e9, -np.inf, np.nan, 0.0, -0.0])


def inputs(format: NumberFormat) -> Any:
    x = np.concatenate([edges(format, most=300), random_bits(1000)]).view(np.float32)
    return x[~np.isnan(x)] if format.encode.nan_input is NanInput.ERROR else x


# --- results -----------------------------------------------------------------------------------------------------


def test_the_example_of_the_docstring() -> None:
    codec = Codec(E4M3)
    assert codec.encode(X[:3]).tolist() == [0x38, 0xAA, 0x7E]
    assert codec.decode(codec.encode(X[:3])).tolist() == codec.fake_quantize(X[:3]).tolist() == [1.0, -0.3125, 448.0]


@pytest.mark.parametrize("name", formats(kind="number"))
def test_fake_quantize_is_decode_after_encode(name: str) -> None:
    codec = Codec(load_format(name))
    x = inputs(codec.format)
    assert_bit_exact(codec.fake_quantize(x), codec.decode(codec.encode(x)))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "int4", "bfloat16", "nf4"])
def test_dtypes_and_shapes(name: str) -> None:
    codec = Codec(load_format(name))
    x = np.zeros((3, 1, 5), np.float32)
    codes = codec.encode(x)
    assert (codes.dtype, codes.shape) == (np.uint8 if codec.format.bits <= 8 else np.uint16, x.shape)
    for y in (codec.decode(codes), codec.fake_quantize(x), codec.fake_quantize(x, scale=2.0)):
        assert (y.dtype, y.shape) == (np.float32, x.shape)


def test_codes_of_more_than_16_bits_are_uint32() -> None:
    codec = Codec(parse_format("name: int20\nelement: {kind: int, bits: 20}\n"))
    codes = codec.encode(np.float32([-1, 7]))
    assert (codes.dtype, codes.tolist()) == (np.uint32, [0xFFFFF, 7])
    assert codec.decode(codes).tolist() == [-1, 7]


def test_a_seed_and_an_axis_change_nothing_where_nothing_is_random_or_in_blocks() -> None:
    codec = Codec(E4M3)
    assert_bit_exact(codec.encode(X, seed=1), codec.encode(X))
    assert_bit_exact(codec.fake_quantize(X, seed=1, axis=0), codec.fake_quantize(X))


def test_inputs_are_left_alone() -> None:
    x, scale = X.copy(), np.full(1, 3, np.float32)
    codec = Codec(E4M3)
    codec.encode(x)
    codec.fake_quantize(x)
    codec.fake_quantize(x, scale=scale)
    assert_bit_exact(x, X)
    assert scale.tolist() == [3]


@settings(max_examples=100)
@given(
    x=st.lists(st.floats(width=32), max_size=20),
    scale=st.floats(width=32, min_value=2.0**-100, max_value=2.0**100),
    name=st.sampled_from(["float8_e4m3fn", "float8_e5m2", "int8", "nf4", "float4_e3m0fn"]),
)
def test_a_scale_divides_then_multiplies_and_each_step_is_rounded(x: list[float], scale: float, name: str) -> None:
    codec, array = Codec(load_format(name)), np.array(x, np.float32)
    with np.errstate(all="ignore"):
        expected = codec.decode(codec.encode(array / np.float32(scale))) * np.float32(scale)
    assert_bit_exact(codec.fake_quantize(array, scale=scale), expected)


# --- backends ----------------------------------------------------------------------------------------------------


def test_a_codec_says_what_it_is() -> None:
    assert repr(Codec(E4M3)) == "Codec(float8_e4m3fn, backend=auto)"
    assert repr(Codec(INT4, backend="reference")) == "Codec(int4, backend=reference)"
    assert Codec(E4M3).format is E4M3


@pytest.mark.parametrize("backend", ["auto", "numba", "reference"])
def test_every_backend_gives_the_same_bits(backend: str) -> None:
    assert_bit_exact(Codec(E4M3, backend=backend).encode(X), Codec(E4M3).encode(X))


def test_an_unknown_backend_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(LookupError, match="named 'nubma'; did you mean 'numba'.*allowed: auto, cupy, numba"):
        Codec(E4M3, backend="nubma")


@pytest.mark.parametrize("backend", [None, 3, np.dtype("float32")])
def test_a_backend_is_named_by_a_text(backend: Any) -> None:
    with pytest.raises(TypeError, match=f"backend is of type {type(backend).__name__}; allowed: a name, such as"):
        Codec(E4M3, backend=backend)


def test_one_codec_takes_arrays_and_tensors_by_turns() -> None:
    codec = Codec(E4M3)
    for _ in range(2):
        assert isinstance(codec.encode(X), np.ndarray)
        assert isinstance(codec.encode(torch.from_numpy(X)), torch.Tensor)
        assert codec.encode(np.float32(1)).shape == ()


def test_an_array_that_no_backend_owns_is_refused() -> None:
    for array in ([1.0], 1.0, torch.zeros(3, device="meta"), object()):
        with pytest.raises(TypeError, match=f"no backend owns .*{type(array).__name__}; allowed: numpy arrays"):
            Codec(E4M3).encode(array)


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
def test_what_is_no_array_is_refused_before_anything_is_drawn(backend: str) -> None:
    number = parse_format("name: drawn\nextends: int4\nencode: {rounding: stochastic_a}\n")
    blocks = parse_format("name: drawn\nextends: mxfp4\nencode: {rounding: stochastic_a}\n")
    for call in (Codec(number, backend).encode, Codec(blocks, backend).quantize, Codec(blocks, backend).pack):
        with pytest.raises(TypeError, match="x is list; allowed: an array of float16"):
            call([1.0])


def test_numpy_s_error_states_change_nothing() -> None:
    x = np.array([1e-300, 1, -3e-39, 1e300, -2])
    formats = [load_format(name) for name in ("mxfp4", "float8_e4m3fn")]
    expected = [Codec(format).fake_quantize(x) for format in formats]
    with np.errstate(all="raise"):
        for format, y in zip(formats, expected, strict=True):
            assert_bit_exact(Codec(format).fake_quantize(x), y)
        sqs.Iterative().fit(x[:3], INT4)
        assert sqs.sqnr_db(x[:3], x[:3] * 1.5) > 0
        assert sqs.measure(x[:3], [INT4])[0]["sqnr_db"] > 10


# --- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_a_shape_is_for_packed_codes(packed: bool) -> None:
    codec = Codec(INT4)
    codes = codec.encode(X, packed=packed)
    if packed:
        assert_bit_exact(codec.decode(codes, packed=True, shape=(7,)), codec.fake_quantize(X))
    else:
        with pytest.raises(ValueError, match=r"shape says how packed codes lie; allowed: with packed=True"):
            codec.decode(codes, shape=(7,))


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype(np.float32), torch.float32])
def test_a_dtype_may_be_a_name_or_a_librarys_own(dtype: Any) -> None:
    codec = Codec(E4M3)
    codes = codec.encode(X)
    assert codec.decode(codes, dtype=dtype).dtype == np.float32
    double = "float64" if isinstance(dtype, str) else torch.float64 if dtype is torch.float32 else np.float64
    assert codec.decode(codes, dtype=double).dtype == np.float64
    assert codec.decode(torch.from_numpy(codes), dtype=double).dtype == torch.float64


@pytest.mark.parametrize("dtype", ["float16", "f4", "Float32", np.int32, torch.bfloat16, float, None])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    codec = Codec(E4M3)
    with pytest.raises(ValueError, match="dtype is .*; allowed: 'float32', 'float64'"):
        codec.decode(codec.encode(X), dtype=dtype)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_out_has_the_dtype_that_is_asked_for(backend: str) -> None:
    codec = Codec(E4M3, backend)
    codes = codec.encode(X)
    for dtype, other in (("float32", "float64"), ("float64", "float32")):
        out = np.empty(7, dtype)
        assert codec.decode(codes, out=out, dtype=dtype) is out
        with pytest.raises(TypeError, match=f"out is {other}; allowed: {dtype}"):
            codec.decode(codes, out=np.empty(7, other), dtype=dtype)
        x = X.astype(dtype)
        assert codec.fake_quantize(x, out=out) is out
        with pytest.raises(TypeError, match=f"out is {other}; allowed: {dtype}"):
            codec.fake_quantize(x, out=np.empty(7, other))


@pytest.mark.parametrize("number", [-1, 1 << 64, 1.5, "1", True, np.float64(2)])
def test_a_seed_and_an_offset_have_64_bits(number: Any) -> None:
    codec = Codec(parse_format("name: drawn\nextends: int4\nencode: {rounding: stochastic_a}\n"))
    for name in ("seed", "offset"):
        for call in (codec.encode, codec.fake_quantize):
            with pytest.raises(ValueError, match=rf"{name} is .*; allowed: 0 to 2\^64 - 1"):
                call(X, **{name: number})


def test_integers_of_numpy_are_seeds() -> None:
    codec = Codec(parse_format("name: drawn\nextends: int4\nencode: {rounding: stochastic_a}\n"))
    for number in (np.int8(5), np.uint64(5), np.int64(5)):
        assert_bit_exact(codec.encode(X, seed=number, offset=number), codec.encode(X, seed=5, offset=5))


@pytest.mark.parametrize("seed", [-1, 1 << 64, 1.5, "1", True])
def test_seeds_are_checked_where_nothing_is_random(seed: Any) -> None:
    for name in ("seed", "offset"):
        for call in (Codec(E4M3).encode, Codec(E4M3).fake_quantize):
            with pytest.raises(ValueError, match=rf"{name} is .*; allowed: 0 to 2\^64 - 1"):
                call(X, **{name: seed})


def test_a_new_array_is_not_the_one_of_the_call_before() -> None:
    codec = Codec(E4M3)
    first = codec.encode(X)
    kept = first.copy()
    codec.encode(np.zeros_like(X))
    assert_bit_exact(first, kept)


# --- nan_input: error --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["auto", "numba", "reference"])
def test_a_nan_that_the_format_refuses_is_named_by_its_place(backend: str) -> None:
    codec = Codec(REFUSES, backend=backend)
    x = np.zeros((3, 4, 5), np.float32)
    assert codec.encode(x).shape == codec.fake_quantize(x, scale=1.0).shape == x.shape
    x[1, 3, 2] = x[2, 0, 0] = np.nan
    for call in (codec.encode, codec.fake_quantize):
        with pytest.raises(ValueError, match=r"x\[1, 3, 2\] is NaN, which strict refuses \(nan_input: error\)"):
            call(x)
        with pytest.raises(ValueError, match=r"x\[0, 0, 2\] is NaN"):
            call(x.transpose(1, 2, 0))
        with pytest.raises(ValueError, match=r"x is NaN"):
            call(np.float32(np.nan))
        with pytest.raises(ValueError, match=r"x\[1, 3, 2\] is NaN"):
            call(torch.from_numpy(x))
        for dtype in (np.float64, np.float16, ml_dtypes.bfloat16):
            with pytest.raises(ValueError, match=r"x\[1, 3, 2\] is NaN, which strict refuses"):
                call(x.astype(dtype))
        with pytest.raises(ValueError, match=r"x\[1, 3, 2\] is NaN"):
            call(torch.from_numpy(x).to(torch.bfloat16))
        assert call(np.arange(5)).shape == (5,)
    assert codec.encode(x[:0]).shape == (0, 4, 5)


def test_other_formats_take_nan() -> None:
    assert Codec(E4M3).encode(np.float32([np.nan])).tolist() == [0x7F]
    assert Codec(INT4).encode(np.float32([np.nan])).tolist() == [7]


def test_a_name_is_no_format() -> None:
    with pytest.raises(
        TypeError, match=r"format is of type str; allowed: a NumberFormat or a BlockFormat; .*load_format\('int8'\)"
    ):
        Codec("int8")  # type: ignore[arg-type]


def test_a_number_is_no_format() -> None:
    with pytest.raises(TypeError, match="format is of type int; allowed: a NumberFormat or a BlockFormat$"):
        Codec(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("x", "scale"), [(np.inf, np.inf), (np.nan, 1.0)])
def test_a_quotient_that_is_nan_is_refused_as_nan_is(x: float, scale: float) -> None:
    codec = Codec(parse_format("name: strict\nelement: {kind: int, bits: 8}\nencode: {nan_input: error}"))
    with pytest.raises(ValueError, match=r"\(x / scale\)\[1\] is NaN"):
        codec.fake_quantize(np.float32([1, x]), scale=np.float32([1, scale]))
    assert codec.fake_quantize(np.float32([1, 2]), scale=np.float32(0)).tolist() == [0, 0]


@pytest.mark.parametrize("scale", [True, np.True_, np.array(False), torch.tensor(True)], ids=repr)
def test_true_is_no_scale(scale: Any) -> None:
    for format in (E4M3, load_format("mxfp4")):
        for backend, x in (("auto", np.ones(32)), ("reference", np.ones(32)), ("torch", torch.ones(32))):
            with pytest.raises(TypeError, match="scale is bool; allowed: numbers"):
                Codec(format, backend).fake_quantize(x, scale=scale)
        with pytest.raises(TypeError, match="scale is bool; allowed: numbers"):
            measure(np.ones(32), format, scale=scale)


def test_numbers_are_looked_at_by_every_backend() -> None:
    for format in (E4M3, load_format("mxfp4")):
        with pytest.raises(ValueError, match="scale is NaN; allowed for "):
            Codec(format, "torch").fake_quantize(torch.ones(32), scale=math.nan)
    with pytest.raises(ValueError, match="scale is negative; allowed for mxfp4: 0 and above"):
        Codec(load_format("mxfp4"), "torch").fake_quantize(torch.ones(32), scale=-1)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (np.nan, "scale is NaN; allowed for float8_e4m3fn: numbers"),
        (np.float32([[1], [np.nan]]), r"scale\[1, 0\] is NaN"),
        (np.float32([-1, 2, np.nan]), r"scale\[2\] is NaN"),
        (torch.tensor([1.0, 1.0, torch.nan]), r"scale\[2\] is NaN"),
    ],
    ids=["number", "row", "negative", "tensor"],
)
def test_a_scale_that_is_nan_is_named_by_its_place(scale: Any, message: str, backend: str) -> None:
    x = np.ones((2, 3), np.float32)
    for array in (x, torch.from_numpy(x)):
        with pytest.raises(ValueError, match=message):
            Codec(E4M3, backend).fake_quantize(array, scale=scale)


def test_a_scale_may_be_negative_zero_and_infinite_or_belong_to_no_element() -> None:
    codec = Codec(E4M3)
    scales = np.float32([0, -0.0, -2, np.inf])
    assert_bit_exact(codec.fake_quantize(np.ones(4, np.float32), scale=scales)[:3], np.float32([0, -0.0, 1]))
    assert codec.fake_quantize(np.zeros((0, 3), np.float32), scale=np.zeros((0, 1), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("scale", [2.0**128 - 2.0**103, 1e300, -1e39, 10**400])
def test_a_scale_beyond_float32_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale is .*; allowed: what float32 holds"):
        Codec(load_format("int8")).fake_quantize(np.float32([1]), scale=scale)


NUMBERS = [
    *(
        dtype(3)
        for dtype in (int, float, np.float16, np.float64, np.longdouble, np.int8, np.uint64, ml_dtypes.bfloat16)
    ),
    np.array(3.0),
    torch.tensor(3.0, dtype=torch.float64),
    torch.tensor(3.0, dtype=torch.bfloat16),
]


@pytest.mark.parametrize("scale", NUMBERS, ids=lambda scale: f"{type(scale).__module__}.{type(scale).__name__}")
@pytest.mark.parametrize("format", [E4M3, REFUSES], ids=lambda format: format.name)
def test_a_scale_may_be_a_number_of_any_dtype(scale: Any, format: NumberFormat) -> None:
    x = np.float32([1.0, -0.3, 700])
    for backend in ("numba", "reference"):
        codec = Codec(format, backend)
        assert_bit_exact(codec.fake_quantize(x, scale=scale), codec.fake_quantize(x, scale=np.float32([3])))


def test_a_number_is_rounded_to_float32() -> None:
    codec, x = Codec(load_format("int8")), np.float32([1])
    assert_bit_exact(codec.fake_quantize(x, scale=np.float64(0.1)), codec.fake_quantize(x, scale=np.float32(0.1)))
    assert_bit_exact(codec.fake_quantize(x, scale=np.float64(np.inf)), codec.fake_quantize(x, scale=np.float32(np.inf)))


@pytest.mark.parametrize("scale", [np.complex64(2), np.str_("2"), np.datetime64(2, "s"), torch.tensor(2j)])
def test_other_scalars_are_no_scales(scale: Any) -> None:
    with pytest.raises(TypeError, match="scale is .*; allowed: an array of real numbers"):
        Codec(E4M3).fake_quantize(X, scale=scale)


@pytest.mark.parametrize("scale", [np.float64(1e300), np.array(-1e39), torch.tensor(1e300, dtype=torch.float64)])
def test_a_scalar_beyond_float32_is_refused(scale: Any) -> None:
    with pytest.raises(ValueError, match="scale is .*; allowed: what float32 holds"):
        Codec(E4M3).fake_quantize(X, scale=scale)


# --- byte orders and masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i4", "u8"])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_arrays_of_either_byte_order_are_read(dtype: str, backend: str) -> None:
    x = np.array([[1, 3, 100], [0, 77, 5]], dtype)
    scale = np.float32([[3], [0.5]])
    for name in ("float8_e4m3fn", "int16"):
        codec = Codec(load_format(name), backend)
        codes = codec.encode(x)
        for order in "<>":
            swapped = x.astype(x.dtype.newbyteorder(order))
            assert_bit_exact(codec.encode(swapped), codes)
            assert_bit_exact(codec.encode(swapped[:, ::2]), codes[:, ::2])
            assert_bit_exact(codec.decode(codes.astype(codes.dtype.newbyteorder(order))), codec.decode(codes))
            expected = codec.fake_quantize(x, scale=scale)
            assert_bit_exact(codec.fake_quantize(swapped, scale=scale.astype(f"{order}f4")), expected)


def test_long_integers_of_either_byte_order_wrap_alike() -> None:
    codec = Codec(parse_format("name: wraps\nelement: {kind: int, bits: 8}\nencode: {overflow: wrap}\n"))
    with pytest.raises(ValueError, match=r"x\[0\] is beyond 2\^53"):
        codec.encode(np.array([2**53 + 1], ">i8"))


def test_out_has_the_machines_byte_order() -> None:
    swapped = np.dtype(np.float32).newbyteorder("S")
    for backend in ("numba", "reference"):
        with pytest.raises(TypeError, match=f"out is {swapped}; allowed: float32 in the machine's byte order"):
            Codec(E4M3, backend).fake_quantize(X, out=np.empty(7, swapped))


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_values_do_not_go_to_integers(dtype: str, backend: str) -> None:
    """Integers are read as floats, by a copy: what is written to that, nobody sees."""
    codec = Codec(E4M3, backend)
    for x in (X, X.astype(np.float64), np.arange(7)):
        for out in (np.empty(7, dtype), torch.empty(7, dtype=getattr(torch, dtype))):
            with pytest.raises(TypeError, match=f"out is {dtype}; allowed: float"):
                codec.fake_quantize(x, out=out)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("format", [E4M3, REFUSES], ids=lambda format: format.name)
def test_masked_arrays_are_refused(format: NumberFormat, backend: str) -> None:
    codec = Codec(format, backend)
    masked = np.ma.masked_array(np.ones(3, np.float32), [True, False, False])
    ones = np.ones(3, np.float32)
    for name, call in {
        "x": lambda: codec.encode(masked),
        "scale": lambda: codec.fake_quantize(ones, scale=masked),
        "codes": lambda: codec.decode(masked.astype(np.uint8)),
        "out": lambda: codec.fake_quantize(ones, out=masked),
    }.items():
        with pytest.raises(TypeError, match=rf"{name} is a masked array; allowed: .*{name}\.filled\(0\)"):
            call()
    assert codec.encode(masked.filled(0)).tolist()[0] == 0


@pytest.mark.parametrize("names", [(), ("Tensor",)])
@pytest.mark.parametrize("library", ["torch", "cupy"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "mxfp4"])
def test_numpy_arrays_while_another_thread_imports(
    name: str, library: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, x = Codec(load_format(name)), np.ones((1, 32), np.float32)
    begun = ModuleType(library)  # so far it has only these names
    begun.__dict__.update(dict.fromkeys(names, type("Tensor", (), {})))
    monkeypatch.setitem(sys.modules, library, begun)
    assert_bit_exact(codec.fake_quantize(x), x)
    assert_bit_exact(codec.fake_quantize(x, out=np.zeros_like(x)), x)
