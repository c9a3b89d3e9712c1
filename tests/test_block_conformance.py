"""Random block formats on random arrays: every backend against the exact oracle, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from block_checking import check, compare
from block_strategies import BlockCase, block_cases
from checking import COMPILED
from hypothesis import given, settings

import statqat_sim as sqs
from statqat_sim.geometry import Geometry
from statqat_sim.plan.lower import Lowering
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.spec.block import BlockFormat


@given(case=block_cases())
@settings(max_examples=120)
def test_random_block_formats(case: BlockCase) -> None:
    check("reference", case)


@pytest.mark.parametrize("backend", COMPILED)
@given(case=block_cases())
@settings(max_examples=14)  # each is compiled
def test_random_block_formats_compiled(backend: str, case: BlockCase) -> None:
    check(backend, case)


NEGATIVE_MINIMUM = """
name: negative_minimum
element: uint4
scales: [{format: float16, block: 4, rule: minmax}]
offset: {kind: minimum, sign: -1, scales: [{format: float16, block: 4}]}
"""

NAN_FOR_ZERO = """
name: nan_for_zero
element: float4_e2m1fn
scales: [{format: {element: float8_e8m0fnu, encode: {zero_input: nan}}, block: 4, rule: absmax, underflow: zero}]
"""

BEYOND_FLOAT32 = """
name: beyond_float32
element: float4_e2m1fn
scales:
  - format: {element: {kind: float, signed: false, exponent_bits: 9, mantissa_bits: 0, subnormals: none, zero: none}}
    block: 4
    rule: floor
    target: 9.5367431640625e-07
"""

TINY_PRODUCT = """
name: tiny_product
element: int4
scales:
  - {format: float32, block: tensor, rule: given}
  - {format: float32, block: 4, order: product, apply: multiply_reciprocal, quotient: unrounded}
"""

INFINITE_SCALE = """
name: infinite_scale
element: int4
scales:
  - {format: float32, block: tensor, rule: given}
  - {format: float32, block: 4, target: 0.001, nonfinite: saturate}
"""

WITHOUT_ZERO_OR_NAN = """
name: without_zero_or_nan
element: {kind: int, bits: 8, encoding: offset_binary}
scales: [{format: exponent8, block: 4, rule: given}]
"""

SHIFTED = """
name: shifted
element: float4_e2m1fn
scales:
  - {{format: {0}, block: 4, rule: floor, target: emax, all_zero: min}}
  - {{format: uint{1}, block: 2, rule: floor, target: emax, combine: exponent_subtract}}
"""

THREE_SCALES = """
name: three_scales
element: int4
scales:
  - {{format: {{element: {{kind: float, signed: false, exponent_bits: 8, mantissa_bits: 0, bias: {}, subnormals: none,
      zero: none}}}}, block: 8, rule: given}}
  - {{format: {{element: {{kind: float, signed: false, exponent_bits: 8, mantissa_bits: 0, bias: {}, subnormals: none,
      zero: none}}}}, block: 4, all_zero: min}}
  - {{format: {{element: {{kind: float, signed: false, exponent_bits: 5, mantissa_bits: 0, bias: -60, subnormals: none,
      zero: none}}}}, block: 2}}
"""

FAR_TARGET = """
name: far_target
element: float4_e2m1fn
scales:
  - {format: {element: {kind: float, signed: false, exponent_bits: 8, mantissa_bits: 0, bias: -20, subnormals: none,
      zero: none}}, block: 8, rule: floor, all_zero: min}
  - {format: float8_e8m0fnu, block: 4, rule: floor, target: 1.0e-30, all_zero: min}
"""

ZERO_POINT = """
name: zero_point
element: uint4
scales: [{format: float32, block: 4, rule: minmax}]
offset: {kind: zero_point, format: uint4}
"""

OWN_POLICY = """
name: own_policy
element: int4
scales:
  - format: {element: float8_e4m3fn, encode: {rounding: toward_positive, random_bits: 3, overflow: nan, inf_input: nan,
      nan_input: 5, underflow: min, flush_inputs: true, via: bfloat16}}
    block: 4
    underflow: zero
  - format: {element: uint8, encode: {overflow: wrap, negative_input: abs}}
    block: 2
