"""The oracle of block formats against values worked out by hand, float64 arithmetic of numpy, gguf and torchao."""

from __future__ import annotations

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from block_strategies import BlockCase, block_cases, block_specs
from hypothesis import assume, given, settings
from numpy.typing import NDArray

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference import blocks_float32, blocks_scale
from statqat_sim.reference.blocks import Quantized, candidate_errors, dequantize_exactly, quantize_exactly
from statqat_sim.reference.grid import Special
from statqat_sim.reference.ieee import FLOAT32
from statqat_sim.spec.block import BlockFormat, Offset
from statqat_sim.spec.catalog import load_format, parse_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Candidates, ScaleLevel

Array = NDArray[Any]
INF, NAN = math.inf, math.nan
E8M0, E4M3, E2M1 = "float8_e8m0fnu", "float8_e4m3fn", "float4_e2m1fn"
SM8 = "{kind: int, bits: 8, encoding: sign_magnitude, fraction_bits: 6}"
RNG = np.random.default_rng(20)


def number(name: str, **encode: Any) -> NumberFormat:
    """A format of the catalog, or of an element in braces, with keys of `encode` changed."""
    format = parse_format(f"name: probe\nelement: {name}\n") if name.startswith("{") else load_format(name)
    return format.model_copy(update={"encode": type(format.encode).model_validate(dict(format.encode) | encode)})


def level(format: str | BlockFormat, block: Any, **keys: Any) -> ScaleLevel:
    return ScaleLevel(format=number(format) if isinstance(format, str) else format, block=block, **keys)


def block_format(element: str, *scales: ScaleLevel, offset: Offset | None = None, **encode: Any) -> BlockFormat:
    return BlockFormat(name="probe", element=number(element, **encode), scales=scales, offset=offset)


def mx(element: str, rule: str = "floor", block: Any = 32, **keys: Any) -> BlockFormat:
    return block_format(element, level(E8M0, block, rule=rule, **keys))


def block_format_of(text: str) -> BlockFormat:
    format = parse_format(text)
    assert isinstance(format, BlockFormat)
    return format


def float32(*values: float) -> Array:
    return np.array(values, np.float32)


def fake(format: BlockFormat, x: Array, **keys: Any) -> list[float]:
    """The values that come back."""
    return dequantize_exactly(format, quantize_exactly(format, x, **keys)).tolist()


def codes(format: BlockFormat, x: Array, **keys: Any) -> list[int]:
    return quantize_exactly(format, x, **keys).codes.tolist()


def scales(format: BlockFormat, x: Array, **keys: Any) -> list[list[float]]:
    """The decoded scales of every level whose format is a number's."""
    arrays = quantize_exactly(format, x, **keys).scales
    return [
        [float(blocks_scale.scale_value(entry, int(code))) for code in array.reshape(-1)]
        for entry, array in zip(format.scales, arrays, strict=True)
    ]


# --- float32 -----------------------------------------------------------------------------------------------------


CORNERS = [0, 1, 0x007FFFFF, 0x00800000, 0x3F800000, 0x3F800001, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x40490FDB]


def test_arithmetic_is_that_of_float32() -> None:
    words = CORNERS + [word | FLOAT32.sign for word in CORNERS] + RNG.integers(0, 2**32, 40).tolist()
    operations = [
        (blocks_float32.times, np.multiply),
        (blocks_float32.over, np.divide),
        (blocks_float32.plus, np.add),
        (blocks_float32.minus, np.subtract),
    ]
    for (a, b), (ours, theirs) in itertools.product(itertools.product(words, repeat=2), operations):
        result = ours(FLOAT32.number(a), FLOAT32.number(b))
        with np.errstate(all="ignore"):
            expected = theirs(np.uint32(a).view(np.float32), np.uint32(b).view(np.float32))
        if np.isnan(expected):
            assert result is Special.NAN
        else:
            assert FLOAT32.nearest(result) == expected.view(np.uint32), (hex(a), hex(b), ours)


# --- power-of-two rules ------------------------------------------------------------------------------------------


def test_exponents_are_exact_below_a_power_of_two() -> None:
    x = float32(np.nextafter(np.float32(8), np.float32(0)), 0.3)
    assert scales(mx(E2M1), x) == [[1]]
    assert fake(mx(E2M1), x) == [6, 0.5]
    assert fake(mx(E2M1), float32(8, 0.3)) == [8, 0]


@pytest.mark.parametrize(
    ("rule", "expected"), [("floor", [0, 0, 0, 0]), ("even", [0, 0, 1, 1]), ("rceil", [0, 1, 1, 1]), ("ceil", [1] * 4)]
)
@pytest.mark.parametrize("target", ["max", "emax", 4, 7.5])
def test_rules_differ_between_6_and_8(rule: str, expected: list[int], target: Any) -> None:
    found = quantize_exactly(mx(E2M1, rule, 1, target=target), float32(6, 6.5, 7, 7.5))
    assert (found.scales[0] - 127).tolist() == expected


