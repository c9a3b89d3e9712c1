"""Inputs of every type: float16, bfloat16, float64 and integers, as arrays and tensors, against the exact oracle."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from checking import BACKENDS, COMPILED, FIRST, array_of, assert_same, by_interpreter, check, on_backend, widened
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inputs import DTYPES, LAYOUTS, Words, accepted, around, exact_codes, exact_values, marks, random_bits, specs
from strategies import KINDS, ROUNDINGS

from statqat_sim.arrays import as_numpy
from statqat_sim.codec import Codec
from statqat_sim.plan.lower import Lowering, Purpose, lower
from statqat_sim.plan.program import Storage
from statqat_sim.reference import exact
from statqat_sim.reference.steps import Steps, thresholds
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.encode import Overflow
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

SEEDS = st.integers(0, 2**32 - 1)
HALVES = ("float16", "bfloat16")
NAMES = [
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float4_e2m1fn", "float4_e3m0fn", "float8_e8m0fnu"),
    *("cfloat8_143", "ue4m3", "p3109_binary8p3se", "dlfloat16", "bfloat16", "float16"),
    *("int8", "uint4", "q4_offset8", "q0_7", "nf4", "bnb_fp4", "posit8", "takum8", "takum_log8", "lns8", "hif8"),
]


# --- every pattern of 16 bits ------------------------------------------------------------------------------------


def every_pattern() -> Words:
    return np.arange(1 << 16, dtype=np.uint16)


def by_steps(steps: Steps, bits: Words) -> Words:
    """The oracle's codes of float32 inputs, told by its step function."""
    pieces = [*steps.positive, (0x7F80_0001, steps.nan), *steps.negative, (0xFF80_0001, steps.negative_nan)]
    ends = [(piece.first, piece.code) if not isinstance(piece, tuple) else piece for piece in pieces]
    firsts, codes = (np.array(column, np.int64) for column in zip(*ends, strict=True))
    return codes[np.searchsorted(firsts, bits, side="right") - 1].astype(np.uint32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("floats", HALVES)
def test_every_pattern_of_16_bits_has_the_code_of_its_float32(floats: str, name: str) -> None:
    format, bits = load_format(name), every_pattern()
    codes = by_steps(thresholds(format), widened(bits, floats))
    rounded = exact_values(format, codes)
    for lowering in Lowering:
        plan = lower(format, Purpose.ENCODE, lowering, floats=Storage(floats))
        assert_same(by_interpreter(plan, bits), codes, format, bits)
    for backend in COMPILED:
        for purpose, expected in ((Purpose.ENCODE, codes), (Purpose.FAKE_QUANTIZE, rounded)):
            plan = lower(format, purpose, floats=Storage(floats))
            assert_same(on_backend(backend)(plan, bits, FIRST), expected, format, bits)


@pytest.mark.parametrize("floats", HALVES)
def test_every_pattern_of_16_bits_is_read_as_its_float32_by_the_whole_catalog(floats: str) -> None:
    bits = every_pattern()
    for format in map(load_format, formats(kind="number")):
        accepted_bits = accepted(format, bits, floats)
        for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
            half = by_interpreter(lower(format, purpose, floats=Storage(floats)), accepted_bits)
            wide = by_interpreter(lower(format, purpose), widened(accepted_bits, floats))
            assert_same(half, wide, format, accepted_bits)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("extends", ["float8_e4m3fn", "float4_e2m1fn", "float8_e4m3fnuz"])
def test_every_float16_is_rounded_as_its_float32_in_every_mode(rounding: str, extends: str) -> None:
    for policy in ("overflow: saturate", "overflow: nan", "overflow: saturate, underflow: min, flush_inputs: false"):
        if "nan" in policy and extends == "float4_e2m1fn":
            continue
        text = f"name: probe\nextends: {extends}\nencode: {{rounding: {rounding}, {policy}}}\n"
        format, bits = parse_format(text), every_pattern()
        for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
            half = by_interpreter(lower(format, purpose, floats=Storage.FLOAT16), bits)
            assert_same(half, by_interpreter(lower(format, purpose), widened(bits, "float16")), format, bits)


@pytest.mark.parametrize("policy", ["{flush_inputs: true, underflow: min}", "{via: bfloat16}", "{via: float32}"])
@pytest.mark.parametrize("floats", HALVES)
def test_every_pattern_of_16_bits_meets_the_policies_of_inputs(floats: str, policy: str) -> None:
    """Subnormals are those of the input's own type, not of float32."""
    format = parse_format(f"name: probe\nextends: float8_e5m2\nencode: {policy}\n")
    bits = every_pattern()
    codes = exact_codes(format, bits, floats)
    for run in (by_interpreter, *map(on_backend, COMPILED)):
        assert_same(run(lower(format, Purpose.ENCODE, floats=Storage(floats)), bits, FIRST), codes, format, bits)


@pytest.mark.long
@pytest.mark.parametrize("name", [*NAMES, "takum_log16", "posit16", "lns16"])
@pytest.mark.parametrize("floats", HALVES)
def test_every_pattern_of_16_bits_directly(floats: str, name: str) -> None:
    check(load_format(name), on_backend(COMPILED[0]), every_pattern(), floats)


# --- random specs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("floats", "examples"), [("float16", 60), ("bfloat16", 60), ("float64", 250)])
def test_plans_of_random_specs(floats: str, examples: int) -> None:
    check_random(floats, by_interpreter, examples)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("floats", "examples"), [("float16", 15), ("bfloat16", 15), ("float64", 40)])
