"""MinMax: the smallest float32 scale that leaves nothing outside the range, in exact arithmetic."""

from __future__ import annotations

import copy
import math
import pickle
import re
from dataclasses import FrozenInstanceError
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from statqat_sim import Codec, Histogram, MinMax, NumberFormat, Scale, formats, load_format, parse_format
from statqat_sim.errors import UnsupportedError
from statqat_sim.quantizer import BASELINES, QUANTIZERS, quantizer_named

LARGEST = float(np.finfo(np.float32).max)
TINIEST = float(np.finfo(np.float32).smallest_subnormal)


def codebook(*values: float) -> NumberFormat:
    listed = ", ".join(f"{value:.25e}" if value else "0.0" for value in values)
    return parse_format(f"name: levels\nelement: {{kind: codebook, bits: 4, values: [{listed}]}}")


def needed(extreme: Fraction, limit: float) -> float:
    """The smallest float32 s with s * limit >= extreme, by bisection over float32's bit patterns."""
    low, high = 0, int(np.float32(LARGEST).view(np.uint32))
    while low < high:
        middle = (low + high) // 2
        if Fraction(float(np.uint32(middle).view(np.float32))) * Fraction(limit) >= extreme:
            high = middle
        else:
            low = middle + 1
    return float(np.uint32(low).view(np.float32))


def held_ends(fmt: NumberFormat) -> tuple[float, float]:
    """The least and the greatest value that float32 holds."""
    if fmt.bits > 16:
        return fmt.min, fmt.max
    held = [value for value in fmt.grid().tolist() if abs(value) <= LARGEST]
    return min(held), max(held)


def brute_force(values: Any, fmt: NumberFormat) -> float:
    finite = [Fraction(float(value)) for value in np.ravel(values) if math.isfinite(value)]
    least, greatest = held_ends(fmt)
    scales = [needed(max(finite, default=Fraction(0)), greatest)] if greatest > 0 else []
    scales += [needed(-min(finite, default=Fraction(0)), -least)] if least < 0 else []
    return max(scales, default=0.0) or 1.0


NAMES = ("int8", "int4_narrow", "uint4", "float8_e4m3fn", "float8_e8m0fnu", "nf4", "float16", "bfloat16", "q0_7")
FORMATS = [load_format(name) for name in NAMES] + [
    parse_format("name: wide\nelement: {kind: int, bits: 32}"),
    codebook(-1 / 3, 0.1, 2 / 3),  # limits of 53 bits
    codebook(-math.pi, -1.0),
    codebook(1e-300, 1.0000000000000002),
    codebook(-1e300, 0.0, 2.0, 1e300),
    codebook(0.0, 1e-300),
]


@given(st.lists(st.floats(width=32), max_size=5), st.sampled_from(FORMATS))
@example([TINIEST], FORMATS[0])
@example([-TINIEST], FORMATS[0])
@example([LARGEST, -LARGEST], load_format("nf4"))
@example([LARGEST], load_format("q0_7"))
@example([448.0], load_format("float8_e4m3fn"))
@example([math.nan, math.inf, 3.0], FORMATS[0])
def test_the_smallest_scale_that_leaves_nothing_outside(values: list[float], fmt: NumberFormat) -> None:
    x = np.array(values, np.float32)
    value = MinMax().fit(x, fmt).value
    assert value.shape == (1,)
    assert float(value[0]) == brute_force(x, fmt)
    assert math.isfinite(value[0])
    assert value[0] > 0


@given(st.integers(0, 0x7F7FFFFF), st.sampled_from(FORMATS))
def test_products_that_are_exact_or_nearly(bits: int, fmt: NumberFormat) -> None:
    """x = scale * limit rounded to float32, and its neighbours: where a rounded quotient is a step off."""
    limit = fmt.max if fmt.max > 0 else fmt.min
    with np.errstate(over="ignore", under="ignore"):
        product = (np.uint32(bits).view(np.float32).astype(np.float64) * limit).astype(np.float32)
        for x in (product, np.nextafter(product, np.float32(0)), np.nextafter(product, np.float32(np.inf))):
            assert float(MinMax().fit(x, fmt).value) == brute_force(x, fmt)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(FORMATS))
def test_float64_data(value: float, fmt: NumberFormat) -> None:
    assert float(MinMax().fit(np.float64(value), fmt).value) == brute_force(np.float64(value), fmt)


@pytest.mark.parametrize("name", formats(kind="number"))
def test_no_format_clips_its_data(name: str) -> None:
    fmt = load_format(name)
    x = np.random.default_rng(2).standard_normal(257).astype(np.float32)
    x = x if fmt.min < 0 else abs(x)
    scale = Fraction(float(MinMax().fit(x, fmt).value[0]))
    assert Fraction(float(x.max())) <= scale * Fraction(fmt.max)
    assert fmt.min >= 0 or Fraction(float(x.min())) >= scale * Fraction(fmt.min)