def test_exponents_stay_within_the_format() -> None:
    tiny, huge = float32(2.0**-149), float32(3e38)
    assert quantize_exactly(mx(E2M1), tiny).scales[0] == 0
    assert scales(mx("{kind: float, exponent_bits: 2, mantissa_bits: 1, bias: 200}"), huge) == [[2.0**127]]
    assert scales(block_format(E2M1, level("uint4", 1, rule="ceil")), float32(1e-9, 1, 1e9)) == [[1, 1, 8]]
    # raw subnormals of one mantissa bit are 2^-3 · (0, 1); from the first exponent field on 0.5, 0.75, ...
    raw = "{kind: float, signed: false, exponent_bits: 2, mantissa_bits: 1, bias: 2, subnormals: raw}"
    assert scales(block_format("int2", level(raw, 1, rule="floor")), float32(0.01, 0.5, 1e9)) == [[0.125, 0.5, 2]]


ELEMENTS = {  # ml_dtypes: e(max), max, mantissa bits
    E2M1: (ml_dtypes.float4_e2m1fn, 2, 6.0, 1),
    E4M3: (ml_dtypes.float8_e4m3fn, 8, 448.0, 3),
    "float8_e5m2": (ml_dtypes.float8_e5m2, 15, 57344.0, 2),
    "float6_e2m3fn": (ml_dtypes.float6_e2m3fn, 2, 7.5, 3),
}


def simple_mx(element: str, rule: str, x: Array) -> tuple[Array, Array]:
    """Scale exponents and values of (blocks, 32), by float64 arithmetic."""
    dtype, emax, largest, mantissa_bits = ELEMENTS[element]
    amax = np.abs(x.astype(np.float64)).max(-1, keepdims=True)
    fraction, exponent = np.frexp(amax)  # amax = fraction · 2^exponent, fraction from 1/2 on
    carries = {
        "floor": np.zeros_like(amax, bool),
        "ceil": fraction > 0.5,
        "even": fraction >= 1 - 2.0 ** (-mantissa_bits - 2),
        "rceil": fraction > np.frexp(largest)[0],
    }
    k = np.clip(exponent - 1 - emax + carries[rule], -127, 127)
    quotient = np.clip(x.astype(np.float64) / 2.0**k, -largest, largest)
    return k, quotient.astype(np.float32).astype(dtype).astype(np.float64) * 2.0**k


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("rule", ["floor", "ceil", "even", "rceil"])
def test_mx_is_what_float64_gives(element: str, rule: str) -> None:
    x = (RNG.standard_normal((12, 32)) * 2.0 ** RNG.integers(-40, 40, (12, 1))).astype(np.float32)
    x[:4] *= 2.0 ** RNG.integers(-20, 20, (4, 32))
    x[4, 0] = x[4].max() * 64
    found = quantize_exactly(mx(element, rule), x)
    k, values = simple_mx(element, rule, x)
    assert np.array_equal(found.scales[0].astype(int) - 127, k)
    assert np.array_equal(dequantize_exactly(mx(element, rule), found), values)


# --- absmax ------------------------------------------------------------------------------------------------------


def test_absmax_rounds_the_scale_to_its_format() -> None:
    format = block_format(E2M1, level(E4M3, 2, target=6))
    assert scales(format, float32(6.4, 1, 0, -6.3)) == [[1.125, 1]]  # 1.0667, 1.05 between 1 and 1.125
    assert scales(block_format(E2M1, level(E4M3, 2, rounding="toward_positive")), float32(6.1, 1)) == [[1.125]]
    assert scales(format, float32(1e30, 1, 1e-30, 0)) == [[448, 2.0**-9]]


def test_underflow_and_clamp() -> None:
    tiny = float32(1e-4, 0)
    assert scales(block_format(E2M1, level(E4M3, 2)), tiny) == [[2.0**-9]]
    to_zero = block_format(E2M1, level(E4M3, 2, underflow="zero"))
    assert (scales(to_zero, tiny), codes(to_zero, float32(-1e-4, 0))) == ([[0]], [0, 0])
    clamped = block_format(E2M1, level(E4M3, 2, clamp=(0.5, 2)))
    assert scales(clamped, float32(1, 0, 9, 0, 100, 0, 0, 0)) == [[0.5, 1.5, 2, 1]]


def test_signed_absmax_takes_the_first_of_the_largest() -> None:
    format = block_format("q4_offset8", level("float16", 4, rule="signed_absmax", target=-8))
    x = float32(4, -4, 2, 0, -4, 4, 2, 0)
    assert scales(format, x) == [[-0.5, 0.5]]
    assert codes(format, x) == [0, 15, 4, 8, 0, 15, 12, 8]
    saturating = block_format("q4_offset8", level("float16", 5, rule="signed_absmax", target=-8, nonfinite="saturate"))
    assert fake(saturating, float32(4, -4, INF, -INF, 0)) == [4, -3.5, 4, -3.5, 0]


