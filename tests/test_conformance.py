"""Every backend gives what the interpreter gives, and that is what the exact oracle says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checking import BACKENDS, COMPILED, assert_same, by_interpreter, check, on_backend
from conformance_cases import CATALOG, CORNERS, SCALE_SHAPES, SCALED, SHAPE, WITH_MANY_INPUTS, check_random, scales
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inputs import around, edges, exact_values, random_bits, some_codes, specs

from statqat_sim.codec import Codec
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.reference import exact
from statqat_sim.reference.grid import Special
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.catalog import load_format, parse_format
from statqat_sim.spec.encode import Overflow, Rounding, Underflow, Via
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

Arrays = Any
SEEDS = st.integers(0, 2**32 - 1)


# --- random specs ------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(text=specs(), seed=SEEDS)
def test_plans_of_random_specs(text: str, seed: int) -> None:
    check_random(text, by_interpreter, seed)


@pytest.mark.parametrize("name", BACKENDS)
def test_backends_on_random_specs(name: str) -> None:
    run = on_backend(name)

    @settings(max_examples=40)
    @given(text=specs(), seed=SEEDS)
    def check_backend(text: str, seed: int) -> None:
        check_random(text, run, seed)

    check_backend()


@pytest.mark.long
@settings(max_examples=10_000)
@given(text=specs(), seed=SEEDS)
def test_plans_of_many_random_specs(text: str, seed: int) -> None:
    check_random(text, by_interpreter, seed)


@pytest.mark.long
@pytest.mark.parametrize("name", COMPILED)
def test_backends_on_many_random_specs(name: str) -> None:
    run = on_backend(name)

    @settings(max_examples=1000)
    @given(text=specs(), seed=SEEDS)
    def check_backend(text: str, seed: int) -> None:
        check_random(text, run, seed)

    check_backend()


# --- corners that random specs rarely meet -----------------------------------------------------------------------


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_on_corners(backend: str, corner: str) -> None:
    format = parse_format(CORNERS[corner])
    check(format, on_backend(backend), np.concatenate([edges(format, 200), around(format), random_bits(500)]))


@pytest.mark.parametrize("mantissa_bits", range(22, 29))
def test_values_finer_than_float32_are_rounded_once(mantissa_bits: int) -> None:
    """Codes on ties of float32 and one beside them; in formats this wide random codes are never there."""
    element = f"{{kind: float, exponent_bits: {31 - mantissa_bits}, mantissa_bits: {mantissa_bits}}}"
    format = parse_format(f"name: wide\nelement: {element}\n")
    finer = max(mantissa_bits - 23, 1)
    kept = np.random.default_rng(0).integers(0, 1 << (32 - finer), 300, dtype=np.uint32) << np.uint32(finer)
    ties = kept + np.uint32(1 << (finer - 1))
    codes = np.concatenate([ties - np.uint32(1), ties, ties + np.uint32(1)])
    assert_same(interpret(lower(format, Purpose.DECODE), [codes]), exact_values(format, codes), format, codes)


# --- the catalog -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("backend", COMPILED)
def test_backends_on_the_catalog(backend: str, name: str) -> None:
    format = load_format(name)
    check(format, on_backend(backend), np.union1d(edges(format, None if format.bits <= 8 else 400), around(format)))


@pytest.mark.parametrize("name", WITH_MANY_INPUTS)
@pytest.mark.parametrize("backend", COMPILED)
def test_backends_on_many_inputs(backend: str, name: str) -> None:
    format, bits = load_format(name), random_bits(10**6)
    for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
        plan = lower(format, purpose)
        assert_same(on_backend(backend)(plan, bits), interpret(plan, [bits]), format, bits)


@pytest.mark.parametrize("backend", COMPILED)
def test_backends_decode_every_code_of_16_bits(backend: str) -> None:
    for name in ("bfloat16", "float16", "dlfloat16", "int16", "cfloat16_uhp", "posit16", "takum_log16", "lns16"):
        plan, codes = lower(load_format(name), Purpose.DECODE), np.arange(1 << 16, dtype=np.uint32)
        assert_same(on_backend(backend)(plan, codes), interpret(plan, [codes]), load_format(name), codes)


# --- properties --------------------------------------------------------------------------------------------------


def encoded(format: NumberFormat, bits: Arrays) -> Arrays:
    return interpret(lower(format, Purpose.ENCODE), [bits])


def decoded(format: NumberFormat, codes: Arrays) -> Arrays:
    return interpret(lower(format, Purpose.DECODE), [codes]).view(np.float32)


def without(format: NumberFormat, **changes: Any) -> NumberFormat:
    """The format with an encoder that takes inputs as they are."""
    policy = format.encode.model_copy(update={"via": Via.EXACT, "flush_inputs": False} | changes)
    return format.model_copy(update={"encode": policy})


@settings(max_examples=150)
@given(text=specs(exact="float32"), seed=SEEDS)
def test_encoding_is_monotone(text: str, seed: int) -> None:
    """Larger inputs never become smaller values, unless overflow wraps."""
    format = parse_format(text)
    bits = np.concatenate([edges(format, most=40), random_bits(100, seed)])
    x = np.unique(bits.view(np.float32)[np.isfinite(bits.view(np.float32))])
    assume(format.encode.overflow is not Overflow.WRAP)
    if not format.element.has_negative:
        x = x[x > 0]
    if not format.element.has_zero:
        x = x[x != 0]
    values = decoded(format, encoded(format, x.view(np.uint32)))
    values = values[~np.isnan(values)]  # overflow
    assert (values[1:] >= values[:-1]).all(), text


@settings(max_examples=150)
@given(text=specs(exact="float32"))
def test_a_value_stays_what_it_is(text: str) -> None:
    """encode(decode(code)) = code for codes that are produced, so that encoding twice is encoding once."""
    format = without(parse_format(text))
    codes = np.array([c for c in some_codes(format).tolist() if is_kept(format, c)], np.uint32)
    assert encoded(format, decoded(format, codes).view(np.uint32)).tolist() == codes.tolist(), text


def is_kept(format: NumberFormat, code: int) -> bool:
    """Whether a code is one that its own value becomes: the encoder's choice among equal ones, not NaN, not refused."""
    number = exact.decode(format, code)
    if number in (Special.NAN, Special.NEGATIVE_NAN):
        return False
    if number in (Special.INF, Special.NEGATIVE_INF):
        rule = format.encode.inf_input
        return (format.encode.overflow if rule == "overflow" else rule) == "inf"
    return format.element.produces(code) and exact.encode_number(format, number) == code


