"""What inputs of every type become for the oracle, and what it decodes to float64."""

from __future__ import annotations

import random
import struct
from fractions import Fraction

import exact_cases as cases
import ml_dtypes
import numpy as np
import pytest
from exact_cases import make, real

from statqat_sim.reference.exact import Special, decode, decode_float64, encode, encode_integer, encode_number
from statqat_sim.reference.ieee import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Layout

LAYOUTS = {
    "float16": (FLOAT16, np.dtype(np.float16)),
    "bfloat16": (BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    "float32": (FLOAT32, np.dtype(np.float32)),
    "float64": (FLOAT64, np.dtype(np.float64)),
}


def bits64(x: float) -> int:
    return int.from_bytes(struct.pack("<d", x), "little")


def patterns(layout: Layout, count: int) -> list[int]:
    """All ends of the exponent range, and at random."""
    ends = [0, 1, layout.min_normal - 1, layout.min_normal, layout.inf - 1, layout.inf, layout.nan]
    source = random.Random(layout.mantissa_bits)
    width = 1 + layout.exponent_bits + layout.mantissa_bits
    return [*ends, *(layout.sign | end for end in ends), *(source.getrandbits(width) for _ in range(count))]


# --- the layouts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_patterns_mean_what_numpy_says(name: str) -> None:
    layout, dtype = LAYOUTS[name]
    words = np.array(patterns(layout, 2000), f"u{dtype.itemsize}")
    with np.errstate(all="ignore"):
        expected = words.view(dtype).astype(np.float64)
    for word, value in zip(words.tolist(), expected.tolist(), strict=True):
        assert cases.same(cases.as_float(layout.number(word)), value), hex(word)


@pytest.mark.parametrize("name", LAYOUTS)
def test_patterns_are_the_nearest_to_what_they_mean(name: str) -> None:
    layout, _ = LAYOUTS[name]
    for word in patterns(layout, 500):
        quiet = layout.nan | word & layout.sign if word & layout.sign - 1 > layout.inf else word
        assert layout.nearest(layout.number(word)) == quiet, hex(word)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *[("float64", name) for name in ("float32", "float16", "float64")],
        *[("float32", name) for name in ("bfloat16", "float16", "float64")],
        *[("float16", "bfloat16"), ("bfloat16", "float16")],
    ],
)
def test_conversions_are_those_of_numpy(source: str, target: str) -> None:
    layout, dtype = LAYOUTS[source]
    result, result_type = LAYOUTS[target]
    words = np.array(patterns(layout, 3000), f"u{dtype.itemsize}")
    moderate = np.random.default_rng(0).normal(size=2000) * 2.0 ** np.arange(-30, 20).repeat(40)
    with np.errstate(all="ignore"):
        words = np.concatenate([words, moderate.astype(dtype).view(words.dtype)])
        expected = words.view(dtype).astype(result_type).view(f"u{result_type.itemsize}")
        number = words.view(dtype) == words.view(dtype)
    for word, pattern in zip(words[number].tolist(), expected[number].tolist(), strict=True):
        assert result.nearest(layout.number(word)) == pattern, hex(word)


# --- decode to float64 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "element", [cases.E4M3FN, cases.E5M2, cases.E8M0, cases.TERNARY, cases.POSIT8, cases.TAKUM_LOG8, cases.LNS8]
)
def test_float64_holds_every_value(element: str) -> None:
    format = make(element)
    for code in range(1 << format.bits):
        number = decode(format, code)
        if isinstance(number, Fraction):
            assert decode_float64(format, code) == bits64(float(number))
            assert Fraction(float(number)) == number


def test_decode_writes_specials_as_float64() -> None:
    assert [decode_float64(make(cases.E5M2), code) for code in (0x7C, 0xFC, 0x7D, 0xFE, 0x80)] == [
        0x7FF0_0000_0000_0000,
        0xFFF0_0000_0000_0000,
        0x7FF8_0000_0000_0000,
        0xFFF8_0000_0000_0000,
        0x8000_0000_0000_0000,
    ]
    assert decode_float64(make(cases.POSIT8), 0x80) == 0x7FF8_0000_0000_0000
    assert decode_float64(make(cases.INT32), 16777217) == bits64(16777217.0)
    assert decode_float64(make(cases.WIDE), 0x7FEF) == bits64((2 - 2**-4) * 2.0**1023)


# --- encode from every type ------------------------------------------------------------------------------------


@pytest.mark.parametrize("element", [cases.E4M3FN, cases.E8M0, cases.POSIT8, cases.LNS8, cases.INT4, cases.TERNARY])
def test_one_value_in_any_type_has_one_code(element: str) -> None:
    format = make(element)
    for x in (0.0, -0.0, 1.0, -1.0, 0.3125, 1.0625, 2.0**-14, 57344.0, float("inf"), -float("inf"), float("nan")):
        found = {
            encode(format, int(np.array(x, dtype).view(f"u{dtype.itemsize}")), layout)
            for layout, dtype in LAYOUTS.values()
        }
        assert found == {encode(format, cases.bits_of(x))}, x


def test_float64_rounds_once() -> None:
    above, below = 1.0625 + 2**-40, 1.1875 - 2**-40  # beside the ties from 0x38 to 0x39, and from 0x39 to 0x3a
    for via, codes in {"exact": [0x39, 0x39], "float32": [0x38, 0x3A], "bfloat16": [0x38, 0x3A]}.items():
        format = make(cases.E4M3FN, f"via: {via}")
        assert [encode(format, bits64(x), FLOAT64) for x in (above, below)] == codes


