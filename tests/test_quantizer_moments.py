"""Analytic for many channels at once: what a task for each channel finds, bit for bit; and the sums behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brute_force import sources
from numpy.typing import NDArray

from statqat_sim import Codec, MinMax, Scale, load_format, parse_format, set_threads
from statqat_sim.quantizer import Analytic, better_rows, moment_rows
from statqat_sim.quantizer.channels import Channels
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.objective import SQUARED
from statqat_sim.quantizer.representable import FLOAT32_SCALES
from statqat_sim.spec.number import NumberFormat

NAMES = ("int2", "int4", "int8", "uint4", "float4_e2m1fn", "float8_e4m3fn", "float8_e5m2", "nf4", "posit8", "takum8")
NAMES += ("ternary_b158", "float8_e8m0fnu", "float8_e4m3fn.torch", "q0_7", "binary1_pm1")
TOWARD_ZERO = parse_format("name: short\nelement: {kind: int, bits: 4}\nencode: {rounding: toward_zero}")
STOCHASTIC = parse_format(
    "name: random\nelement: {kind: int, bits: 4}\nencode: {rounding: stochastic_a, random_bits: 8}"
)
STRICT = parse_format("name: strict\nelement: {kind: int, bits: 4}\nencode: {nan_input: error}")
FORMATS = [*map(load_format, NAMES), TOWARD_ZERO, STOCHASTIC, STRICT]
AUTO = Analytic()


def rows(count: int) -> NDArray[np.float32]:
    """Of many distributions and powers, some of zeros, some with elements that are not finite."""
    x = np.stack(list(sources(count).values()))
    dead = np.full((2, count), [[0], [np.nan]], np.float32)
    x = np.concatenate([x, x[:3] * np.float32(1e-38), x[:3] * np.float32(1e36), dead])
    x[3, 0], x[5, -1], x[6, count // 2] = np.nan, np.inf, -np.inf
    return x


def one_by_one(quantizer: Analytic, x: Any, format: NumberFormat, channel_axis: int | None = 0) -> Scale:
    """With a task for each channel."""
    return Chooser.fit(quantizer, x, format, channel_axis=channel_axis)


def by_moments(x: NDArray[Any], format: NumberFormat) -> Scale | None:
    channels = Channels.of(x, format, 0, SQUARED, FLOAT32_SCALES, zero_point=False)
    return moment_rows.scales_by_moments(channels, format, None)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
@pytest.mark.parametrize("prior", ["auto", "laplace"])
def test_the_same_scales_as_one_by_one(format: NumberFormat, prior: str) -> None:
    for count in (1, 2, 9, 60, 700):
        x, quantizer = rows(count), Analytic(prior)
        found = quantizer.fit(x, format, channel_axis=0).value
        np.testing.assert_array_equal(found, one_by_one(quantizer, x, format).value)


@pytest.mark.parametrize("name", ["int4", "float4_e2m1fn", "uint4", "nf4"])
def test_never_worse_than_minmax_and_often_better(name: str) -> None:
    fmt, codec, better = load_format(name), Codec(load_format(name)), []
    x = rows(700)
    scales, limits = (each.fit(x, fmt, channel_axis=0).value.ravel() for each in (AUTO, MinMax()))
    for row, scale, limit in zip(x, scales, limits, strict=True):
        wide = row[np.isfinite(row)].astype(np.float64)
        ours, theirs = (np.square(wide - codec.fake_quantize(wide, scale=each)).sum() for each in (scale, limit))
        assert ours <= theirs
        better.append(bool(ours < theirs))
    assert any(better)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_any_axis(axis: int) -> None:
    x, fmt = np.random.default_rng(0).standard_t(3, (5, 6, 70)).astype(np.float32), load_format("int4")
    found = AUTO.fit(x, fmt, channel_axis=axis).value
    assert found.shape == tuple(size if index == axis % 3 else 1 for index, size in enumerate(x.shape))
    np.testing.assert_array_equal(found, one_by_one(AUTO, x, fmt, axis).value)


def test_one_scale_for_all_and_other_dtypes() -> None:
    x, fmt = rows(60)[:8], load_format("float4_e2m1fn")
    assert AUTO.fit(x, fmt).value == one_by_one(AUTO, x, fmt, None).value
    for dtype in (np.float16, np.float64):
        given = x.astype(dtype)
        np.testing.assert_array_equal(AUTO.fit(given, fmt, channel_axis=0).value, one_by_one(AUTO, given, fmt).value)
    wide = np.float64([[1e300, 1.0, -2.0], [1e-300, 0.0, 3e-46]])
    np.testing.assert_array_equal(AUTO.fit(wide, fmt, channel_axis=0).value, one_by_one(AUTO, wide, fmt).value)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 4)])
def test_channels_of_nothing_have_scale_one(shape: tuple[int, ...]) -> None:
    for name in ("int4", "tf32"):
        found = AUTO.fit(np.zeros(shape, np.float32), load_format(name), channel_axis=0).value
        np.testing.assert_array_equal(found, np.ones((shape[0], 1), np.float32))


def test_what_is_measured_together_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, fmt = rows(60), load_format("int4")
    together = AUTO.fit(x, fmt, channel_axis=0).value
    monkeypatch.setattr(better_rows, "TOGETHER", 150)
    np.testing.assert_array_equal(AUTO.fit(x, fmt, channel_axis=0).value, together)


def test_what_has_to_be_found_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rows(60)
    assert by_moments(x, load_format("int4")) is not None
    assert by_moments(x, STOCHASTIC) is None
    monkeypatch.setattr(moment_rows, "MOST_SORTED", 59)
    assert by_moments(x, load_format("int4")) is None
    monkeypatch.setattr(moment_rows, "row_sums", lambda: None)
    assert by_moments(x[:, :50], load_format("int4")) is None


# --- sums --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 3])
def _threads(request: pytest.FixtureRequest) -> Any:
    set_threads(request.param)
    yield
    set_threads(None)


def in_lanes(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of rows in the one order that there is: 64 lanes from first to last, then halves to halves."""
    lanes, terms = np.zeros((len(terms), 64)), np.pad(terms, ((0, 0), (0, -terms.shape[1] % 64)))
    for first in range(0, terms.shape[1], 64):
        lanes += terms[:, first : first + 64]
    while lanes.shape[1] > 1:
        lanes = np.add(*np.split(lanes, 2, axis=1))
    return lanes[:, 0]


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("shape", [(300, 1001), (1000, 3), (300, 16), (300, 33), (1, 5), (4, 0), (0, 4)])
def test_sums_of_rows(shape: tuple[int, int]) -> None:
    random, sums = np.random.default_rng(1), better_rows.row_sums()
    assert sums is not None
    x = (random.standard_normal(shape) * 1e20).astype(np.float32)
    x.flat[::7], x.flat[::50], x.flat[3::90] = np.nan, np.inf, -np.inf
    y = x + random.standard_normal(shape).astype(np.float32) * np.float32(1e18)
    kept = np.where(np.isfinite(x), x.astype(np.float64), 0)

    count, total, power = sums.moments(x)
    np.testing.assert_array_equal(count, np.isfinite(x).sum(1))
    np.testing.assert_array_equal(total, in_lanes(np.abs(kept)))
    np.testing.assert_array_equal(power, in_lanes(np.square(kept)))
    errors = np.square(np.where(np.isfinite(x), y.astype(np.float64), 0) - kept)
    np.testing.assert_array_equal(sums.squared_errors(x, y), in_lanes(errors))
    np.testing.assert_array_equal(sums.moments(np.asfortranarray(x))[2], power)


def test_errors_that_are_not_finite() -> None:
    sums = better_rows.row_sums()
    assert sums is not None
    y = np.zeros((4, 40), np.float32)
    y[0, 7], y[1, 8], y[2, [1, 2]] = np.nan, -np.inf, [np.inf, np.nan]
    y.flags.writeable = False
    np.testing.assert_array_equal(sums.squared_errors(np.ones((4, 40), np.float32), y), [np.nan, np.inf, np.nan, 40])