def test_backends_on_random_specs(floats: str, examples: int, backend: str) -> None:
    check_random(floats, on_backend(backend), examples)


@pytest.mark.long
@pytest.mark.parametrize(("floats", "examples"), [("float16", 3000), ("bfloat16", 3000), ("float64", 10_000)])
def test_plans_of_many_random_specs(floats: str, examples: int) -> None:
    check_random(floats, by_interpreter, examples)


@pytest.mark.long
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("floats", ["float16", "bfloat16", "float64"])
def test_backends_on_many_random_specs(floats: str, backend: str) -> None:
    check_random(floats, on_backend(backend), 1000)


def check_random(floats: str, run: Any, examples: int) -> None:
    @settings(max_examples=examples)
    @given(text=specs(), seed=SEEDS)
    def check_one(text: str, seed: int) -> None:
        format = parse_format(text)
        check(format, run, around(format, floats, 12, seed), floats)

    check_one()


# --- float64 -----------------------------------------------------------------------------------------------------


CORNERS = {
    "near the least float32": "{kind: float, exponent_bits: 8, mantissa_bits: 3, bias: 149}",
    "below the least float32": "{kind: float, exponent_bits: 8, mantissa_bits: 3, bias: 200}",
    "above the largest float32": "{kind: float, exponent_bits: 5, mantissa_bits: 2, bias: -100}",
    "the ends of float64": "{kind: float, exponent_bits: 11, mantissa_bits: 4, nan: ieee, inf: ieee}",
    "wide": "{kind: float, exponent_bits: 5, mantissa_bits: 26}",
    "widest": "{kind: float, signed: false, exponent_bits: 1, mantissa_bits: 31}",
    "finer than float64's subnormals allow": "{kind: float, exponent_bits: 1, mantissa_bits: 6, bias: 1060}",
    "large integers": "{kind: int, bits: 32}",
    "integers of large steps": "{kind: int, bits: 8, fraction_bits: -64}",
    "integers of small steps": "{kind: int, bits: 8, fraction_bits: 64}",
    "levels one float64 apart": f"{{kind: codebook, bits: 2, values: [1.0, {1 + 2**-52!r}, {1 + 2**-51!r}]}}",
    "levels that float32 does not tell apart": f"{{kind: codebook, bits: 2, values: [1.0, {1 + 2**-30!r}, 3.0e+200]}}",
    "subnormal levels": "{kind: codebook, bits: 2, values: [0.0, 4.9406564584124654e-324, 1.0e-310, -1.0e-310]}",
    "the largest levels": "{kind: codebook, bits: 1, values: [-1.7976931348623157e+308, 1.7976931348623157e+308]}",
}


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("mode", ["nearest_even", "nearest_up", "toward_zero", "to_odd"])
def test_float64_around_the_ends_of_float32_and_its_own(corner: str, mode: str) -> None:
    format = parse_format(f"name: corner\nelement: {CORNERS[corner]}\nencode: {{rounding: {mode}}}\n")
    bits = np.concatenate([around(format, "float64", 40), random_bits(300, 1, "float64")])
    for run in (by_interpreter, *map(on_backend, COMPILED)):
        check(format, run, bits, "float64")


