"""Published rules for scales against what their sources print, and against direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from brute_force import drawn

from statqat_sim import Codec, MinMax, load_format
from statqat_sim.errors import UnsupportedError
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer import (
    ACIQ,
    OCTAV,
    SAWB,
    AbsMean,
    Analytic,
    LSQInit,
    PaperAnalytic,
    PaperIterative,
    Percentile,
    quantizer_named,
)
from statqat_sim.quantizer.baselines import aciq_clip, paper_constant
from statqat_sim.quantizer.levels import levels

X = drawn(20_000)["laplace"]


@pytest.mark.parametrize(
    ("bits", "clip"), [(2, 2.83), (3, 3.89), (4, 5.03), (5, 6.20), (6, 7.41), (7, 8.64), (8, 9.89)]
)
def test_aciq_for_laplace_as_its_source_prints_it(bits: int, clip: float) -> None:
    assert aciq_clip(bits, "laplace") == pytest.approx(clip, abs=0.01)


@pytest.mark.parametrize(
    ("bits", "clip"), [(2, 1.71), (3, 2.15), (4, 2.55), (5, 2.93), (6, 3.28), (7, 3.61), (8, 3.92)]
)
def test_aciq_for_normal_as_its_source_prints_it(bits: int, clip: float) -> None:
    assert aciq_clip(bits, "normal") == pytest.approx(clip, abs=0.01)


def test_aciq_scales_by_moments() -> None:
    mean, rms = np.abs(X.astype(np.float64)).mean(), math.sqrt(np.square(X.astype(np.float64)).mean())
    fmt = load_format("int4_narrow")
    assert float(ACIQ().fit(X, fmt).value[0]) == pytest.approx(mean * aciq_clip(4, "laplace") / 7, rel=1e-6)
    assert float(ACIQ("normal").fit(X, fmt).value[0]) == pytest.approx(rms * aciq_clip(4, "normal") / 7, rel=1e-6)
    with pytest.raises(ValueError, match=r"prior is 'uniform'.* \(allowed: laplace, normal\)"):
        ACIQ("uniform")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["int4_narrow", "int3_narrow", "uint4", "float4_e2m1fn"])
def test_octav_ends_where_its_equation_holds(name: str) -> None:
    fmt, magnitudes = load_format(name), np.abs(X.astype(np.float64))
    clip = float(OCTAV(steps=60).fit(X, fmt).value[0]) * max(fmt.max, -fmt.min)
    noise = 4.0**-fmt.bits / (3 if fmt.min < 0 else 12)
    above, within = magnitudes > clip, (magnitudes > 0) & (magnitudes <= clip)
    assert clip == pytest.approx(magnitudes[above].sum() / (noise * within.sum() + above.sum()), rel=1e-3)


def test_sawb_and_lsq_as_written() -> None:
    wide = X.astype(np.float64)
    rms, mean = math.sqrt(np.square(wide).mean()), np.abs(wide).mean()
    assert float(SAWB().fit(X, load_format("int4_narrow")).value[0]) == pytest.approx((12.68 * rms - 12.8 * mean) / 7)
    assert float(LSQInit().fit(X, load_format("int4_narrow")).value[0]) == pytest.approx(2 * mean / math.sqrt(7))
    with pytest.raises(UnsupportedError, match="int6: SAWB of 6 bits; allowed: 2, 3, 4, 5, 8"):
        SAWB().fit(X, load_format("int6"))


def test_ternary_weights_as_bitnet_rounds_them() -> None:
    x = X.reshape(100, 200)
    scale = AbsMean().fit(x, load_format("ternary_b158")).value
    mean = np.abs(x).mean(dtype=np.float64)
    assert scale == np.float32(mean)
    ours = Codec(load_format("ternary_b158")).fake_quantize(x, scale=scale)
    np.testing.assert_allclose(ours, np.clip(np.round(x / mean), -1, 1) * mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "clip"),
    [("int3_narrow", 1.9505), ("int4_narrow", 2.4752), ("int8_narrow", 3.9208), ("float4_e2m1fn", 2.8713)],
)
def test_the_constant_of_the_model_as_a_grid_search_finds_it(name: str, clip: float) -> None:
    """A grid of 0.02 … 6 in 0.01485 steps of the clipping point, with σ = 1, is what the figures come from."""
    fmt = load_format(name)
    assert paper_constant(fmt, levels(fmt)) * fmt.max == pytest.approx(clip, abs=0.02)
    rms = math.sqrt(np.square(X.astype(np.float64)).mean())
    assert float(PaperAnalytic().fit(X, fmt).value[0]) == pytest.approx(rms * clip / fmt.max, rel=0.01)


def test_the_alternating_step_is_least_squares_given_the_codes() -> None:
    fmt = load_format("int4_narrow")
    scale = float(MinMax().fit(X, fmt).value[0])
    for steps in range(1, 4):
        codes = np.clip(np.round(X.astype(np.float64) / scale), -7, 7)
        scale = float(codes @ X.astype(np.float64) / (codes @ codes))
        assert float(PaperIterative(steps).fit(X, fmt).value[0]) == pytest.approx(scale, rel=1e-5)


def test_percentiles_of_magnitudes() -> None:
    fmt = load_format("int4_narrow")
    for percentile in (50.0, 99.0, 99.9):
        found = float(Percentile(percentile).fit(X, fmt).value[0]) * 7
        minmax = float(MinMax().fit(X, fmt).value[0]) * 7
        expected = np.percentile(np.abs(X.astype(np.float64)), percentile)
        assert found in (pytest.approx(expected, rel=0.01), pytest.approx(minmax))
    with pytest.raises(ValueError, match="percentile is 100; allowed: above 0 and below 100"):
        Percentile(100)


@pytest.mark.parametrize(("prior", "source", "scale"), [("normal", "normal", 0.3534), ("laplace", "laplace", 0.4869)])
def test_analytic_is_the_optimum_of_its_prior(prior: str, source: str, scale: float) -> None:
    """Of int4 with ±7, as Max (1960) and the exact moment equations have it."""
    x, fmt = drawn(200_000)[source], load_format("int4_narrow")
    rms = math.sqrt(np.square(x.astype(np.float64)).mean())
    assert float(Analytic(prior).fit(x, fmt).value[0]) == pytest.approx(scale * rms, rel=1e-3)
    assert float(Analytic().fit(x, fmt).value[0]) == pytest.approx(scale * rms, rel=0.03)
    assert float(Analytic(prior).choose(Histogram.of(x), fmt).value[0]) == pytest.approx(scale * rms, rel=1e-3)


def test_names_are_suggested() -> None:
    with pytest.raises(LookupError, match="no quantizer is named 'iteratif'; did you mean 'iterative'"):
        quantizer_named("iteratif")
