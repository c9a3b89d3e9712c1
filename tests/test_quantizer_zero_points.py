"""Scales with zero-points: MinMax in exact arithmetic, the others against brute force over all zero-points."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from affine_brute_force import AffineExact, affine_sources
from brute_force import sources
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from statqat_sim import Codec, MinMax, Scale, load_format, measure, parse_format
from statqat_sim.errors import UnsupportedError
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer import Analytic, Iterative, Percentile, Search, Stream
from statqat_sim.quantizer.base import StateQuantizer
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat

NAMES = ("int3", "int4", "uint4", "int8", "uint8")
CHOOSERS: list[StateQuantizer] = [
    Percentile(zero_point=True),
    Percentile(90.0, zero_point=True),
    Analytic(zero_point=True),
    Analytic("normal", zero_point=True),
    Iterative(zero_point=True),
    Search(zero_point=True, candidates=50),
    Iterative(zero_point=True, scale_format="float8_e8m0fnu"),
    Search(zero_point=True, scale_format="float8_e4m3fn"),
    Iterative(zero_point=True, norm=1.5),
]
LARGEST = float(np.finfo(np.float32).max)
TINIEST = float(np.finfo(np.float32).smallest_subnormal)


def integers(format: NumberFormat) -> tuple[int, int]:
    """From the least to the greatest."""
    assert isinstance(format.element, IntElement)
    return format.element.range


def data(count: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    return {**sources(count, seed), **affine_sources(count, seed)}


def pair(scale: Scale) -> tuple[float, int]:
    assert scale.zero_point is not None
    return float(scale.value.item()), int(scale.zero_point.item())


codec_of = cache(Codec)
"""Which keeps what it made for each zero-point."""


def error(x: NDArray[Any], format: NumberFormat, scale: Scale, norm: float = 2.0, weights: Any = 1.0) -> float:
    """Of what the codec makes of the finite elements."""
    finite = np.isfinite(x)
    with np.errstate(all="ignore"):
        y = codec_of(format).fake_quantize(np.where(finite, x, np.float32(0)), scale=scale)
        return float(np.sum(weights * np.abs(x.astype(np.float64) - y) ** norm, where=finite))


def gap_db(error: float, least: float) -> float:
    return 10 * math.log10(error / least)


# --- MinMax ------------------------------------------------------------------------------------------------------


def needed(extreme: Fraction, steps: int) -> float:
    """The smallest float32 s with s * steps >= extreme, by bisection over float32's bit patterns."""
    if extreme <= 0:
        return 0.0
    low, high = 0, int(np.float32(LARGEST).view(np.uint32)) if steps else 0
    while low < high:
        middle = (low + high) // 2
        if Fraction(float(np.uint32(middle).view(np.float32))) * steps >= extreme:
            high = middle
        else:
            low = middle + 1
    return float(np.uint32(low).view(np.float32)) if steps else math.inf


def least_pair(x: Any, format: NumberFormat) -> tuple[float, int]:
    """The rule, with fractions: the smallest scale with which a zero-point serves, and the middle one of these."""
    finite = [Fraction(float(value)) for value in np.ravel(x) if math.isfinite(value)]
    low, high = min([*finite, Fraction(0)]), max([*finite, Fraction(0)])
    first, last = integers(format)
    if low == high == 0:
        return 1.0, 0
    scale = min(max(needed(high, last - z), needed(-low, z - first)) for z in range(first, last + 1))
    exact = Fraction(scale)
    serving = [z for z in range(first, last + 1) if exact * (first - z) <= low and exact * (last - z) >= high]
    total = serving[0] + serving[-1]
    return scale, total // 2 + (total % 2) * (total // 2 % 2)


MINMAX_FORMATS = [load_format(name) for name in ("int2", "uint2", "int4_narrow", *NAMES)] + [
    parse_format("name: lopsided\nelement: {kind: int, bits: 6, min: -3, max: 30}"),
    parse_format("name: signs\nelement: {kind: int, bits: 4, encoding: sign_magnitude}"),
    parse_format("name: offset\nelement: {kind: int, bits: 5, encoding: offset_binary, offset: 3}"),
]


@given(st.lists(st.floats(width=32), max_size=4), st.sampled_from(MINMAX_FORMATS))
@example([TINIEST, -TINIEST], MINMAX_FORMATS[0])
@example([LARGEST, -LARGEST], MINMAX_FORMATS[0])
@example([-TINIEST, 1.0], MINMAX_FORMATS[-1])
@example([1e-30, -1.0], MINMAX_FORMATS[-2])
def test_minmax_is_the_smallest_scale_with_which_a_zero_point_serves(values: list[float], fmt: NumberFormat) -> None:
    x = np.array(values, np.float32)
    assert pair(MinMax(zero_point=True).fit(x, fmt)) == least_pair(x, fmt)