def test_division_and_reciprocal_differ() -> None:
    x = float32(6 * 0.013671875, 0.0239257794)
    divided, multiplied = (
        block_format(E2M1, level(E4M3, 2, apply=apply)) for apply in ("divide", "multiply_reciprocal")
    )
    assert scales(divided, x) == [[0.013671875]]
    assert (codes(divided, x), codes(multiplied, x)) == ([7, 3], [7, 4])


def test_unrounded_quotients() -> None:
    """1.0667 is stored as 1.125; 5.4 / 1.0667 is 5.06, and 5.4 / 1.125 is 4.8."""
    x = float32(6.4, 5.4)
    assert codes(block_format(E2M1, level(E4M3, 2)), x) == [7, 6]
    assert codes(block_format(E2M1, level(E4M3, 2, quotient="unrounded")), x) == [7, 7]


def test_orders_of_two_levels() -> None:
    x = RNG.standard_normal((8, 16)).astype(np.float32)
    amax, six, top = np.abs(x).max(-1), np.float32(6), np.float32(2688)
    outer = np.float32(np.abs(x).max() / top)
    gain = np.float32(top / np.abs(x).max())
    raws = {
        "target_first": (amax / six) / outer,
        "product": amax / (six * outer),
        "encode": amax * (gain * (np.float32(1) / six)),
    }
    assert not np.array_equal(raws["target_first"], raws["product"])
    outermost = level("float32", "tensor", target=2688)
    for order, raw in raws.items():
        format = block_format(E2M1, outermost, level("float32", 16, target=6, order=order))
        found = scales(format, x)
        assert found == [[float(outer)], raw.tolist()], order


def test_two_levels_multiply_step_by_step() -> None:
    format = block_format(E2M1, level("float32", "tensor", target=2688), level(E4M3, 16, target=6))
    x = (RNG.standard_normal((4, 32)) * 10.0 ** RNG.integers(-3, 3, (4, 1))).astype(np.float32)
    found = quantize_exactly(format, x)
    outer = np.float32(np.abs(x).max()) / np.float32(2688)
    assert found.scales[0].view(np.float32) == outer
    inner = (np.abs(x).reshape(4, 2, 16).max(-1) / np.float32(6) / outer).astype(ml_dtypes.float8_e4m3fn)
    assert np.array_equal(found.scales[1], inner.view(np.uint8))
    scale = np.repeat(outer * inner.astype(np.float32), 16, axis=-1)
    elements = np.clip(x / scale, -6, 6).astype(ml_dtypes.float4_e2m1fn)
    assert np.array_equal(dequantize_exactly(format, found), elements.astype(np.float32) * scale)


@pytest.mark.parametrize("quotient", ["rounded", "unrounded"])
def test_quotients_are_single_operations(quotient: str) -> None:
    """Elements of float32 show them."""
    x = (RNG.standard_normal((4, 16)) * 10.0 ** RNG.integers(-3, 3, (4, 1))).astype(np.float32)
    six, top = np.float32(6), np.float32(2688)
    outer = np.abs(x).max() / top
    raw = np.abs(x).max(-1, keepdims=True) / six / outer
    inner = raw if quotient == "unrounded" else raw.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    expected = {"divide": x / (outer * inner), "multiply_reciprocal": x * ((np.float32(1) / outer) / inner)}
    for apply, values in expected.items():
        innermost = level(E4M3, 16, target=6, apply=apply, quotient=quotient)
        found = quantize_exactly(block_format("float32", level("float32", "tensor", target=2688), innermost), x)
        assert np.array_equal(found.codes.view(np.float32), values), apply


# --- special blocks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "code"), [("one", 127), ("min", 0)])
def test_blocks_of_zeros(word: str, code: int) -> None:
    found = quantize_exactly(mx(E2M1, block=2, all_zero=word), float32(0, -0.0, 6, 0))
    assert found.scales[0].tolist() == [code, 127]
    assert found.codes.tolist() == [0, 8, 7, 0]


def test_a_scale_of_zero_gives_codes_of_zero() -> None:
    format = block_format("q4_offset8", level("float16", 2, all_zero="zero", nonfinite="saturate"))
    found = quantize_exactly(format, float32(0, -0.0, INF, NAN, INF, 7))
    assert found.scales[0][:2].tolist() == [0, 0]
    assert found.codes.tolist() == [8, 8, 8, 8, 15, 15]


def test_nan_blocks() -> None:
    format = block_format(E2M1, level("float32", "tensor", target=2688), level(E4M3, 2, target=6))
    x = float32(1, NAN, -INF, 3, 2, 1)
    found = quantize_exactly(format, x)
    assert found.scales[0].view(np.float32) == np.float32(3) / np.float32(2688)  # 3 is finite
    assert found.scales[1].tolist()[:2] == [0x7F, 0x7F]
    assert found.codes.tolist()[:4] == [0, 0, 0, 0]
    assert np.array_equal(np.isnan(dequantize_exactly(format, found)), [True] * 4 + [False] * 2)


