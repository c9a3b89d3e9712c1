"""Decoding to float64, which holds every value: all codes of the catalog, and codes of wide formats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checking import BACKENDS, COMPILED, FIRST, Run, assert_same, by_interpreter, on_backend
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import Words, exact_values, specs

from statqat_sim.codec import Codec
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import Storage
from statqat_sim.reference import exact
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

SEEDS = st.integers(0, 2**32 - 1)


def codes_of(format: NumberFormat, seed: int = 0) -> Words:
    """Every code of up to 12 bits; of wider ones the ends of every binade, their neighbours, and random ones."""
    width = format.bits
    if width <= 12:
        return np.arange(1 << width, dtype=np.uint32)
    rng = np.random.default_rng(seed)
    ends = {1 << place for place in range(width)} | {0, (1 << width) - 1}
    mantissa_bits = getattr(format.element, "mantissa_bits", 0)
    ends |= {int(field) << mantissa_bits for field in rng.integers(0, 1 << width - mantissa_bits, 40)}
    near = {(end + step) % (1 << width) for end in ends for step in (-1, 0, 1)}
    small = {code >> shift for code, shift in rng.integers((0, 0), (1 << width, width), (60, 2)).tolist()}
    return np.array(sorted(near | small), np.uint32)


def check_decoder(format: NumberFormat, run: Run, codes: Words) -> None:
    plan = lower(format, Purpose.DECODE, floats=Storage.FLOAT64)
    assert_same(run(plan, codes, FIRST), exact_values(format, codes, "float64"), format, codes)


@pytest.mark.parametrize("name", formats(kind="number"))
def test_every_code_of_the_catalog(name: str) -> None:
    format = load_format(name)
    codes = np.arange(1 << format.bits, dtype=np.uint32) if format.bits <= 16 else codes_of(format)
    expected = exact_values(format, codes, "float64")
    plan = lower(format, Purpose.DECODE, floats=Storage.FLOAT64)
    for run in (by_interpreter, *map(on_backend, COMPILED)):
        assert_same(run(plan, codes, FIRST), expected, format, codes)


@settings(max_examples=200)
@given(text=specs(), seed=SEEDS)
def test_plans_of_random_specs(text: str, seed: int) -> None:
    format = parse_format(text)
    check_decoder(format, by_interpreter, codes_of(format, seed))


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_on_random_specs(backend: str) -> None:
    run = on_backend(backend)

    @settings(max_examples=30)
    @given(text=specs(), seed=SEEDS)
    def check_one(text: str, seed: int) -> None:
        format = parse_format(text)
        check_decoder(format, run, codes_of(format, seed))

    check_one()


@pytest.mark.long
@settings(max_examples=10_000)
@given(text=specs(), seed=SEEDS)
def test_plans_of_many_random_specs(text: str, seed: int) -> None:
    format = parse_format(text)
    check_decoder(format, by_interpreter, codes_of(format, seed))


# --- the ends of float64 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("subnormals", ["gradual", "flush", "none", "raw"])
@pytest.mark.parametrize(
    ("exponent_bits", "mantissa_bits", "bias"),
    [
        *((11, mantissa_bits, 1023) for mantissa_bits in (1, 4, 20)),
        *((11, mantissa_bits, 1075 - mantissa_bits - 2) for mantissa_bits in (0, 7, 20)),
        *((exponent_bits, 31 - exponent_bits, 1040) for exponent_bits in (1, 3, 8, 10)),
        *((2, mantissa_bits, 1074 - mantissa_bits) for mantissa_bits in (3, 10, 29)),
        *((3, mantissa_bits, -1016) for mantissa_bits in (0, 5, 28)),
    ],
)
@pytest.mark.parametrize("zero", ["signed", "positive"])
def test_values_at_the_ends_of_float64(
    exponent_bits: int, mantissa_bits: int, bias: int, subnormals: str, zero: str
) -> None:
    """Below 2^-1022 the significand is shifted down, by up to two words; near 2^1024 nothing overflows."""
    fields = f"exponent_bits: {exponent_bits}, mantissa_bits: {mantissa_bits}, bias: {bias}"
    specials = "nan: ieee, inf: ieee, " if mantissa_bits and exponent_bits > 10 else ""
    element = f"{{kind: float, {fields}, {specials}subnormals: {subnormals}, zero: {zero}}}"
    format = parse_format(f"name: far\nelement: {element}\n")
    for run in (by_interpreter, *map(on_backend, COMPILED)):
        check_decoder(format, run, codes_of(format))


@pytest.mark.parametrize(
    "element",
    [
        "{kind: int, bits: 32}",
        "{kind: int, bits: 32, encoding: unsigned, fraction_bits: 64}",
        "{kind: int, bits: 32, encoding: sign_magnitude, fraction_bits: -64}",
        "{kind: int, bits: 32, encoding: offset_binary, offset: 5}",
        "{kind: int, bits: 31, encoding: offset_binary, offset: 2147483647}",
        "{kind: int, bits: 1}",
    ],
)
def test_integers_are_exact(element: str) -> None:
    format = parse_format(f"name: whole\nelement: {element}\n")
    for run in (by_interpreter, *map(on_backend, COMPILED)):
        check_decoder(format, run, codes_of(format))


# --- what users call ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fnuz", "int4", "posit8", "lns16", "hif8", "nf4"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_float64_is_what_the_table_says(backend: str, name: str) -> None:
    codec = Codec(load_format(name), backend)
    codes = np.arange(1 << codec.format.bits, dtype=np.uint8 if codec.format.bits <= 8 else np.uint16)
    values, table = codec.decode(codes, dtype="float64"), codec.format.table()
    assert np.array_equal(values, table, equal_nan=True)
    finite = np.isfinite(table)
    assert_bit_exact(values[finite], table[finite])
    with np.errstate(over="ignore", under="ignore"):
        assert_bit_exact(codec.decode(codes)[finite], table.astype(np.float32)[finite])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_float32_cannot_hold_is_exact_in_float64(backend: str) -> None:
    wide = Codec(parse_format("name: wide\nelement: {kind: float, exponent_bits: 10, mantissa_bits: 21}\n"), backend)
    x: Any = np.array([2.0**200, -(2.0**-200), 1 + 2.0**-21, 0.1])
    codes = wide.encode(x)
    assert wide.decode(codes).tolist()[:2] == [np.inf, -0.0]
    exactly = wide.decode(codes, dtype="float64")
    assert exactly.tolist()[:3] == x.tolist()[:3]
    assert exactly[3] == float(exact.decode(wide.format, int(codes[3])))  # type: ignore[arg-type]
    assert_bit_exact(wide.fake_quantize(x), exactly)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "int8", "nf4", "posit16", "float32"])
def test_fake_quantize_of_float64_is_decode_after_encode(name: str, backend: str) -> None:
    codec = Codec(load_format(name), backend)
    x = np.random.default_rng(0).standard_normal(1000) * 2.0 ** np.arange(-500, 500)
    x[:6] = np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0
    assert_bit_exact(codec.fake_quantize(x), codec.decode(codec.encode(x), dtype="float64"))