@given(
    st.integers(-128, 127), st.integers(1, 254), st.floats(2.0**-100, 2.0**100, width=32), st.sampled_from([-1, 0, 1])
)
def test_extremes_that_lie_on_integers_or_next_to_them(first: int, steps: int, scale: float, nudge: int) -> None:
    fmt, ends = load_format("int8"), (np.array([first, first + steps]) * np.float32(scale)).astype(np.float32)
    x = np.nextafter(ends, np.float32(np.inf * nudge)) if nudge else ends
    assert pair(MinMax(zero_point=True).fit(x, fmt)) == least_pair(x, fmt)


@pytest.mark.parametrize(("name", "point"), [("int8", 0), ("uint8", 128), ("uint4", 8), ("int3_narrow", 0)])
def test_of_symmetric_data_the_middle_stands_for_zero(name: str, point: int) -> None:
    scale = MinMax(zero_point=True).fit(np.float32([-2.5, 2.5]), load_format(name))
    assert pair(scale)[1] == point


def test_minmax_of_scales_that_a_format_holds() -> None:
    """Where the scale is too large for the data, the zero-point leaves as much room on either side."""
    scale = MinMax(scale_format="float8_e8m0fnu", zero_point=True).fit(np.float32([-1, 2]), load_format("uint8"))
    assert pair(scale) == (
        2.0**-6,
        96,
    )  # 0.015625 · (0 - z) <= -1 from z = 64 on, and up to z = 127 the other end holds 2


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_pair_for_each_channel(axis: int) -> None:
    x, fmt = np.random.default_rng(0).normal(0.5, 1, (5, 4, 3)).astype(np.float32), load_format("uint4")
    x[0, 0, 0] = np.nan
    for quantizer in (MinMax(zero_point=True), Iterative(zero_point=True)):
        scale = quantizer.fit(x, fmt, channel_axis=axis)
        assert scale.zero_point is not None
        assert scale.value.shape == scale.zero_point.shape == tuple(np.where(np.arange(3) == axis % 3, x.shape, 1))
        for index in range(x.shape[axis]):
            alone = quantizer.fit(np.take(x, index, axis), fmt)
            assert (scale.value.ravel()[index], scale.zero_point.ravel()[index]) == pair(alone)


# --- the least error ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_within_a_hundredth_of_a_decibel_of_brute_force(name: str) -> None:
    fmt = load_format(name)
    for source, x in data(2000).items():
        exact, (scale, point) = AffineExact(x, *integers(fmt)), pair(Iterative(zero_point=True).fit(x, fmt))
        found = exact.errors(np.array([scale]))[0, point - integers(fmt)[0]]
        assert gap_db(found, exact.least()) <= 0.01, source


@pytest.mark.parametrize("name", ["int4", "uint8"])
def test_from_a_histogram_alone(name: str) -> None:
    fmt = load_format(name)
    for source, x in data(50_000, seed=1).items():
        exact, (scale, point) = (
            AffineExact(x, *integers(fmt)),
            pair(Iterative(zero_point=True).choose(Histogram.of(x), fmt)),
        )
        found, with_data = exact.errors(np.array([scale]))[0, point - integers(fmt)[0]], Iterative(zero_point=True)
        assert gap_db(found, error(x, fmt, with_data.fit(x, fmt))) <= 0.1, source


ROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "nearest_away": lambda v: np.copysign(np.floor(np.abs(v) + 0.5), v),
    "toward_zero": np.trunc,
    "toward_positive": np.ceil,
    "toward_negative": np.floor,
    "to_odd": lambda v: np.where(v == np.rint(v), v, 2 * np.floor(v / 2) + 1),
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_other_roundings(rounding: str) -> None:
    fmt = parse_format(f"name: other\nelement: {{kind: int, bits: 3}}\nencode: {{rounding: {rounding}}}")
    points = np.arange(-4, 4)[:, None]
    for source, x in affine_sources(300).items():
        wide, widest = x.astype(np.float64), pair(MinMax(zero_point=True).fit(x, fmt))[0]
        scales = np.geomspace(widest / 8, widest * 1.5, 400)[:, None, None]
        y = scales * np.clip(ROUNDINGS[rounding](wide / scales), -4 - points, 3 - points)
        least = np.square(wide - y).sum(-1).min()
        assert error(x, fmt, Iterative(zero_point=True).fit(x, fmt)) <= least * 1.001, source