@pytest.mark.parametrize("keys", [{"all_zero": "zero"}, {"rule": "given"}])
def test_nan_that_the_element_refuses_is_refused_under_a_scale_of_zero_too(keys: dict[str, str]) -> None:
    format = block_format("int4", level("ue4m3", 2, nonfinite="saturate", **keys), nan_input="error")
    with pytest.raises(ValueError, match="nan_input: error"):
        quantize_exactly(format, float32(NAN, 0), scale=0 if "rule" in keys else None)
    shown = block_format("int4", level("ue4m3", 2, nonfinite="nan_block"), nan_input="error")
    assert quantize_exactly(shown, float32(NAN, 0)).scales[0] == 0x7F


def test_saturated_blocks() -> None:
    format = mx(E4M3, block=4, nonfinite="saturate")
    assert fake(format, float32(448, INF, -INF, 1)) == [448, 448, -448, 1]
    values = fake(mx(E2M1, block=4, nonfinite="saturate"), float32(NAN, -INF, 6, 3))
    assert values == [6, -6, 6, 3]  # NaN becomes the largest, as E2M1 has none
    assert codes(format, float32(NAN, -NAN, 448, 0)) == [0x7F, 0xFF, 0x7E, 0]
    assert scales(format, float32(NAN, INF, -0.0, 0)) == [[1]]
    to_inf = block_format("float8_e5m2", level(E8M0, 2, nonfinite="saturate"), overflow="inf", inf_input="inf")
    assert fake(to_inf, float32(INF, 1.75 * 2**15)) == [57344, 57344]


def test_given_scales() -> None:
    format = block_format("int8", level("float32", "channel", rule="given"))
    x = float32(1, 2, 100, -300).reshape(2, 2)
    assert codes(format, x, scale=[[0.5], [2]]) == [[2, 4], [50, 0x80]]
    assert codes(format, x, scale=1) == [[1, 2], [100, 0x80]]
    assert codes(format, x, scale=0) == [[0, 0], [0, 0]]
    for wrong in (None, -1, NAN):
        with pytest.raises(ValueError, match="scale"):
            quantize_exactly(format, x, scale=wrong)
    clamped = block_format(E2M1, level(E4M3, 4, clamp=(2, 4), rounding="toward_positive"))
    assert [scales(clamped, x, scale=scale)[0][0] for scale in (1.05, 1e-9, 1e9)] == [1, 0, 448]


# --- shared exponents --------------------------------------------------------------------------------------------


def test_mx9() -> None:
    """Steps of 2^-6 of the block's power of two, 2^-7 where both of a pair are below it."""
    format = block_format(
        SM8,
        level(E8M0, 16, rule="floor", target=1),
        level("uint1", 2, rule="floor", target=1, combine="exponent_subtract"),
    )
    x = np.zeros(16, np.float32)
    x[:6] = [5, 1, -3, 1.99, 0.013, 0]
    found = quantize_exactly(format, x)
    assert [array.tolist() for array in found.scales] == [[129], [0, 1, 1, 0, 0, 0, 0, 0]]
    assert found.codes[:6].tolist() == [80, 16, 128 + 96, 64, 0, 0]  # 1.99 is 63.68 steps, 0.013 is 0.42
    assert dequantize_exactly(format, found)[:6].tolist() == [5, 1, -3, 2, 0, 0]
    x[7] = NAN
    found = quantize_exactly(format, x)
    assert [array.tolist() for array in found.scales] == [[255], [0] * 8]


def test_exponents_are_added() -> None:
    """HiF4's way: a scale for the smallest of the blocks, doubled once or twice in those that need it."""
    added = {"rule": "floor", "combine": "exponent_add", "target": 4}
    format = block_format(
        E2M1, level(E8M0, 8, rule="floor", target=32), level("uint1", 4, **added), level("uint1", 2, **added)
    )
    x = float32(48, 1, 2, 24, 12, 1, 0, 0)
    found = quantize_exactly(format, x)
    assert [array.tolist() for array in found.scales] == [[127], [1, 1], [1, 1, 0, 0]]
    assert dequantize_exactly(format, found).tolist() == [24, 0, 2, 24, 12, 1, 0, 0]


# --- offsets -----------------------------------------------------------------------------------------------------


def test_minimum() -> None:
    offset = Offset(kind="minimum", scales=(level("float16", 4),))
    format = block_format("uint2", level("float16", 4, rule="minmax", all_zero="zero"), offset=offset)
    x = float32(-1, 0.4, 2, 0.6, 7, 7, 7, 7)
    found = quantize_exactly(format, x)
    assert found.codes.tolist() == [0, 1, 3, 2, 0, 0, 0, 0]
    assert found.offset is not None
    assert found.offset.astype(np.uint16).view(np.float16).tolist() == [-1, 7]
    assert dequantize_exactly(format, found).tolist() == [-1, 0, 2, 1, 7, 7, 7, 7]


