"""The oracle against hand-computed values, the spec's own properties, and other libraries."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_left, bisect_right
from fractions import Fraction

import exact_cases as cases
import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest
from exact_cases import ENCODED, MEANINGS, as_float, bits_of, float_of, is_finite, make, random_bits, real, same
from hypothesis import assume, given, settings
from strategies import number_specs

from statqat_sim.errors import SpecError
from statqat_sim.reference.exact import Special, decode, decode_float32, encode, encode_number
from statqat_sim.reference.steps import thresholds
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.number import NumberFormat

# --- decode ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("element", "meanings"), MEANINGS)
def test_codes_mean_what_the_definitions_say(element: str, meanings: dict[int, float]) -> None:
    format = make(element)
    for code, value in meanings.items():
        assert same(as_float(decode(format, code)), value), code


def test_decode_rounds_once_to_float32() -> None:
    assert decode_float32(make(cases.E8M0), 0) == 0x0040_0000  # subnormal
    assert decode_float32(make(cases.INT32), 16777217) == bits_of(16777216)
    assert decode_float32(make(cases.INT32), 16777219) == bits_of(16777220)
    assert decode_float32(make(cases.INT32), 2**32 - 1) == bits_of(-1)
    assert decode_float32(make(cases.WIDE), 0x7FEF) == 0x7F80_0000  # beyond the largest float32
    assert decode_float32(make(cases.WIDE), 0x8001) == 0x8000_0000  # below the smallest
    # half the smallest float32 is 2^-150, a tie to 0; the next value up is beyond the tie
    tie = (1023 - 150) << 4
    assert [decode_float32(make(cases.WIDE), tie + step) for step in (0, 1)] == [0, 1]


def test_decode_writes_specials_as_float32() -> None:
    assert [decode_float32(make(cases.E5M2), code) for code in (0x7C, 0xFC, 0x7D, 0xFE, 0x80)] == [
        0x7F80_0000,
        0xFF80_0000,
        0x7FC0_0000,
        0xFFC0_0000,
        0x8000_0000,
    ]
    assert decode_float32(make(cases.E4M3FNUZ), 0x80) == 0x7FC0_0000
    assert decode_float32(make(cases.TERNARY), 3) == 0x7FC0_0000


def test_zeros_of_equal_codebooks_stay_apart() -> None:
    plain, negative = (make(f"kind: codebook, bits: 1, values: [{zero}, 1]") for zero in ("0.0", "-0.0"))
    assert decode(plain, 0) == 0
    assert decode(negative, 0) is Special.NEGATIVE_ZERO


def all_small_floats() -> list[NumberFormat]:
    formats = []
    subnormals, nans = ("gradual", "flush", "none", "raw"), ("none", "ieee", "all_ones", "negative_zero")
    choices = (("true", "false"), subnormals, nans, ("none", "ieee", "max_code"), ("signed", "positive", "none"))
    for (e, m), chosen in itertools.product([(1, 1), (2, 0), (3, 2)], itertools.product(*choices)):
        signed, subnormal, nan, inf, zero = chosen
        try:
            formats.append(
                make(
                    f"kind: float, exponent_bits: {e}, mantissa_bits: {m}, signed: {signed},"
                    f" subnormals: {subnormal}, nan: {nan}, inf: {inf}, zero: {zero}"
                )
            )
        except SpecError:
            continue
    return formats


def test_spec_properties_agree_for_every_small_float() -> None:
    formats = all_small_floats()
    assert len(formats) > 200
    for format in formats:
        check_properties(format)


@pytest.mark.parametrize(
    "element",
    [element for element, _ in MEANINGS]
    + [cases.UE4M3, cases.UINT4, cases.NONNEGATIVE, cases.LOPSIDED, cases.POSITIVES],
)
def test_spec_properties_agree(element: str) -> None:
    check_properties(make(element))


@settings(max_examples=60, deadline=None)
@given(text=number_specs())
def test_spec_properties_agree_for_any_format(text: str) -> None:
    format = parse_format(text)
    assume(format.bits <= 12)
    check_properties(format)


def check_properties(format: NumberFormat) -> None:
    """What the spec derives is what the oracle derives."""
    element = format.element
    numbers = [decode(format, code) for code in range(1 << format.bits)]
    for code, number in enumerate(numbers):
        assert same(as_float(number), element.value(code)), (format, code)
    produced = [real(n) for code, n in enumerate(numbers) if is_finite(n) and element.produces(code)]
    assert element.highest == max(produced), format
    assert element.lowest == min(produced), format
    assert element.smallest == min((n for n in produced if n > 0), default=element.smallest), format
    assert element.has_negative == (min(produced) < 0), format
    assert element.has_zero == (0 in produced), format
    assert element.nan_count == sum(n in (Special.NAN, Special.NEGATIVE_NAN) for n in numbers), format
    assert element.inf_count == sum(n in (Special.INF, Special.NEGATIVE_INF) for n in numbers), format
    assert element.signed_nan == (Special.NEGATIVE_NAN in numbers), format
    assert element.nan_code is None or numbers[element.nan_code] is Special.NAN, format
    assert element.inf_code is None or numbers[element.inf_code] is Special.INF, format


# --- encode, by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("element", "policy", "codes"), ENCODED)
def test_encode_by_hand(element: str, policy: str, codes: dict[float | str, int]) -> None:
    format = make(element, policy)
    found = {x: encode(format, bits_of(float(x))) for x in codes}
    assert found == codes


def test_nan_input_error() -> None:
    format = make(cases.E4M3FN, "nan_input: error")
    for bits in (0x7F80_0001, 0xFFFF_FFFF):
        with pytest.raises(ValueError, match="nan_input: error"):
            encode(format, bits)
    steps = thresholds(format)
    assert (steps.nan, steps.negative_nan) == (None, None)


def test_other_inputs_round_once() -> None:
    """1.0625 + 2^-40 lies just above the tie that float32 would make of it."""
    assert encode_number(make(cases.E4M3FN), Fraction(17, 16) + Fraction(1, 2**40)) == 0x39
    assert encode(make(cases.E4M3FN), bits_of(1.0625 + 2**-40)) == 0x38


# --- encode, by what each rounding mode promises ---------------------------------------------------------------


@pytest.mark.parametrize("mode", cases.DETERMINISTIC)
@pytest.mark.parametrize(
    "element",
    [
        cases.E4M3FN,
        cases.E5M2,
        cases.E3M0,
        cases.FLUSH,
        cases.CFLOAT8,
        cases.NO_SUBNORMALS,
        cases.INT4,
        cases.SIGN_MAGNITUDE,
        cases.NO_LEVEL_0,
        cases.LOPSIDED,
    ],
)
def test_rounding_keeps_its_promise(element: str, mode: Rounding) -> None:
    """Against the list of all producible values, on random x within it and on every value and midpoint."""
    format = make(element, f"rounding: {mode.value}")
    numbers = [decode(format, code) for code in range(1 << format.bits)]
    values = sorted({number for number in numbers if isinstance(number, Fraction)})
    source = random.Random(format.bits)
    inside = [Fraction(source.uniform(float(values[0]), float(values[-1]))) for _ in range(200)]
    for x in [*inside, *values, *(sum(pair, Fraction(0)) / 2 for pair in itertools.pairwise(values))]:
        y = real(decode(format, encode_number(format, x)))
        assert y in promised(mode, x, values), (x, y)


def promised(mode: Rounding, x: Fraction, values: list[Fraction]) -> set[Fraction]:
    """The values that the mode allows for x; parity has tests of its own."""
    below, above = values[bisect_right(values, x) - 1], values[bisect_left(values, x)]
    if mode is Rounding.TOWARD_NEGATIVE:
        return {below}
    if mode is Rounding.TOWARD_POSITIVE:
        return {above}
    if mode is Rounding.TOWARD_ZERO:
        return {below if abs(below) < abs(above) else above}
    if mode is Rounding.TO_ODD:
        return {below, above}
    distance = min(x - below, above - x)
    nearest = {v for v in (below, above) if abs(v - x) == distance}
    if mode is Rounding.NEAREST_UP:
        return {max(nearest)}
    if mode is Rounding.NEAREST_AWAY:
        return {max(nearest, key=lambda v: (abs(v), v))}
    if mode is Rounding.NEAREST_ZERO:
        return {min(nearest, key=lambda v: (abs(v), -v))}
    return nearest


@pytest.mark.parametrize(
    "element",
    [
        cases.E4M3FN,
        cases.E5M2,
        cases.E4M3FNUZ,
        cases.P3109_8P3SE,
        cases.E8M0,
        cases.FLUSH,
        cases.CFLOAT8,
        cases.NO_ZERO_NAN,
        cases.UE4M3,
        cases.SIGN_MAGNITUDE,
        cases.OFFSET3,
        cases.TERNARY,
    ],
)
@pytest.mark.parametrize("mode", [Rounding.NEAREST_EVEN, Rounding.TOWARD_POSITIVE, Rounding.TO_ODD])
def test_every_value_stays(element: str, mode: Rounding) -> None:
    format = make(element, f"rounding: {mode.value}")
    for code in range(1 << format.bits):
        once = encode(format, decode_float32(format, code))
        assert decode_float32(format, once) == decode_float32(format, code) or decode(format, code) in (
            Special.INF,
            Special.NEGATIVE_INF,
        )


# --- other libraries -------------------------------------------------------------------------------------------

ML_DTYPES = [
    (cases.E4M3FN, "overflow: nan", "float8_e4m3fn"),
    (cases.E5M2, "overflow: inf", "float8_e5m2"),
    (cases.E4M3, "overflow: inf", "float8_e4m3"),
    (cases.E3M4, "overflow: inf", "float8_e3m4"),
    (cases.E4M3FNUZ, "overflow: nan", "float8_e4m3fnuz"),
    (cases.E5M2FNUZ, "overflow: nan", "float8_e5m2fnuz"),
    (cases.E4M3B11FNUZ, "overflow: nan", "float8_e4m3b11fnuz"),
    (cases.E2M1, "", "float4_e2m1fn"),
    (cases.E2M3, "", "float6_e2m3fn"),
    (cases.E3M2, "", "float6_e3m2fn"),
    (cases.BFLOAT16, "overflow: inf", "bfloat16"),
    (cases.FLOAT16, "overflow: inf", "float16"),
]
NO_INF_OR_NAN = {"float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"}


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def word_of(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


@pytest.mark.parametrize(
    ("element", "name"), [(element, name) for element, _, name in ML_DTYPES] + [(cases.E8M0, "float8_e8m0fnu")]
)
def test_decode_is_that_of_ml_dtypes(element: str, name: str) -> None:
    format, dtype = make(element), dtype_of(name)
    codes = np.arange(1 << format.bits).astype(word_of(dtype))
    expected = codes.view(dtype).astype(np.float32)
    ours = np.array([decode_float32(format, int(code)) for code in codes], np.uint32)
    np.testing.assert_array_equal(ours.view(np.float32), expected)
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(ours[finite], expected.view(np.uint32)[finite])


@pytest.mark.parametrize(("element", "policy", "name"), ML_DTYPES)
def test_encode_is_that_of_ml_dtypes(element: str, policy: str, name: str) -> None:
    format, dtype = make(element, policy), dtype_of(name)
    bits = np.array(
        [
            *random_bits(20_000 if element in (cases.E4M3FN, cases.E5M2) else 4_000),
            0,
            1 << 31,
            0x7F80_0000,
            0xFF80_0000,
        ],
        np.uint32,
    )
    if name in NO_INF_OR_NAN:
        bits = bits[np.isfinite(bits.view(np.float32))]
    if name == "float16":  # keeps the payload of NaN
        bits = bits[~np.isnan(bits.view(np.float32))]
    with np.errstate(all="ignore"):
        expected = bits.view(np.float32).astype(dtype).view(word_of(dtype))
    ours = np.array([encode(format, int(pattern)) for pattern in bits])
    np.testing.assert_array_equal(ours, expected)


GFLOAT_MODES = {
    "nearest_even": gfloat.RoundMode.TiesToEven,
    "nearest_away": gfloat.RoundMode.TiesToAway,
    "toward_zero": gfloat.RoundMode.TowardZero,
    "toward_positive": gfloat.RoundMode.TowardPositive,
    "toward_negative": gfloat.RoundMode.TowardNegative,
}
GFLOAT = [
    (cases.E4M3FN, "nan", gfloat.formats.format_info_ocp_e4m3),
    (cases.E4M3FN, "saturate", gfloat.formats.format_info_ocp_e4m3),
    (cases.E5M2, "inf", gfloat.formats.format_info_ocp_e5m2),
    (cases.E2M1, "saturate", gfloat.formats.format_info_ocp_e2m1),
    (cases.E3M2, "saturate", gfloat.formats.format_info_ocp_e3m2),
    (cases.P3109_8P3SE, "inf", gfloat.formats.format_info_p3109(8, 3)),
    (cases.P3109_8P3SF, "nan", gfloat.formats.format_info_p3109(8, 3, domain=gfloat.Domain.Finite)),
    (cases.P3109_8P3UE, "inf", gfloat.formats.format_info_p3109(8, 3, gfloat.Signedness.Unsigned)),
]


@pytest.mark.parametrize(("element", "overflow", "info"), GFLOAT)
def test_decode_is_that_of_gfloat(element: str, overflow: str, info: gfloat.FormatInfo) -> None:
    format = make(element, f"overflow: {overflow}")
    for code in range(1 << format.bits):
        assert same(as_float(decode(format, code)), gfloat.decode_float(info, code).fval), code


@pytest.mark.parametrize("mode", GFLOAT_MODES)
@pytest.mark.parametrize(("element", "overflow", "info"), GFLOAT)
def test_rounding_is_that_of_gfloat(element: str, overflow: str, info: gfloat.FormatInfo, mode: str) -> None:
    format = make(element, f"rounding: {mode}, overflow: {overflow}")
    for bits in random_bits(200):
        x = float_of(bits)
        if math.isnan(x) or (math.copysign(1, x) < 0 and not info.is_signed):
            continue
        expected = gfloat.round_float(info, x, GFLOAT_MODES[mode], overflow == "saturate")
        assert same(as_float(decode(format, encode(format, bits))), expected), x