def test_the_intermediate_is_reached_at_once() -> None:
    """Through float32, 1 + 2^-8 + 2^-40 would become the tie 1 + 2^-8, and that 1."""
    format = make(cases.FLOAT32, "via: bfloat16")
    assert encode(format, bits64(1 + 2**-8 + 2**-40), FLOAT64) == cases.bits_of(1 + 2**-7)
    assert encode(format, bits64(1 + 2**-8), FLOAT64) == cases.bits_of(1)


def test_the_intermediate_overflows_to_inf() -> None:
    for via, codes in {"exact": [0x7E, 0xFE, 0x7E], "float32": [0x7F, 0xFF, 0x7E], "bfloat16": [0x7F] * 3}.items():
        format = make(cases.E4M3FN, f"via: {via}, inf_input: nan")
        found = [encode(format, bits64(x), FLOAT64) for x in (1e39, -1e39, 3.4e38)]
        assert found == [code | (0x80 if i == 1 else 0) for i, code in enumerate(codes)]


def test_the_intermediate_underflows_to_zero_with_its_sign() -> None:
    inputs = [2.0**-151, -(2.0**-151), 2.0**-149, 2.0**-133]
    for via, codes in {"exact": [1, 0x81, 1, 1], "float32": [0, 0x80, 1, 1], "bfloat16": [0, 0x80, 0, 1]}.items():
        format = make(cases.E4M3FN, f"underflow: min, via: {via}")
        assert [encode(format, bits64(x), FLOAT64) for x in inputs] == codes


def test_negative_input_after_the_intermediate() -> None:
    format = make(cases.UE4M3, "negative_input: nan, via: float32")
    assert encode(format, bits64(-(2.0**-151)), FLOAT64) == 0  # -0 by then
    assert encode(format, bits64(-(2.0**-140)), FLOAT64) == 0x7F


@pytest.mark.parametrize("name", LAYOUTS)
def test_subnormals_are_those_of_the_inputs_own_type(name: str) -> None:
    layout, _ = LAYOUTS[name]
    format = make(cases.E4M3FN, "flush_inputs: true, underflow: min")
    for sign, zero in ((0, 0), (layout.sign, 0x80)):
        assert encode(format, sign | layout.min_normal - 1, layout) == zero
        assert encode(format, sign | 1, layout) == zero
        assert encode(format, sign | layout.min_normal, layout) & 0x7F > 0
        assert encode(format, sign, layout) == zero


def test_what_flushes_in_one_type_is_normal_in_the_next() -> None:
    format = make(cases.FLOAT32, "flush_inputs: true")
    subnormal = 0x0200  # of float16: 2^-15
    assert encode(format, subnormal, FLOAT16) == 0
    assert encode(format, bits64(2.0**-15), FLOAT64) == cases.bits_of(2.0**-15)
    assert encode(format, bits64(2.0**-130), FLOAT64) == cases.bits_of(2.0**-130)
    assert encode(format, cases.bits_of(2.0**-130)) == 0


@pytest.mark.parametrize("name", LAYOUTS)
def test_nan_in_any_type(name: str) -> None:
    layout, _ = LAYOUTS[name]
    format = make(cases.E5M2)
    assert {encode(format, layout.inf + payload, layout) for payload in (1, layout.min_normal - 1)} == {0x7E}
    assert encode(format, layout.sign | layout.inf + 1, layout) == 0xFE


def test_integers() -> None:
    int8, int32 = make("kind: int, bits: 8"), make(cases.INT32)
    assert [encode_integer(int8, n) for n in (0, 5, -5, 127, 128, -129, 2**63)] == [0, 5, 251, 127, 127, 128, 127]
    assert encode_integer(int32, 2**24 + 1) == 2**24 + 1
    assert encode_integer(make(cases.INT32, "via: float32"), 2**24 + 1) == 2**24
    assert encode_integer(make(cases.INT32, "via: bfloat16"), 257) == 256
    assert encode_integer(make(cases.INT4, "overflow: wrap"), 2**64 - 1) == 15
    assert encode_integer(make(cases.E4M3FN), 0) == 0
    assert encode_integer(make(cases.E4M3FN), -17) == encode_number(make(cases.E4M3FN), Fraction(-17)) == 0xD8
    assert encode_integer(make(cases.UE4M3, "negative_input: nan"), -1) == 0x7F
    assert encode_integer(make(cases.POSIT8), 2**64 - 1) == 0x7F


def test_integers_round_once() -> None:
    """2^25 + 1 + 2^60 and the like: float64 would take the odd bit away."""
    format = make(cases.FLOAT32)
    tie = 2**60 + 2**36
    assert encode_integer(format, tie) == cases.bits_of(2.0**60)
    assert encode_integer(format, tie + 1) == cases.bits_of(2.0**60) + 1
    assert real(decode(format, encode_integer(format, tie + 1))) == 2**60 + 2**37


def test_specials_pass_the_intermediate() -> None:
    format = make(cases.E5M2, "via: bfloat16, overflow: inf")
    assert [encode(format, layout.sign | layout.inf, layout) for layout in (FLOAT16, FLOAT64)] == [0xFC, 0xFC]
    assert [encode_number(format, number) for number in (Special.NEGATIVE_ZERO, Special.NEGATIVE_NAN)] == [0x80, 0xFE]