def test_a_rounded_minimum_is_subtracted_unless_the_quotient_is_unrounded() -> None:
    x = float32(2049, 2055)  # float16 has 2048; a scale of 2
    for quotient, expected in (("rounded", [0, 3]), ("unrounded", [0, 3])):
        offset = Offset(kind="minimum", scales=(level("float16", 2),))
        format = block_format("uint2", level("float16", 2, rule="minmax", quotient=quotient), offset=offset)
        assert codes(format, x) == expected
    x = float32(2049.5, 2050.6, 2052.5)
    offset = Offset(kind="minimum", scales=(level("float16", 3),))
    formats = [
        block_format("uint2", level("float16", 3, rule="minmax", quotient=quotient), offset=offset)
        for quotient in ("rounded", "unrounded")
    ]
    assert [codes(format, x) for format in formats] == [[0, 1, 2], [0, 1, 3]]  # 2050 is stored


def test_zero_point() -> None:
    offset = Offset(kind="zero_point", format=number("uint8"))
    format = block_format("uint8", level("float32", "channel", rule="minmax"), offset=offset)
    x = float32(-1, 0, 4.1, 1)
    found = quantize_exactly(format, x)
    scale = np.float32(5.1) / np.float32(255)  # 0.02
    assert found.offset is not None
    assert found.offset.tolist() == [50]
    assert found.codes.tolist() == [0, 50, 255, 100]
    assert dequantize_exactly(format, found).tolist() == [float(np.float32(n) * scale) for n in (-50, 0, 205, 50)]
    only_positive = quantize_exactly(format, float32(1, 255))
    assert (only_positive.offset.tolist(), only_positive.codes.tolist()) == ([0], [1, 255])
    zeros = quantize_exactly(format, float32(0, 0))
    assert (zeros.offset.tolist(), zeros.codes.tolist()) == ([0], [0, 0])


@pytest.mark.parametrize("apply", ["divide", "multiply_reciprocal"])
def test_zero_points_are_added_to_the_quotient(apply: str) -> None:
    x = RNG.standard_normal((5, 12)).astype(np.float32)
    offset = Offset(kind="zero_point", format=number("int8"))
    format = block_format("int8", level("float32", 12, rule="minmax", apply=apply), offset=offset)
    found = quantize_exactly(format, x)
    low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scale = (high - low) / np.float32(255)
    zero = np.clip(np.rint(np.float32(-128) - low / scale), -128, 127)
    scaled = x / scale if apply == "divide" else x * (np.float32(1) / scale)
    assert found.offset is not None
    assert np.array_equal(found.offset.astype(np.uint8).view(np.int8), zero)
    assert np.array_equal(found.codes.astype(np.uint8).view(np.int8), np.clip(np.rint(scaled + zero), -128, 127))


@pytest.mark.parametrize("quotient", ["rounded", "unrounded"])
@pytest.mark.parametrize("apply", ["divide", "multiply_reciprocal"])
def test_zero_points_are_added_to_rounded_quotients(apply: str, quotient: str) -> None:
    """Ties go to an even quotient, not to an even element; the scale is 1 in the first row."""
    x = RNG.standard_normal((6, 12)).astype(np.float32)
    x[0] = [-1, 14, 0.5, 1.5, 2.5, 3.5, 4.5, -0.5, 7.5, 8.5, 0, 1]
    offset = Offset(kind="zero_point", format=number("uint4"), added="after_rounding")
    format = block_format("uint4", level("float16", 12, rule="minmax", apply=apply, quotient=quotient), offset=offset)
    found = quantize_exactly(format, x)
    low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    raw = (high - low) / np.float32(15)
    scale = raw if quotient == "unrounded" else raw.astype(np.float16).astype(np.float32)

    def rounded(x: Array) -> Array:
        return np.rint(x / scale if apply == "divide" else x * (np.float32(1) / scale))

    zero = np.clip(-rounded(low), 0, 15)
    assert found.offset is not None
    assert np.array_equal(found.offset, zero)
    assert np.array_equal(found.codes, np.clip(rounded(x) + zero, 0, 15))
    assert found.codes[0].tolist() == [0, 15, 1, 3, 3, 5, 5, 1, 9, 9, 1, 2]


def test_signed_zero_point() -> None:
    offset = Offset(kind="zero_point", format=number("int8"))
    format = block_format("int8", level("float32", "tensor", rule="minmax"), offset=offset)
    found = quantize_exactly(format, float32(0, 255))
    assert found.offset is not None
    assert (found.offset.tolist(), found.codes.tolist()) == ([0x80], [0x80, 0x7F])


# --- nested formats ----------------------------------------------------------------------------------------------


def k_quant(scale_format: str = "uint6") -> BlockFormat:
    def nested(target: int) -> BlockFormat:
        return block_format(scale_format, level("float16", 8, target=target, all_zero="zero", nonfinite="saturate"))

    offset = Offset(kind="minimum", sign=-1, scales=(level(nested(63), 32, all_zero="zero"),))
    return block_format("uint4", level(nested(63), 32, rule="minmax", all_zero="zero"), offset=offset)


def test_nested_scales_are_data_of_their_format() -> None:
    """Raw scales 1, 63, 31.6 in units of 63 / 63."""
    nested = block_format("uint6", level("float16", 8, all_zero="zero"))
    format = block_format("int4", level(nested, 2, all_zero="zero"))
    x = float32(7, 1, 441, 63, 0, 0, 221.2, 31.6)
    found = quantize_exactly(format, x)
    assert [array.tolist() for array in found.scales] == [[0x3C00], [1, 63, 0, 32]]
    assert found.codes.tolist() == [7, 1, 7, 1, 0, 0, 7, 1]