"""

PLAIN_POLICY = """
name: plain_policy
element: int4
scales:
  - {format: float8_e4m3fn, block: 4, underflow: zero}
  - {format: uint8, block: 2}
"""

WIDE_SPAN = """
name: wide_span
element: {kind: int, bits: 27, min: -1, max: 33554434}
scales: [{format: float32, block: 4, rule: minmax}]
offset: {kind: minimum, scales: [{format: float32, block: 4}]}
"""

BEYOND_FLOAT32_ELEMENT = """
name: beyond_float32_element
element: {kind: float, exponent_bits: 8, mantissa_bits: 3}
scales: [{format: ue4m3, block: 2, target: 4.0, all_zero: zero}]
"""

ONE_LEVEL = """
name: one_level
element: {kind: codebook, bits: 1, values: [3.0]}
scales: [{format: {element: int4, scales: [{format: float32, block: 2}]}, block: 2, rule: minmax}]
offset: {kind: minimum, scales: [{format: float32, block: 2}]}
"""

NAN_QUOTIENT = """
name: nan_quotient
element: int4
scales:
  - {{format: uint4, block: tensor, underflow: zero}}
  - {{format: {}}}
"""

TAKUM_SCALE = """
name: takum_scale
element: int4
scales: [{{format: {}, block: 2, all_zero: min}}]
"""

ROUNDED_CLAMP = """
name: rounded_clamp
element: int4
scales:
  - {format: takum_log8, block: 1, clamp: [4.4816890703380645, 1808.0424144560632], rounding: toward_negative}
"""

NAN_SCALE_OF_SCALES = """
name: nan_scale_of_scales
element: int4
scales: [{block: 1, target: 0.5, format: {element: q4_offset8, scales: [{block: 2, format: float16}]}}]
"""

UNROUNDED_ZERO_POINT = """
name: unrounded_zero_point
element: {0}
scales: [{{format: {1}, block: 4, rule: minmax, underflow: zero, quotient: unrounded}}]
offset: {{kind: zero_point, format: {2}}}
"""

ROUNDED_ZERO_POINT = """
name: rounded_zero_point
element: {0}
scales: [{{format: {1}, block: 12, rule: minmax, nonfinite: saturate, all_zero: zero, underflow: zero,
  {2}}}]