@pytest.mark.parametrize(
    "x", [np.zeros((0, 3)), np.zeros((2, 2)), np.full(3, np.nan), np.array([np.inf, -np.inf, 0.0])]
)
@pytest.mark.parametrize("axis", [None, 0])
def test_degenerate_data_gives_one(x: Any, axis: int | None) -> None:
    value = MinMax().fit(x.astype(np.float32), load_format("int8"), channel_axis=axis).value
    assert value.dtype == np.float32
    assert (value == 1).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", sorted({*QUANTIZERS, *BASELINES} - {"none"}))
def test_what_is_not_finite_has_no_say(name: str, dtype: Any) -> None:
    x, fmt = np.random.default_rng(5).normal(size=300).astype(dtype), load_format("int8")
    quantizer = quantizer_named(name)
    wanted = quantizer.fit(x, fmt).value
    for value in np.inf, -np.inf, np.nan:
        np.testing.assert_array_equal(quantizer.fit(np.append(x, dtype(value)), fmt).value, wanted)


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "longdouble"])
@pytest.mark.parametrize("name", ["aciq", "octav", "sawb"])
def test_finite_numbers_beyond_float32_count_as_its_largest(name: str, dtype: str) -> None:
    beyond, largest = (
        quantizer_named(name).fit(np.array([1.0, end], dtype), load_format("int8")).value for end in (1e39, LARGEST)
    )
    np.testing.assert_array_equal(beyond, largest)


def test_unsigned_formats_ignore_what_they_clamp() -> None:
    x = np.array([-8.0, 3.0], np.float32)
    assert MinMax().fit(x, load_format("uint2")).value == 1.0
    assert MinMax().fit(np.float32([-8.0]), load_format("uint2")).value == 1.0
    reflected = parse_format(
        "name: f\nelement: {kind: int, bits: 2, encoding: unsigned}\nencode: {negative_input: abs}"
    )
    assert MinMax().fit(x, reflected).value == np.float32(needed(Fraction(8), 3.0))


def test_the_larger_side_decides() -> None:
    fmt = load_format("int4")  # -8 to 7
    assert MinMax().fit(np.float32([-8, 7]), fmt).value == 1
    assert MinMax().fit(np.float32([-16, 7]), fmt).value == 2
    assert MinMax().fit(np.float32([-8, 14]), fmt).value == 2


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_a_scale_for_each_channel(axis: int) -> None:
    x = np.random.default_rng(3).standard_normal((3, 4, 5)).astype(np.float32)
    x[1, 2, 3] = np.inf
    fmt = load_format("float8_e5m2")
    scale = np.asarray(MinMax().fit(x, fmt, channel_axis=axis))
    assert scale.shape == tuple(size if index == axis % 3 else 1 for index, size in enumerate(x.shape))
    for index in range(x.shape[axis]):
        part = np.take(x, index, axis)
        assert float(scale.ravel()[index]) == brute_force(part, fmt)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 2), ((2, 3), -3), ((), 0)])
def test_no_such_axis(shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(ValueError, match=f"channel_axis is {axis}, of an array with {len(shape)} axes; allowed: "):
        MinMax().fit(np.zeros(shape, np.float32), load_format("int8"), channel_axis=axis)


@pytest.mark.parametrize("axis", [(0, 1), [0], 1.0, "0", True])
def test_an_axis_is_an_integer(axis: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"channel_axis is {axis!r}; allowed: one axis, as an integer")):
        MinMax().fit(np.ones((2, 3), np.float32), load_format("int8"), channel_axis=axis)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("percentile", {"percentile": "a"}, "percentile is 'a'; allowed: above 0 and below 100"),
        ("iterative", {"norm": "a"}, "norm is 'a'; allowed: finite numbers above zero"),
        ("search", {"candidates": "a"}, "candidates is 'a'; allowed: whole numbers, at least 1"),
    ],
)
def test_options_are_numbers(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QUANTIZERS[name](**options)


@pytest.mark.parametrize("name", ["minmax", "percentile", "analytic", "iterative", "search"])
def test_what_is_no_scale_format_or_histogram_is_refused(name: str) -> None:
    with pytest.raises(LookupError, match="no format is named 'float8_e4m3f'; did you mean 'float8_e4m3fn'"):
        QUANTIZERS[name](scale_format="float8_e4m3f")  # type: ignore[call-arg]
    for wrong, kind in ((3, "int"), ("mxfp4", "BlockFormat")):
        with pytest.raises(
            TypeError, match=f"scale_format is of type {kind}; allowed: a NumberFormat, or the name of one"
        ):
            QUANTIZERS[name](scale_format=wrong)  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match=r"histogram is of type ndarray; allowed: a Histogram, as Histogram\.of\(x\) gives it"
    ):
        QUANTIZERS[name]().choose(np.ones(3), load_format("int4"))  # type: ignore[arg-type]