def test_q4_k_by_hand() -> None:
    """y = d·sc·q - dmin·m."""
    found = Quantized(
        codes=np.array([[3] * 32 + [15] * 32]),
        scales=(np.array([[0x3800]]), np.array([[2, 63]])),
        offset=np.array([[1, 0]]),
        offset_scales=(np.array([[0x4000]]),),
    )
    assert dequantize_exactly(k_quant(), found).tolist() == [[0.5 * 2 * 3 - 2] * 32 + [0.5 * 63 * 15] * 32]


def test_k_quants_are_near_their_input() -> None:
    x = RNG.standard_normal(512).astype(np.float32) + 0.5
    found = quantize_exactly(k_quant(), x)
    assert [array.shape for array in found.scales] == [(2,), (16,)]
    assert [array.shape for array in (found.offset, *found.offset_scales) if array is not None] == [(16,), (2,)]
    assert np.abs(dequantize_exactly(k_quant(), found) - x).max() < 0.35


# --- mse ---------------------------------------------------------------------------------------------------------


def test_the_scale_of_least_error_is_chosen() -> None:
    format = block_format("int4", level(E4M3, 16, rule="mse"))
    x = RNG.standard_normal((3, 16)).astype(np.float32)
    weights = RNG.random((3, 16))
    found = quantize_exactly(format, x, weights=weights)
    for row, errors in candidate_errors(format, x, weights=weights).items():
        plain = (np.abs(x[row[0]]).max() / np.float32(7)).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        assert list(errors) == [int(plain) + step for step in range(-2, 6)]
        for code, error in errors.items():
            scale = np.uint8(code).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
            y = np.clip(np.rint(x[row[0]] / scale), -8, 7) * scale
            assert error == pytest.approx((weights[row[0]] * (x[row[0]].astype(np.float64) - y) ** 2).sum(), rel=1e-12)
        assert errors[int(found.scales[0][row])] == min(errors.values())


def test_candidates_of_powers_of_two_and_of_targets() -> None:
    x = float32(3.9, 1, 1, 1)
    for element, steps in ((E2M1, [0, 1]), ("int4", [-1, 0, 1])):
        errors = candidate_errors(block_format(element, level(E8M0, 4, rule="mse")), x)
        plain = int(quantize_exactly(mx(element), x).scales[0][0])
        assert list(errors[0,]) == [plain + step for step in steps]
    four_over_six = block_format(E2M1, level(E4M3, 4, rule="mse", candidates=Candidates(targets=(6, 4))))
    assert scales(four_over_six, float32(6, 4, 3, 2)) == [[1]]
    assert scales(four_over_six, float32(6, 4.5, 3, 1.5)) == [[1.5]]


def test_ties_go_to_the_plain_rule_then_to_the_lower_code() -> None:
    """64 is 64 ones, 32 twos, 16 fours, and more than 127 halves."""
    chosen = [
        scales(block_format("int8", level(E4M3, 1, rule="mse", target=64, candidates=Candidates(offsets=offsets))), x)
        for offsets in ((8, 0, -8), (-8, 16, 8), (-8, -16))
        for x in [float32(64)]
    ]
    assert chosen == [[[1]], [[2]], [[0.5]]]


def test_a_plain_scale_of_nan_is_clamped_to_the_candidates() -> None:
    outer = level("uint4", "tensor", underflow="zero")  # 0, so that the raw scale within is 0 / 0
    found = quantize_exactly(block_format("int4", outer, level("ue4m3", 2, rule="mse")), float32(1e-45, 0))
    assert found.scales[1] == 0x7E


# --- geometry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "axis", "shape"),
    [
        (4, -1, (3, 6, 3)),
        (4, 0, (1, 6, 10)),
        (4, 1, (3, 2, 10)),
        ((4, 8), -1, (3, 2, 2)),
        ("channel", -1, (3, 6, 1)),
        ("channel", 1, (3, 1, 10)),
        ("tensor", -1, (1, 1, 1)),
    ],
)
def test_shapes_of_scales(block: Any, axis: int, shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal((3, 6, 10)).astype(np.float32)
    found = quantize_exactly(block_format("int8", level("float32", block)), x, axis=axis)
    assert found.scales[0].shape == shape
    assert found.codes.shape == x.shape
    size = [-(-n // m) for n, m in zip(x.shape, shape, strict=True)] if isinstance(block, str) else [1, 1, 1]
    if isinstance(block, int):
        size[axis] = block
    elif isinstance(block, tuple):
        size[1:] = block
    for index in np.ndindex(*shape):
        part = x[tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, size, strict=True))]
        assert found.scales[0].view(np.float32)[index] == np.abs(part).max() / np.float32(127)


def test_empty_arrays_and_scalars() -> None:
    format = block_format(E2M1, level("float32", "tensor"), level(E4M3, 16))
    found = quantize_exactly(format, np.zeros((3, 0)))
    assert [array.shape for array in (found.codes, *found.scales)] == [(3, 0), (1, 1), (3, 0)]
    assert found.scales[0].view(np.float32) == 1
    assert dequantize_exactly(format, found).shape == (3, 0)
    found = quantize_exactly(format, 6.0)
    assert [array.shape for array in (found.codes, *found.scales)] == [(), (), ()]
    assert dequantize_exactly(format, found) == 6


def test_what_an_array_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"axis 2 of an array of shape \(3, 4\); allowed: -2 to 1"):
        quantize_exactly(mx(E2M1), np.zeros((3, 4)), axis=2)
    with pytest.raises(ValueError, match="blocks of 2 x 2"):
        quantize_exactly(mx(E2M1, block=(2, 2)), np.zeros(4))
    with pytest.raises(UnsupportedError, match="minmax needs an offset"):
        quantize_exactly(mx(E2M1, "minmax"), np.zeros(4))