def test_a_float64_rounds_once() -> None:
    """The float32 in between would be the tie itself."""
    codec = Codec(load_format("float8_e4m3fn"))
    tie, above, below = 1.0625, 1.0625 + 2.0**-40, 1.1875 - 2.0**-40
    assert codec.encode(np.array([tie, above, below])).tolist() == [0x38, 0x39, 0x39]
    assert codec.encode(np.array([tie, above, below]).astype(np.float32)).tolist() == [0x38, 0x38, 0x3A]


@pytest.mark.parametrize("low", [1, 1 << 31, 0xFFFF_FFFF])
@pytest.mark.parametrize("name", ["float8_e5m2", "bfloat16", "int8", "posit16", "float32"])
def test_a_nan_that_only_its_low_word_tells(name: str, low: int) -> None:
    format = load_format(name)
    bits = np.array([sign << 63 | 0x7FF0_0000_0000_0000 | low for sign in (0, 1)], np.uint64)
    for backend in BACKENDS:
        codes = Codec(format, backend).encode(bits.view(np.float64))
        assert codes.tolist() == exact_codes(format, bits, "float64").tolist()
        assert codes.tolist() == Codec(format, backend).encode(np.float32([np.nan, np.copysign(np.nan, -1)])).tolist()


# --- integers ----------------------------------------------------------------------------------------------------

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
EXACT_IN_FLOAT64 = 1 << 53


def integers(format: NumberFormat, dtype: str, seed: int, beyond: bool) -> Any:
    """Integers around a format's values and ties, around powers of two, and any; `beyond`: also what float64 rounds."""
    info, rng = np.iinfo(dtype), np.random.default_rng(seed)
    centres = {int(mark) for mark in marks(format, 30, seed) if abs(mark) < 1 << 64}
    centres |= {1 << power for power in range(65)}
    near = {sign * centre + step for centre in centres for step in range(-2, 3) for sign in (1, -1)}
    near |= {int(info.min), int(info.max), 0, *rng.integers(info.min, info.max, 40, dtype, endpoint=True).tolist()}
    near |= {number >> shift for number in list(near) for shift in rng.integers(0, 64, 1).tolist()}
    most = info.max if beyond else EXACT_IN_FLOAT64
    return np.array([n for n in sorted(near) if info.min <= n <= info.max and abs(n) <= most], dtype)


def exact_integer_codes(format: NumberFormat, x: Any) -> Words:
    return np.array([exact.encode_integer(format, n) for n in x.tolist()], np.uint32)