@pytest.mark.parametrize("name", ["int3", "uint8"])
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_weights_and_norms(name: str, norm: float, is_weighted: bool) -> None:
    fmt, random = load_format(name), np.random.default_rng(3)
    low, high = integers(fmt)
    for source in ("shifted", "below"):
        x = affine_sources(400)[source]
        weights = np.where(random.random(400) < 0.1, 20.0, random.random(400)) if is_weighted else np.ones(400)
        scale = Iterative(weights=weights if is_weighted else None, norm=norm, zero_point=True).fit(x, fmt)
        widest = float(MinMax(zero_point=True).fit(x, fmt).value.item())
        points = np.unique(np.clip(pair(scale)[1] + np.arange(-6, 7), low, high))
        s = np.geomspace(widest / 4, widest * 1.2, 300)[:, None, None]
        wide, z = x.astype(np.float64), points[:, None]
        y = s * np.clip(np.rint(wide / s), low - z, high - z)
        least = (weights * np.abs(wide - y) ** norm).sum(-1).min()
        assert error(x, fmt, scale, norm, weights) <= least * 1.002, source


def test_search_tries_all_zero_points_with_all_scales_of_a_format() -> None:
    fmt, held = load_format("int4"), load_format("float8_e4m3fn").grid()
    for source, x in data(500).items():
        exact = AffineExact(x, *integers(fmt))
        scale, point = pair(Search(scale_format="float8_e4m3fn", zero_point=True).fit(x, fmt))
        assert scale in held
        least = exact.errors(held[held > 0]).min()
        assert exact.errors(np.array([scale]))[0, point + 8] == pytest.approx(least, rel=1e-5), source


# --- the promise -------------------------------------------------------------------------------------------------


def check(x: NDArray[np.float32], format: NumberFormat, quantizer: StateQuantizer) -> None:
    scale = quantizer.fit(x, format)
    limit = MinMax(scale_format=getattr(quantizer, "scale_format", None), zero_point=True).fit(x, format)
    norm = getattr(quantizer, "norm", 2.0)
    ours, theirs = (error(x, format, each, norm) for each in (scale, limit))
    assert ours <= theirs or not math.isfinite(theirs)


@pytest.mark.parametrize("name", ["int3", "uint8"])
def test_never_worse_than_minmax(name: str) -> None:
    for x in data(100).values():
        for quantizer in CHOOSERS:
            check(x, load_format(name), quantizer)


STOCHASTIC = parse_format(
    "name: random\nelement: {kind: int, bits: 4}\nencode: {rounding: stochastic_a, random_bits: 8}"
)


@given(
    st.one_of(
        st.lists(st.floats(width=32), max_size=12),
        st.lists(st.floats(-1, 10, width=32), min_size=1, max_size=60),
        st.lists(st.integers(-2, 9).map(float), min_size=1, max_size=40),
    ),
    st.sampled_from(["int2", "int4", "uint4", "uint8"]),
    st.sampled_from(CHOOSERS),
)
@example([5.0] * 3, "uint8", CHOOSERS[4])
@example([LARGEST, -LARGEST, 1.0], "int2", CHOOSERS[4])
@example([TINIEST, -3 * TINIEST], "int4", CHOOSERS[4])
def test_never_worse_than_minmax_whatever_the_data(values: list[float], name: str, quantizer: StateQuantizer) -> None:
    check(np.array(values, np.float32), load_format(name), quantizer)


def test_rounding_at_random_is_measured() -> None:
    x, codec = affine_sources(400)["shifted"], Codec(STOCHASTIC)
    scale, limit = (quantizer.fit(x, STOCHASTIC) for quantizer in (Iterative(zero_point=True), MinMax(zero_point=True)))
    ours, theirs = (np.square(x - codec.fake_quantize(x, scale=each, seed=0)).sum() for each in (scale, limit))
    assert ours < theirs


def test_better_than_without() -> None:
    """Where the middle of the data is not zero."""
    fmt = load_format("int4")
    for name, least in (("relu", 4), ("gelu", 3), ("lognormal", 2), ("shifted", 4), ("uniform", 1)):
        x = data(2000)[name]
        plain, shifted = (error(x, fmt, Iterative(zero_point=is_asked).fit(x, fmt)) for is_asked in (False, True))
        assert gap_db(plain, shifted) > least, name


# --- degenerate data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantizer", [MinMax(zero_point=True), *CHOOSERS], ids=repr)
@pytest.mark.parametrize("values", [[], [0.0, -0.0], [np.nan, np.inf, -np.inf]])
@pytest.mark.parametrize("name", ["int8", "uint4"])
def test_of_nothing_the_scale_is_one_and_the_zero_point_zero(quantizer: Any, values: list[float], name: str) -> None:
    x = np.array(values, np.float32)
    assert pair(quantizer.fit(x, load_format(name))) == (1.0, 0)
    assert pair(quantizer.choose(Histogram.of(x), load_format(name))) == (1.0, 0)