# --- random formats ----------------------------------------------------------------------------------------------


def numpy_values(format: BlockFormat, found: Quantized) -> Array:
    """What codes and scales decode to, by float32 arithmetic of numpy."""
    shape = found.codes.shape or (1,)
    arrays = list(found.scales)
    product: Any = None
    for entry in format.scales:
        stored = [arrays.pop(0) for _ in range(array_count(entry))]
        factor = spread(numpy_scales(entry, stored, found.axis), entry.block, shape, found.axis)
        product = factor if product is None else product * factor
    values = table(format.element)[found.codes.reshape(shape)]
    if format.offset is None:
        return (values * product).reshape(found.codes.shape)
    assert found.offset is not None
    if format.offset.format is not None:
        zero_points = table(format.offset.format)[found.offset]
        shifted = values - spread(zero_points, format.scales[-1].block, shape, found.axis)
        return (shifted * product).reshape(found.codes.shape)
    entry = format.offset.scales[0]
    minima = numpy_scales(entry, [*found.offset_scales, found.offset], found.axis)
    added = values * product + format.offset.sign * spread(minima, entry.block, shape, found.axis)
    return added.reshape(found.codes.shape)


def array_count(entry: ScaleLevel) -> int:
    return 1 if isinstance(entry.format, NumberFormat) else 1 + len(entry.format.scales)


def numpy_scales(entry: ScaleLevel, arrays: list[Array], axis: int) -> Array:
    if not isinstance(entry.format, NumberFormat):
        return numpy_values(entry.format, Quantized(codes=arrays[-1], scales=tuple(arrays[:-1]), axis=axis))
    if entry.combine == "multiply":
        return table(entry.format)[arrays[0]]
    signed = arrays[0].astype(np.int64) * (1 if entry.combine == "exponent_add" else -1)
    return np.exp2(signed).astype(np.float32)


class table:  # noqa: N801 -- reads as the format's own
    """float32 value by code."""

    def __init__(self, format: NumberFormat) -> None:
        self.format = format

    def __getitem__(self, codes: Array) -> Array:
        if self.format.bits == 32:
            return np.asarray(codes, np.uint32).view(np.float32)
        with np.errstate(over="ignore"):
            return np.asarray(self.format.table().astype(np.float32)[codes])