offset: {{kind: zero_point, format: int8, added: after_rounding}}
"""
FOUR_BLOCKS = [
    *(-1, 14, 0.5, 1.5, 2.5, 3.5, 4.5, -0.5, 7.5, np.nan, np.inf, -np.inf),  # halves, of scale 1 in 4 bits
    *([0, 2**24 - 1, 2**23 + 1, 2**23 + 3] * 3),
    *([-1e30, 1e30, 3e29, 0.0] * 3),
    *([-0.0, 0.01, -0.02, 1e-45] * 3),
]
"""Of 12 elements each."""

COARSE = "{element: {kind: codebook, bits: 2, values: [0.0, 1.0, 2.0]}}"
SIGNED_ZERO = "{element: {kind: int, bits: 8, encoding: sign_magnitude}}"

UNROUNDED_MINIMUM = """
name: unrounded_minimum
element: float4_e2m1fn
scales: [{format: float32, block: 2, rule: minmax, quotient: unrounded}]
offset: {kind: minimum, scales: [{format: float32, block: 2}]}
"""


@pytest.mark.parametrize("backend", ["reference", *COMPILED])
@pytest.mark.parametrize(
    ("text", "x", "scale"),
    [
        pytest.param(NEGATIVE_MINIMUM, [5, 4, 6, 7], None, id="a stored minimum is never -0"),
        pytest.param(NEGATIVE_MINIMUM, [-0.0, 4, 6, 7], None, id="not even that of -0"),
        pytest.param(
            NEGATIVE_MINIMUM, [5, 5, 5, 5], None, id="equal elements differ from the zero of a stored minimum"
        ),
        pytest.param(NEGATIVE_MINIMUM, [-5, -5, -5, -5], None, id="but not below it"),
        pytest.param(ZERO_POINT, [5, 5, 5, 5], None, id="and from that of a zero-point"),
        pytest.param(ZERO_POINT, [-5, -5, -5, -5], None, id="on either side"),
        pytest.param(OWN_POLICY, [3e38, -1, 1e-40, 2.7], None, id="a scale's policy is its level's"),
        pytest.param(NAN_FOR_ZERO, [1, 2, 3, 0], 0.0, id="a scale of 0 is no NaN"),
        pytest.param(NAN_FOR_ZERO, [1e-45, 0, 0, 0], None, id="nor a quotient that is 0"),
        pytest.param(BEYOND_FLOAT32, [2.0**127, 1, 0, 0], None, id="powers of two are those of float32"),
        pytest.param(TINY_PRODUCT, [1e-45, 0, -1e-45, 0], 2.0**-100, id="reciprocals of scales whose product is 0"),
        pytest.param(INFINITE_SCALE, [3e38, np.inf, -np.inf, np.nan], 1e20, id="Inf divided by Inf is NaN"),
        pytest.param(WITHOUT_ZERO_OR_NAN, [np.inf, np.nan, -3e38, -0.0], 3.4e38, id="a power of two beyond float32's"),
        pytest.param(WITHOUT_ZERO_OR_NAN, [np.inf, np.nan, 1e-45, -0.0], 1e-45, id="the smallest power of two"),
        pytest.param(SHIFTED.format("exponent8", 3), [1e-38, 0, 1e-45, -0.0], None, id="a small product"),
        pytest.param(SHIFTED.format("exponent8", 6), [1e-38, 0, 1e-45, -0.0], None, id="a product of 0"),
        pytest.param(SHIFTED.format("float8_e8m0fnu", 3), [1, -1, np.nan, -0.0], None, id="a product of NaN"),
        pytest.param(THREE_SCALES.format(80, 80), [0] * 4 + [1] * 4, 2.0**-80, id="the first two have a product of 0"),
        pytest.param(THREE_SCALES.format(-60, 200), [0] * 4 + [1] * 4, 2.0**60, id="the second one is 0"),
        pytest.param(FAR_TARGET, [1e-43, 0, 0, 0, 1e-30, 0, 0, 0], None, id="a quotient of 0 has the least power"),
        pytest.param(WIDE_SPAN, [0, 1, 2, 3e7], None, id="ends of wide integers are float32"),
        pytest.param(BEYOND_FLOAT32_ELEMENT, [0, 0], None, id="under a scale of 0 no largest element is Inf"),
        pytest.param(BEYOND_FLOAT32_ELEMENT, [0, 1], 0.0, id="nor under one of the caller"),
        pytest.param(ONE_LEVEL, [1, 1, 1, 1], None, id="a range of 0 over a range of 0"),
        pytest.param(NAN_QUOTIENT.format("float32, block: 2"), [1e-45, 0], None, id="a quotient of zeros is NaN"),
        pytest.param(NAN_QUOTIENT.format("uint4, block: 2"), [1e-45, 0], None, id="or the largest scale"),
        pytest.param(NAN_QUOTIENT.format("float32, block: 2, clamp: [1, 4]"), [1e-45, 0], None, id="or the upper end"),
        pytest.param(TAKUM_SCALE.format("takum8"), [1e-45, 0, 0, 0], None, id="a scale below float32"),
        pytest.param(TAKUM_SCALE.format("lns16"), [1e-45, 0, 0, 0], None, id="a logarithmic scale below float32"),
        pytest.param(ROUNDED_CLAMP, [1e-3, 1e8], None, id="ends of a clamp are float32"),
        pytest.param(NAN_SCALE_OF_SCALES, [3e38, 1], None, id="under a NaN scale of scales their codes are 0"),
        pytest.param(
            UNROUNDED_ZERO_POINT.format("int4", COARSE, "uint4"), [0.1, -0.2, 0.3, 0], None, id="a zero-point over 0"
        ),
        pytest.param(
            UNROUNDED_ZERO_POINT.format("takum8", "float32", "uint8"), [1, -1, 1, 0], None, id="a zero-point below all"
        ),
        pytest.param(
            UNROUNDED_ZERO_POINT.format("uint4", "float32", SIGNED_ZERO), [1, 0, 1, -0.0], None, id="a zero-point of 0"
        ),
        pytest.param(
            UNROUNDED_ZERO_POINT.format("int4", "float32", SIGNED_ZERO), [1, -1.05, 0, 0], None, id="or of -0"
        ),
        *(
            pytest.param(
                ROUNDED_ZERO_POINT.format(element, format, how),
                FOUR_BLOCKS,
                None,
                id=f"added to {element}, {format}, {how}",
            )
            for element in ("uint4", "int4", "{kind: int, bits: 24, encoding: unsigned}")
            for format in ("float32", COARSE)
            for how in ("quotient: unrounded", "apply: multiply_reciprocal")
        ),
        pytest.param(UNROUNDED_MINIMUM, [-0.0, 1, 0.0, 1, -0.0, 0.0], None, id="a minimum of -0 is subtracted"),
    ],
)
def test_corners_of_blocks(backend: str, text: str, x: list[float], scale: float | None) -> None:
    check(backend, BlockCase(text, np.array(x, np.float32), -1, scale))


@pytest.mark.parametrize(
    ("text", "x", "scale"),
    [
        (NEGATIVE_MINIMUM, 5, 5 / 15),
        (NEGATIVE_MINIMUM, -5, 1),
        (NEGATIVE_MINIMUM.replace("sign: -1, ", ""), 5, 1),
        (ZERO_POINT, 5, 5 / 15),
        (ZERO_POINT, -5, 5 / 15),
        (ZERO_POINT, 0, 1),
    ],
)
def test_equal_elements_have_the_scale_of_zeros_only_if_the_range_is_empty(text: str, x: float, scale: float) -> None:
    format = sqs.parse_format(text)
    (found,) = sqs.Codec(format).quantize(np.full(4, x, np.float32)).scale_values()
    assert found.item() == pytest.approx(scale, rel=1e-3)


def test_of_a_scale_s_own_policy_tie_domain_alone_counts() -> None:
    """Definition 22, against the same levels whose formats have no policy of their own."""
    x = np.random.default_rng(0).standard_normal((64, 4)) * np.geomspace(1e-9, 1e9, 64)[:, None]
    x[0], x[1, 0], x[2, 0] = 0, np.inf, np.nan
    found, plain = (sqs.Codec(sqs.parse_format(text)).quantize(np.float32(x)) for text in (OWN_POLICY, PLAIN_POLICY))
    for own, without in zip((*found.scales, found.codes), (*plain.scales, plain.codes), strict=True):
        np.testing.assert_array_equal(own, without)


@given(case=block_cases())
@settings(max_examples=100)
def test_integer_lowering_of_random_block_formats(case: BlockCase) -> None:
    format = sqs.parse_format(case.text)
    assert isinstance(format, BlockFormat)
    if case.scale is not None:
        return
    plan, geometry = lower_block(format, Lowering.INTEGER), Geometry.of(case.x.shape, case.axis, format)
    kernel = ReferenceBlockKernel(plan)
    codes, stored = kernel.quantize(case.x, geometry)
    scales, offsets = stored[: len(plan.scales)], stored[len(plan.scales) :]
    values = kernel.dequantize(codes, stored, geometry)
    compare(format, case, codes, scales, offsets, values, kernel.fake_quantize(case.x, geometry))


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("shape", "axis"), [((33,), -1), ((40, 50), -1), ((3, 7, 30), 1)])
def test_the_scale_of_a_whole_array_is_chosen_for_all_of_it(backend: str, shape: tuple[int, ...], axis: int) -> None:
    """Tiles see a part of the errors each."""
    format = sqs.parse_format(
        "name: whole\nelement: {kind: int, bits: 3}\nscales: [{format: ue4m3, block: tensor, rule: mse}]\n"
    )
    random = np.random.default_rng(1)
    x = (3 * random.standard_normal(shape)).astype(np.float32)
    weights = random.random(shape[axis])
    wanted = sqs.Codec(format, "reference").quantize(x, axis=axis, weights=weights)
    found = sqs.Codec(format, backend).quantize(x, axis=axis, weights=weights)
    np.testing.assert_array_equal(found.scales[0], wanted.scales[0])
    np.testing.assert_array_equal(found.codes, wanted.codes)