@pytest.mark.parametrize("quantizer", [MinMax(zero_point=True), *CHOOSERS], ids=repr)
def test_nan_and_inf_are_passed_over(quantizer: Any) -> None:
    x, fmt = affine_sources(300)["shifted"], load_format("uint4")
    mixed = np.insert(x, [0, 5, 300], np.float32([np.nan, np.inf, -np.inf]))
    assert pair(quantizer.fit(mixed, fmt)) == pair(quantizer.fit(x, fmt))


@pytest.mark.parametrize("value", [5.0, -3.0, 1e-44, 3e38])
def test_equal_elements(value: float) -> None:
    """All on one side of zero: MinMax's zero-point is that end of the range, and nothing is clipped."""
    x, fmt = np.full(4, value, np.float32), load_format("uint4")
    scale, point = pair(MinMax(zero_point=True).fit(x, fmt))
    assert (scale, point) == least_pair(x, fmt)
    assert point == (0 if value > 0 else 15) or value == 1e-44  # where float32's least scale is more than enough
    check(x, fmt, Iterative(zero_point=True))


def test_data_beyond_float32_are_clipped() -> None:
    scale, point = pair(MinMax(zero_point=True).fit(np.array([-1e300, 1e300]), load_format("int4")))
    assert (scale, point) == (LARGEST, 0)


# --- what takes them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantizer", [MinMax(zero_point=True), *CHOOSERS[::2]], ids=repr)
@pytest.mark.parametrize(
    ("format", "why"),
    [
        ("float8_e4m3fn", "kind is float"),
        ("nf4", "kind is codebook"),
        ("q0_7", "fraction_bits is 7"),
        ("uint1", "its only integers are 0 and 1"),
        ("{name: wide, element: {kind: int, bits: 32}}", "it has 32 bits"),
        ("{name: w, element: {kind: int, bits: 4}, encode: {overflow: wrap}}", "overflow is wrap"),
        ("{name: coded, element: {kind: int, bits: 4}, encode: {nan_input: 3}}", "nan_input is code 3"),
        ("{name: a, element: {kind: int, bits: 4, encoding: unsigned}, encode: {negative_input: abs}}", "negative_in"),
    ],
)
def test_formats_that_take_no_zero_points(quantizer: Any, format: str, why: str) -> None:
    fmt = parse_format(format) if format.startswith("{") else load_format(format)
    with pytest.raises(UnsupportedError, match=rf"{fmt.name} takes no zero-point: {why}.*; allowed: kind int of 3"):
        quantizer.fit(np.ones(3, np.float32), fmt)


def test_a_stream_follows_zero_points() -> None:
    fmt, random = load_format("uint4"), np.random.default_rng(0)
    stream, gaps = Stream(fmt, zero_point=True), []
    for time in range(40):
        batch = random.normal(2 * math.sin(time / 6), 1, 4000).astype(np.float32)
        stream = stream.update(batch)
        assert stream.scale is not None
        best = Iterative(zero_point=True).choose(Histogram.of(batch), fmt)
        ours, least, minmax = (
            error(batch, fmt, each) for each in (stream.scale, best, MinMax(zero_point=True).fit(batch, fmt))
        )
        assert ours <= minmax
        gaps.append(gap_db(ours, least))
    assert np.mean(gaps) <= 0.02
    assert stream.update(np.zeros(3)).scale is stream.scale


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_rows_of_measurements(per: Any) -> None:
    x, fmt = np.random.default_rng(2).normal(1, 1, (6, 500)).astype(np.float32), load_format("int4")
    quantizer = Iterative(zero_point=True)
    (row,) = measure(x, fmt, quantizer, per=per)
    scale = quantizer.fit(x, fmt, channel_axis=0 if per == "channel" else None)
    assert scale.zero_point is not None
    assert row["quantizer"] == "Iterative(zero_point=True)"
    assert row["zero_point"] == (scale.zero_point.ravel().tolist() if per == "channel" else scale.zero_point.item())
    assert row["mse"] == pytest.approx(error(x, fmt, scale) / x.size)
    low, high = scale.ends(fmt)
    assert row["clipped_fraction"] == np.mean((x < low) | (x > high))
    (given,) = measure(x, fmt, scale=Scale(scale.value.reshape(-1), scale.zero_point.reshape(-1)), per=per)
    assert {**given, "quantizer": ""} == {**row, "quantizer": ""}
    assert measure(x, fmt)[0]["zero_point"] is None