def spread(scales: Array, block: Any, shape: tuple[int, ...], axis: int) -> Array:
    """Every element's scale."""
    size = [1] * len(shape)
    if block == "tensor":
        size = [0] * len(shape)
    elif isinstance(block, tuple):
        size[-2:] = block
    else:
        size[axis] = 0 if block == "channel" else block
    places = [np.arange(n) // step if step else np.zeros(n, int) for n, step in zip(shape, size, strict=True)]
    return scales.reshape(scales.shape or (1,))[np.ix_(*places)]


@given(text=block_specs())
@settings(max_examples=300)
def test_drawn_formats_are_valid(text: str) -> None:
    assert isinstance(parse_format(text), BlockFormat)


@given(case=block_cases())
@settings(max_examples=120)
def test_numpy_decodes_alike(case: BlockCase) -> None:
    format = block_format_of(case.text)
    found = quantize_exactly(format, case.x, case.axis, case.scale)
    with np.errstate(all="ignore"):
        expected = numpy_values(format, found)
    values = dequantize_exactly(format, found)
    assert values.shape == case.x.shape
    assert np.array_equal(values, expected, equal_nan=True)
    assert np.all((np.signbit(values) == np.signbit(expected)) | np.isnan(values))


@given(case=block_cases(rules=("mse",)))
@settings(max_examples=50)
def test_no_candidate_is_better_than_the_chosen(case: BlockCase) -> None:
    format = block_format_of(case.text)
    found = quantize_exactly(format, case.x, case.axis)
    assume(format.scales[-1].rule == "mse")
    stored = found.scales[-1].reshape(found.scales[-1].shape or (1,))
    for block, errors in candidate_errors(format, case.x, case.axis).items():
        assert errors[int(stored[block])] == min(errors.values())


@given(case=block_cases())
@settings(max_examples=60)
def test_an_axis_is_like_the_last(case: BlockCase) -> None:
    format = block_format_of(case.text)
    assume(case.x.ndim > 1 and not any(entry.block == "tensor" for entry in format.scales))
    assume(not any(isinstance(entry.block, tuple) for entry in format.scales))
    found = quantize_exactly(format, case.x, 0, case.scale)
    moved = quantize_exactly(format, np.moveaxis(case.x, 0, -1), -1, case.scale)
    for ours, theirs in zip((found.codes, *found.scales), (moved.codes, *moved.scales), strict=True):
        assert np.array_equal(np.moveaxis(ours, 0, -1), theirs)


# --- other libraries ---------------------------------------------------------------------------------------------


def normal(blocks: int, size: int) -> Array:
    return (RNG.standard_normal((blocks, size)) * 10.0 ** RNG.integers(-2, 3, (blocks, 1))).astype(np.float32)


GGML: dict[str, Any] = {
    "apply": "multiply_reciprocal",
    "quotient": "unrounded",
    "all_zero": "zero",
    "underflow": "zero",
}


def ggml(name: str) -> BlockFormat:
    half = level("float16", 32)
    return {
        "Q4_0": lambda: block_format(
            "q4_offset8", level("float16", 32, rule="signed_absmax", target=-8, **GGML), rounding="nearest_up"
        ),
        "Q4_1": lambda: block_format(
            "uint4",
            level("float16", 32, rule="minmax", **GGML),
            offset=Offset(kind="minimum", scales=(half,)),
            rounding="nearest_up",
        ),
        "Q8_0": lambda: block_format("int8", level("float16", 32, target=127, **GGML), rounding="nearest_away"),
    }[name]()


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0"])
def test_gguf(name: str) -> None:
    gguf = pytest.importorskip("gguf")
    x = normal(64, 32)
    kind = gguf.GGMLQuantizationType[name]
    expected = gguf.quants.quantize(x, kind)
    found = quantize_exactly(ggml(name), x)
    fields = [found.scales[0]] + ([] if found.offset is None else [found.offset])
    assert np.array_equal(np.hstack(fields).astype(np.uint16).view(np.uint8), expected[:, : 2 * len(fields)])
    if name == "Q8_0":
        stored = found.codes.astype(np.uint8)
    else:
        stored = (found.codes[:, :16] | found.codes[:, 16:] << 4).astype(np.uint8)
    assert np.array_equal(stored, expected[:, 2 * len(fields) :])
    assert np.array_equal(dequantize_exactly(ggml(name), found), gguf.quants.dequantize(expected, kind))


def test_gguf_q4_k_decodes_alike() -> None:
    gguf = pytest.importorskip("gguf")
    blocks = 20
    halves = RNG.standard_normal((blocks, 2)).astype(np.float16).view(np.uint16)
    packed, nibbles = RNG.integers(0, 256, (blocks, 12)), RNG.integers(0, 256, (blocks, 128))
    low, high = packed[:, :4], packed[:, 4:8]
    rest = packed[:, 8:]
    sub_scales = np.hstack([low & 63, (rest & 15) | (low >> 6) << 4])
    sub_minima = np.hstack([high & 63, rest >> 4 | (high >> 6) << 4])
    quads = nibbles.reshape(blocks, 4, 32)
    found = Quantized(
        codes=np.stack([quads & 15, quads >> 4], axis=2).reshape(blocks, 256),
        scales=(halves[:, :1], sub_scales),
        offset=sub_minima,
        offset_scales=(halves[:, 1:],),
    )
    rows = np.hstack([halves.view(np.uint8), packed.astype(np.uint8), nibbles.astype(np.uint8)])
    expected = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType.Q4_K)
    assert np.array_equal(dequantize_exactly(k_quant(), found), expected)


@pytest.mark.parametrize("rule", ["floor", "ceil", "even", "rceil"])
@pytest.mark.parametrize("element", [E4M3, "float8_e5m2", E2M1])
def test_torchao(element: str, rule: str) -> None:
    torch = pytest.importorskip("torch")
    mx_tensor = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")
    config = pytest.importorskip("torchao.prototype.mx_formats.config")
    x = normal(40, 32) * (2.0 ** RNG.integers(-8, 8, (40, 32))).astype(np.float32)
    x[0] = 0
    x[1, 0] = np.nextafter(np.float32(8), np.float32(0)) * 2.0 ** np.ceil(np.log2(np.abs(x[1]).max()))
    dtype = torch.float4_e2m1fn_x2 if element == E2M1 else getattr(torch, element)
    scale, data = mx_tensor.to_mx(torch.from_numpy(x), dtype, 32, config.ScaleCalculationMode(rule))
    found = quantize_exactly(mx(element, rule, all_zero="min"), x)
    assert np.array_equal(found.scales[0], scale.view(torch.uint8).numpy())
    stored = found.codes[:, ::2] | found.codes[:, 1::2] << 4 if element == E2M1 else found.codes
    assert np.array_equal(stored, data.view(torch.uint8).numpy())