def rounds_to_odd_safely(format: NumberFormat) -> bool:
    """Whether 53 bits, the last of them sticky, tell on which side of every boundary an integer lies."""
    listed = format.element.kind in ("codebook", "lns") or getattr(format.element, "variant", "") == "logarithmic"
    return not listed and format.encode.overflow is not Overflow.WRAP


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_type_on_random_specs(dtype: str) -> None:
    @settings(max_examples=25)
    @given(text=specs(), seed=SEEDS)
    def check_integers(text: str, seed: int) -> None:
        format = parse_format(text)
        x = integers(format, dtype, seed, beyond=rounds_to_odd_safely(format))
        codes = exact_integer_codes(format, x)
        assert_same(Codec(format, "reference").encode(x).astype(np.uint32), codes, format, x)

    check_integers()


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("backend", COMPILED)
def test_integers_of_every_type_on_backends(backend: str, dtype: str) -> None:
    for name in ("float8_e4m3fn", "int8", "bfloat16", "float32", "nf4", "posit16", "ue4m3", "hif8"):
        codec, reference = Codec(load_format(name), backend), Codec(load_format(name), "reference")
        x = integers(codec.format, dtype, 1, beyond=rounds_to_odd_safely(codec.format))
        codes = exact_integer_codes(codec.format, x)
        assert_same(codec.encode(x).astype(np.uint32), codes, codec.format, x)
        values = codec.fake_quantize(x)
        assert values.dtype == ("float32" if np.dtype(dtype).itemsize < 4 else "float64")
        assert_bit_exact(values, codec.decode(codec.encode(x), dtype=values.dtype))
        assert_bit_exact(codec.fake_quantize(x, scale=0.3), reference.fake_quantize(x, scale=0.3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_beyond_float64_round_once(backend: str) -> None:
    """2^60 + 2^36 is a tie of float32, and one more is not; nor is one less."""
    codec = Codec(load_format("float32"), backend)
    tie = 2**60 + 2**36
    x = np.array([tie - 1, tie, tie + 1, -tie - 1, -tie, -tie + 1, 2**63 - 1, -(2**63)])
    assert codec.encode(x).tolist() == exact_integer_codes(codec.format, x).tolist()
    large = np.array([2**64 - 1, 2**64 - 2**39, 2**64 - 2**39 - 1, 2**63], np.uint64)
    assert codec.encode(large).tolist() == exact_integer_codes(codec.format, large).tolist()


@settings(max_examples=500)
@given(number=st.integers(-(2**63), 2**64 - 1), shift=st.integers(0, 63), step=st.integers(-2, 2))
def test_a_long_integer_becomes_a_float64_or_the_odd_one_beside_it(number: int, shift: int, step: int) -> None:
    for n in (number >> shift, (number >> shift << shift) + step, (1 << shift) + step, (1 << 64) - (1 << shift) + step):
        if not -(2**63) <= n < 2**64:
            continue
        x = np.array([n], np.uint64 if n >= 2**63 else np.int64)
        (found,) = as_numpy(x, Storage.FLOAT64, "x").tolist()
        if int(found) != n:
            assert int(np.float64(found).view(np.uint64)) & 1, n
            assert abs(int(found) - n) < math.ulp(found), n
            assert abs(n) > EXACT_IN_FLOAT64


def test_long_integers_that_wrap_are_refused() -> None:
    codec = Codec(parse_format("name: wraps\nelement: {kind: int, bits: 8}\nencode: {overflow: wrap}\n"))
    x = np.array([[2**53, -(2**53), 300]])
    assert codec.encode(x).tolist() == [[0, 0, 44]]
    for dtype, number in ((np.int64, 2**53 + 1), (np.int64, -(2**63)), (np.uint64, 2**64 - 1)):
        x = np.array([[0, 1], [number, 2]], dtype)
        for array in (x, torch.from_numpy(x)):
            with pytest.raises(
                ValueError, match=r"x\[1, 0\] is beyond 2\^53, from where on wraps cannot wrap it exactl"
            ):
                codec.encode(array)
            with pytest.raises(ValueError, match="cannot wrap it exactly"):
                codec.fake_quantize(array)


# --- arrays and tensors of every type ----------------------------------------------------------------------------


TENSORS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    **{name: getattr(torch, name) for name in INTEGERS},
}


def sample(name: str) -> Any:
    """An array of a type, as numpy or ml_dtypes has it."""
    if name in INTEGERS:
        info = np.iinfo(name)
        numbers = np.random.default_rng(0).integers(info.min, info.max, (4, 6, 10), name, endpoint=True)
        return numbers >> np.random.default_rng(1).integers(0, info.bits, numbers.shape).astype(name)
    bits = random_bits(240, 3, name).reshape(4, 6, 10)
    return array_of(bits, Storage(name))


def as_tensor(x: Any) -> torch.Tensor:
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_give_what_arrays_give(backend: str, name: str) -> None:
    x = sample(name)
    tensor = as_tensor(x)
    assert tensor.dtype == TENSORS[name]
    for format in ("float8_e4m3fn", "int4", "posit8"):
        codec = Codec(load_format(format), backend)
        for view in (lambda a: a, lambda a: a[1:, ::2, 3:], lambda a: a.swapaxes(0, 2), lambda a: a[0, 0, 0, ...]):
            codes = codec.encode(view(tensor))
            assert isinstance(codes, torch.Tensor)
            assert_bit_exact(codes, codec.encode(view(x)))
            values = codec.fake_quantize(view(tensor))
            assert str(values.dtype) == f"torch.{codec.fake_quantize(view(x)).dtype}"
            assert_bit_exact(values, codec.fake_quantize(view(x)))
        assert codec.encode(tensor[:0]).shape == (0, 6, 10)
        assert codec.encode(tensor[:, :, :0]).shape == (4, 6, 0)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_of_every_type(backend: str, name: str) -> None:
    codec, x = Codec(load_format("float8_e5m2"), backend), sample(name)
    plain = codec.encode(np.ascontiguousarray(x))
    for view in (
        lambda a: a[::-1, :, ::-3],
        lambda a: a.transpose(2, 0, 1),
        lambda a: a[:, :0],
        lambda a: a[3, 2, 1],
        lambda a: a[3, 2, 1, ...],
        lambda a: np.broadcast_to(a[:, :1], a.shape),
        lambda a: a[:, np.newaxis],
        np.asfortranarray,
    ):
        codes = codec.encode(view(x))
        assert_bit_exact(np.asarray(codes), np.asarray(view(plain)))
    frozen = x.copy()
    frozen.flags.writeable = False
    assert_bit_exact(codec.encode(frozen), plain)
    assert_bit_exact(codec.encode(misplaced(x)), plain)


def misplaced(x: Any) -> Any:
    """A copy at an odd address."""
    memory = np.empty(x.nbytes + 1, np.uint8)
    array = memory[1:].view(x.dtype) if x.itemsize == 1 else np.ndarray(x.shape, x.dtype, buffer=memory[1:])
    array.reshape(x.shape)[...] = x
    return array.reshape(x.shape)


def test_a_gradient_is_left_behind_in_every_type() -> None:
    codec = Codec(load_format("float8_e4m3fn"))
    for name in ("float16", "bfloat16", "float64"):
        x = torch.ones(3, dtype=TENSORS[name], requires_grad=True)
        assert codec.encode(x * 2).tolist() == [0x40] * 3
        assert not codec.fake_quantize(x).requires_grad


@pytest.mark.parametrize("floats", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "int4", "nf4", "posit8"])
def test_a_scale_divides_the_float32_of_an_input(name: str, floats: str) -> None:
    format = load_format(name)
    x = array_of(np.concatenate([around(format, floats), random_bits(300, 5, floats)]), Storage(floats))
    with np.errstate(all="ignore"):
        single = x.astype(np.float32)
    for backend in BACKENDS:
        codec = Codec(format, backend)
        for scale in (0.3, 1.0, 0.0, np.exp2(np.arange(len(x)) % 9 - 4).astype(np.float32)):
            values, expected = codec.fake_quantize(x, scale=scale), codec.fake_quantize(single, scale=scale)
            assert values.dtype == ("float64" if floats == "float64" else "float32")
            with np.errstate(all="ignore"):
                same_nan = quiet(expected.astype(values.dtype))
            assert_bit_exact(quiet(values), same_nan)