@settings(max_examples=150)
@given(text=specs(exact="float32"), seed=SEEDS)
def test_fake_quantize_twice_is_once(text: str, seed: int) -> None:
    format = without(parse_format(text))
    assume(format.encode.overflow is not Overflow.WRAP)
    plan = lower(format, Purpose.FAKE_QUANTIZE)
    bits = np.concatenate([edges(format, most=40), random_bits(40, seed)])
    bits = bits[~np.isnan(bits.view(np.float32))]  # NaN may be told to become a code that nothing else does
    once = interpret(plan, [bits])
    finite = once[np.isfinite(once.view(np.float32))]
    assert interpret(plan, [finite]).tolist() == finite.tolist(), text


SYMMETRIC = (Rounding.NEAREST_EVEN, Rounding.NEAREST_AWAY, Rounding.NEAREST_ZERO, Rounding.TOWARD_ZERO, Rounding.TO_ODD)


@settings(max_examples=150)
@given(text=specs(("float",), roundings=[mode.value for mode in SYMMETRIC]), seed=SEEDS)
def test_signed_floats_are_symmetric(text: str, seed: int) -> None:
    """The codes of x and -x differ in the sign bit alone; zeros and NaN aside, whose sign some formats do not have."""
    format = without(parse_format(text))
    assume(format.element.signed)
    bits = np.concatenate([edges(format, most=40), random_bits(40, seed)])
    positive = bits[bits < 0x7F80_0001]
    codes, mirrored = (encoded(format, positive | np.uint32(sign)) for sign in (0, 1 << 31))
    sign, values = 1 << (format.bits - 1), decoded(format, codes)
    signed = (values != 0) & ~np.isnan(values) & (positive > 0)
    assert (mirrored[signed] == codes[signed] | sign).all(), text