def test_tensors_and_other_dtypes() -> None:
    fmt, expected = load_format("int8"), np.float32(needed(Fraction(3), 127.0))
    weight = torch.tensor([[1.0, 3.0]], requires_grad=True)
    for x in (weight, weight.bfloat16(), np.float16([[1, 3]]), np.int32([[1, 3]]), [[1, 3]]):
        assert MinMax().fit(x, fmt).value == expected
    with pytest.raises(TypeError, match="x is complex64; allowed"):
        MinMax().fit(np.ones(2, np.complex64), fmt)


def test_a_scale_is_a_frozen_array() -> None:
    scale = Scale(np.array([[0.1], [0.2]]))
    assert scale.zero_point is None
    assert np.asarray(scale) is scale.value
    assert scale.value.dtype == np.float32
    assert np.asarray(scale, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="values are float32, and float64 needs a copy; allowed: copy=None, copy=True"):
        scale.__array__(np.dtype(np.float64), copy=False)
    assert scale.__array__(copy=False) is scale.value
    copied = scale.__array__(copy=True)
    copied[...] = 7
    assert (scale.value != 7).all()
    with pytest.raises(ValueError, match="read-only"):
        scale.value[0] = 1
    with pytest.raises(FrozenInstanceError):
        scale.value = scale.value
    copied = np.array(scale)
    copied[0] = 7
    assert scale.value[0] == np.float32(0.1)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda scale: pickle.loads(pickle.dumps(scale))])
def test_a_copied_scale_is_as_frozen(again: Any) -> None:
    for scale in (Scale(np.array([[0.1], [0.2]])), Scale(np.array([0.1, 0.2]), np.array([3, -1]))):
        copied = again(scale)
        assert copied == scale
        for array in (copied.value, copied.zero_point):
            assert array is None or not array.flags.writeable


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf, 1e-50, 1e39])
def test_a_scale_is_finite_and_above_zero(wrong: float) -> None:
    with pytest.raises(ValueError, match="a scale is .*; allowed: finite float32 numbers above zero"):
        Scale(np.array([1.0, wrong]))


def test_a_codec_takes_the_scale() -> None:
    x = np.random.default_rng(4).standard_normal((6, 300)).astype(np.float32)
    fmt = load_format("int4")
    scale = MinMax().fit(x, fmt, channel_axis=0)
    assert np.array_equal(Codec(fmt).fake_quantize(x, scale=scale), Codec(fmt).fake_quantize(x, scale=scale.value))


def test_quantizers_by_name() -> None:
    guarded = {"minmax", "percentile", "analytic", "iterative", "search"}
    assert set(QUANTIZERS) == guarded | BASELINES
    assert not guarded & BASELINES
    assert quantizer_named("minmax") == MinMax()
    with pytest.raises(
        LookupError, match=r"no quantizer is named 'minmx'; did you mean 'minmax'\? \(allowed: minmax, "
    ):
        quantizer_named("minmx")


# --- formats that go beyond float32 ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [QUANTIZERS[name] for name in sorted(QUANTIZERS.keys() - BASELINES)])
@pytest.mark.parametrize("name", ["exponent8", "takum8", "lns16"])
def test_no_element_is_decoded_to_inf(make: Any, name: str) -> None:
    """Their largest values, 2^128 and more, are none of float32."""
    fmt, x = load_format(name), np.float32([1.0, 2.0, 3.0])
    assert fmt.max > LARGEST
    y = Codec(fmt).fake_quantize(x, scale=make().fit(x, fmt))
    assert np.isfinite(y).all()


def test_formats_of_which_float32_holds_nothing_have_no_scale() -> None:
    for quantizer in (MinMax(), quantizer_named("iterative")):
        with pytest.raises(UnsupportedError, match="levels has no value that float32 holds; allowed: "):
            quantizer.fit([1.0, 2.0], codebook(-1e300, 0.0, 1e300))


def test_scales_are_equal_by_value() -> None:
    scale = Scale(np.array([0.5, 2]), np.array([1, 2]))
    assert scale == Scale(np.array([0.5, 2]), np.array([1, 2]))
    assert len({scale, Scale(np.array([0.5, 2]), np.array([1, 2]))}) == 1
    others = (Scale(np.array([0.5, 2])), Scale(np.array([0.5, 2]), np.array([1, 3])), Scale(np.array([[0.5, 2]])), 0.5)
    assert not [other for other in others if scale == other]
    assert Scale(1) != Scale(1, 0)


@pytest.mark.parametrize("base", ["int4", "float8_e4m3fn"])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_callers_seterr_does_not_matter(name: str, base: str) -> None:
    x = np.random.default_rng(5).standard_normal((4, 300)).astype(np.float32)
    fmt = parse_format(f"{{name: {base}_of_{name}, extends: {base}, encode: {{underflow: min}}}}")  # not cached
    with np.errstate(all="raise"):
        for axis in (None, 0):
            found = quantizer_named(name).fit(x, fmt, channel_axis=axis)
            chosen = quantizer_named(name).choose(Histogram.of(x, channel_axis=axis), fmt)
            assert found.value.size == chosen.value.size