def quiet(x: Any) -> Any:
    """NaN of one kind: numpy and kernels widen their payloads differently."""
    return np.where(np.isnan(x), x.dtype.type(np.nan), x)


@settings(max_examples=60)
@given(text=specs(KINDS), floats=st.sampled_from(list(HALVES)), seed=SEEDS)
def test_a_half_has_the_code_of_its_float32_unless_it_is_flushed(text: str, floats: str, seed: int) -> None:
    format = parse_format(text)
    assume(not format.encode.flush_inputs)
    bits = accepted(format, around(format, floats, 12, seed), floats)
    codes = by_interpreter(lower(format, Purpose.ENCODE, floats=Storage(floats)), bits)
    wide = by_interpreter(lower(format, Purpose.ENCODE), widened(bits, floats))
    assert_same(codes, wide, format, bits)


def test_every_type_has_a_layout() -> None:
    assert LAYOUTS.keys() == DTYPES.keys()
    for name, layout in LAYOUTS.items():
        assert Fraction(float(ml_dtypes.finfo(DTYPES[name]).max)) == layout.number(layout.inf - 1)


@pytest.mark.parametrize("shape", [(64,), (8, 64)])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "mxfp4"])
def test_autograd_knows_that_out_was_written(name: str, shape: tuple[int, ...]) -> None:
    codec, x = Codec(load_format(name)), torch.linspace(0.1, 1, 512)[: math.prod(shape)].reshape(shape)
    saved, weight = x.clone(), torch.ones(shape, requires_grad=True)
    product = weight * saved
    codec.fake_quantize(saved, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


@pytest.mark.parametrize("shape", [(64,), (8, 64)])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "mxfp4"])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_out_may_not_require_gradients(backend: str, name: str, shape: tuple[int, ...]) -> None:
    codec, weight = Codec(load_format(name), backend), torch.nn.Parameter(torch.full(shape, 0.3))
    with pytest.raises(ValueError, match=r"out requires gradients, .*; allowed: in torch.no_grad\(\)"):
        codec.fake_quantize(weight, out=weight)
    assert (weight == 0.3).all(), "nothing was written"
    with torch.no_grad():
        codec.fake_quantize(weight, out=weight)
    assert torch.equal(weight.detach(), codec.fake_quantize(torch.full(shape, 0.3)))