@settings(max_examples=150)
@given(text=specs(max_bits=12), seed=SEEDS)
def test_a_rounded_value_is_a_neighbour(text: str, seed: int) -> None:
    """Directed modes and nearest ones, told by inequality alone: no value of the format lies between."""
    format = without(parse_format(text), overflow=Overflow.SATURATE, underflow=Underflow.ZERO)
    mode = format.encode.rounding
    grid = format.grid()
    bits = np.concatenate([edges(format, most=40), random_bits(40, seed)])
    x = bits.view(np.float32)[np.isfinite(bits.view(np.float32))].astype(np.float64)
    x = x[(x >= grid[0]) & (x <= grid[-1]) & (x != 0)]
    codes = encoded(format, x.astype(np.float32).view(np.uint32))
    values = np.array([format.element.value(code) for code in codes.tolist()])
    low = grid[grid.searchsorted(x, side="right") - 1]
    high = grid[grid.searchsorted(x, side="left")]
    assert ((values == low) | (values == high)).all(), text
    if mode is Rounding.TOWARD_NEGATIVE:
        assert (values == low).all(), text
    if mode is Rounding.TOWARD_POSITIVE:
        assert (values == high).all(), text


# --- scales ------------------------------------------------------------------------------------------------------


def scaled_in_numpy(format: NumberFormat, x: Arrays, scale: Arrays) -> Arrays:
    codec = Codec(format, "reference")
    with np.errstate(all="ignore"):
        quotient = np.where(scale == 0, np.float32(0), x / scale).astype(np.float32)
        return codec.decode(codec.encode(quotient)) * np.broadcast_to(scale, x.shape)


@pytest.mark.parametrize("kind", SCALE_SHAPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_scales_of_every_shape(backend: str, kind: str) -> None:
    shape = SCALE_SHAPES[kind]
    x, scale = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32), scales(shape)
    for name in SCALED:
        format = load_format(name)
        actual = Codec(format, backend).fake_quantize(x, scale=scale)
        assert_bit_exact(actual, scaled_in_numpy(format, x, scale))


@pytest.mark.parametrize("scale", [0.0, -0.0, 1.0, -2.0, 1e-45, 1e-40, 1.1754944e-38, 3.4028235e38, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_scales(backend: str, scale: float) -> None:
    for name in SCALED:
        format = load_format(name)
        x = edges(format, most=100).view(np.float32)
        actual = Codec(format, backend).fake_quantize(x, scale=scale)
        assert_bit_exact(actual, scaled_in_numpy(format, x, np.float32(scale)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_scale_of_zero_gives_the_codes_of_zero(backend: str) -> None:
    x = np.float32([1.0, -1.0, np.inf, np.nan, 0.0])
    for name, value in (("float8_e4m3fn", 0.0), ("float8_e8m0fnu", 0.0), ("nf4", 0.0)):
        assert Codec(load_format(name), backend).fake_quantize(x, scale=0.0).tolist() == [value] * 5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(2,), (7, 5, 300), (1, 6, 5, 300), (5,)])
def test_scales_that_do_not_fit_are_refused(backend: str, shape: tuple[int, ...]) -> None:
    codec = Codec(load_format("int4"), backend)
    with pytest.raises(ValueError, match="scale has shape"):
        codec.fake_quantize(np.zeros(SHAPE, np.float32), scale=np.ones(shape, np.float32))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [np.float64([2.0]), [1.0], "1", 1j])
def test_scales_of_another_kind_are_refused(backend: str, scale: Any) -> None:
    with pytest.raises(TypeError, match="scale"):
        Codec(load_format("int4"), backend).fake_quantize(np.zeros(3, np.float32), scale=scale)
