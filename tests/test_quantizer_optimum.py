"""Iterative against brute force; streams against the best scale of each batch; options against direct counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brute_force import Exact, directly, sources
from numpy.typing import NDArray

from statqat_sim import Codec, MinMax, load_format
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer import OCTAV, Analytic, Iterative, Percentile, Search, Stream
from statqat_sim.quantizer.levels import levels
from statqat_sim.quantizer.objective import Objective
from statqat_sim.quantizer.score import Score
from statqat_sim.spec.number import NumberFormat

NAMES = ("int2", "int3", "int4", "int4_narrow", "int8", "float4_e2m1fn", "float4_e3m0fn", "float6_e2m3fn")
NAMES += ("float6_e3m2fn", "float8_e4m3fn", "nf4", "posit6")
COUNT = 2000


def gap_db(error: float, least: float) -> float:
    return 10 * float(np.log10(error / least))


def error(x: NDArray[Any], format: NumberFormat, scale: float) -> float:
    y = Codec(format).fake_quantize(x, scale=np.float32(scale))
    return float(np.square(x.astype(np.float64) - y).sum())


def test_within_a_hundredth_of_a_decibel_of_brute_force() -> None:
    gaps = []
    for name in NAMES:
        fmt = load_format(name)
        for x in sources(COUNT).values():
            least = Exact(x, fmt.grid()).least()
            scale = float(Iterative().fit(x, fmt).value[0])
            gaps.append(gap_db(directly(x, fmt.grid(), scale), least))
    assert len(gaps) == 12 * 11
    assert np.mean(np.array(gaps) <= 0.01) >= 0.95
    assert max(gaps) <= 0.1


@pytest.mark.parametrize("name", ["int4_narrow", "float4_e2m1fn", "float6_e2m3fn", "nf4"])
def test_from_a_histogram_alone(name: str) -> None:
    fmt = load_format(name)
    for x in sources(60_000, seed=1).values():
        least = Exact(x, fmt.grid()).errors(np.array([float(Iterative().fit(x, fmt).value[0])]))[0]
        scale = float(Iterative().choose(Histogram.of(x), fmt).value[0])
        assert gap_db(directly(x, fmt.grid(), scale), least) <= 0.02


@pytest.mark.parametrize("name", ["float4_e2m1fn", "int4", "nf4", "int8"])
@pytest.mark.parametrize("source", ["normal", "laplace", "t3", "outliers", "relu", "mlp_inputs", "mlp_gelu"])
def test_many_channels_at_once(name: str, source: str) -> None:
    """The kernel that scans rows, against brute force on each row, and never worse than MinMax."""
    fmt, x = load_format(name), sources(8 * 4096)[source].reshape(8, 4096)
    found = Iterative().fit(x, fmt, channel_axis=0).value.ravel()
    minmax = MinMax().fit(x, fmt, channel_axis=0).value.ravel()
    ratios = []
    for row, scale, other in zip(x, found, minmax, strict=True):
        assert error(row, fmt, scale) <= error(row, fmt, other)
        exact = Exact(row, fmt.grid())
        ratios.append(exact.errors(np.array([float(scale)]))[0] / exact.least())
    assert np.mean(ratios) <= (1.002 if name == "float4_e2m1fn" else 1.03)


def test_channels_that_the_kernel_does_not_take_are_scanned_one_by_one() -> None:
    x = np.random.default_rng(0).standard_normal((6, 512)).astype(np.float32)
    x[1] = 0
    x[2, :5] = np.nan
    x[3] *= np.float32(1e-40)
    x[4] *= np.float32(1e37)
    fmt = load_format("float4_e2m1fn")
    found = Iterative().fit(x, fmt, channel_axis=0).value.ravel()
    for index in (1, 3, 4):
        assert found[index] == Iterative().fit(x[index], fmt).value[0]
    assert found[1] == 1
    others = [0, 2, 5]
    np.testing.assert_array_equal(Iterative().fit(x[others], fmt, channel_axis=0).value.ravel(), found[others])


@pytest.mark.parametrize(("name", "gap"), [("int8", 0.1), ("float8_e4m3fn", 0.2), ("int6", 0.04), ("int4", 0.003)])
def test_many_short_channels(name: str, gap: float) -> None:
    """Where levels are many, a short row has errors that vary much from scale to scale: neighbours are measured."""
    fmt, x = load_format(name), np.random.default_rng(0).standard_normal((16, 600)).astype(np.float32)
    found = Iterative().fit(x, fmt, channel_axis=0).value.ravel()
    gaps = [
        gap_db(error(row, fmt, scale), error(row, fmt, Iterative().fit(row, fmt).value[0]))
        for row, scale in zip(x, found, strict=True)
    ]
    assert np.mean(gaps) <= gap


@pytest.mark.parametrize(("name", "gap"), [("float6_e2m3fn", 0.03), ("float6_e3m2fn", 0.05), ("int6", 0.01)])
def test_short_channels_in_six_bits_against_brute_force(name: str, gap: float) -> None:
    fmt, x = load_format(name), np.random.default_rng(1).standard_normal((16, 600)).astype(np.float32)
    scales = Iterative().fit(x, fmt, channel_axis=0).value.ravel()
    gaps = [
        gap_db(error(row, fmt, scale), Exact(row, fmt.grid()).least()) for row, scale in zip(x, scales, strict=True)
    ]
    assert np.mean(gaps) <= gap


def test_axes_other_than_the_first() -> None:
    x = np.random.default_rng(1).standard_normal((512, 3, 2)).astype(np.float32) * np.float32([1, 4, 16])[None, :, None]
    found = Iterative().fit(x, load_format("int4"), channel_axis=1)
    assert found.value.shape == (1, 3, 1)
    turned = Iterative().fit(np.ascontiguousarray(np.moveaxis(x, 1, 0)), load_format("int4"), channel_axis=0)
    np.testing.assert_array_equal(found.value.ravel(), turned.value.ravel())


# --- streams -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["int4_narrow", "float4_e2m1fn"])
@pytest.mark.parametrize("source", ["normal", "laplace", "t3"])
def test_a_stream_follows_a_drift(name: str, source: str) -> None:
    """σ swings by e^±0.5; the gap to the best scale of each batch, which is found with the batch itself."""
    fmt, random, stream = load_format(name), np.random.default_rng(0), Stream(load_format(name))
    draw = {"normal": random.standard_normal, "laplace": lambda n: random.laplace(size=n)}
    gaps = []
    for time in range(80):
        batch = draw.get(source, lambda n: random.standard_t(3, n))(8000)
        batch = (batch * np.exp(0.5 * np.sin(2 * np.pi * time / 40))).astype(np.float32)
        stream = stream.update(batch)
        assert stream.scale is not None
        scale, exact = float(stream.scale.value[0]), Exact(batch, fmt.grid())
        best = float(Iterative().choose(Histogram.of(batch), fmt).value[0])
        ours, least, minmax = exact.errors(np.array([scale, best, float(MinMax().fit(batch, fmt).value[0])]))
        gaps.append(gap_db(ours, least))
        assert ours <= minmax
    assert np.mean(gaps) <= 0.02
    assert stream.seen.elements == 80 * 8000


def test_a_jump_is_scanned_anew() -> None:
    fmt, random, stream = load_format("int4_narrow"), np.random.default_rng(0), Stream(load_format("int4_narrow"))
    for factor in (1, 1, 1e4, 1e-4):
        batch = (random.standard_normal(5000) * factor).astype(np.float32)
        stream = stream.update(batch)
        assert stream.scale is not None
        least = Exact(batch, fmt.grid()).least()
        assert gap_db(directly(batch, fmt.grid(), float(stream.scale.value[0])), least) < 0.1


def test_streams_are_values_and_pass_over_nothing() -> None:
    stream = Stream(load_format("int8"))
    empty = stream.update(np.zeros(4, np.float32)).update(np.full(2, np.nan))
    assert stream.batches == 0
    assert empty.batches == 2
    assert empty.scale is None
    first = empty.update(np.ones(3, np.float32))
    assert first.scale is not None
    assert first.update(np.zeros(3)).scale is first.scale
    with pytest.raises(ValueError, match="rescan is 0; allowed: whole numbers, at least 1"):
        Stream(load_format("int8"), rescan=0)
    with pytest.raises(TypeError, match="is a block format"):
        Stream(load_format("mxfp4"))


# --- options -----------------------------------------------------------------------------------------------------


def test_weights_decide_whose_errors_count() -> None:
    random, fmt = np.random.default_rng(0), load_format("int4_narrow")
    x = random.laplace(size=(64, 32)).astype(np.float32)
    x[:, 0] *= 20
    weights = np.ones(32)
    weights[0] = 1e-3
    scales = np.geomspace(0.05, 5, 3000)
    steps = np.round(np.clip(x[None].astype(np.float64) / scales[:, None, None], -7, 7)) * scales[:, None, None]
    direct = (weights * np.square(steps - x)).sum((1, 2))
    found = float(Iterative(weights=weights).fit(x, fmt).value.ravel()[0])
    y = np.round(np.clip(x / found, -7, 7)) * found
    assert (weights * np.square(y - x)).sum() <= direct.min() * 1.0001
    assert found < 0.5 * float(Iterative().fit(x, fmt).value.ravel()[0])


@pytest.mark.parametrize("norm", [1.0, 2.4, 4.0])
def test_norms(norm: float) -> None:
    fmt, x = load_format("float4_e2m1fn"), sources(1500)["laplace"]
    scales, codec = np.geomspace(0.1, 3, 1500).astype(np.float32), Codec(load_format("float4_e2m1fn"))

    def cost(scale: np.float32) -> float:
        return float((np.abs(codec.fake_quantize(x, scale=scale) - x.astype(np.float64)) ** norm).sum())

    found = np.float32(Iterative(norm=norm).fit(x, fmt).value[0])
    assert cost(found) <= min(map(cost, scales)) * 1.0005
    assert cost(found) <= cost(np.float32(MinMax().fit(x, fmt).value[0]))


@pytest.mark.parametrize("scale_format", ["float8_e8m0fnu", "float8_e4m3fn", "bfloat16"])
@pytest.mark.parametrize("source", ["normal", "t3", "outliers"])
def test_scales_that_a_format_holds(scale_format: str, source: str) -> None:
    """Search tries all of them; Iterative ends next to the best scale, and MinMax at the least one that is enough."""
    fmt, x, held = load_format("float4_e2m1fn"), sources(800)[source], load_format(scale_format).grid()
    held = held[(held > 2.0**-5) & (held < 2.0**5)]
    best = min(error(x, fmt, scale) for scale in held)
    found = [float(kind(scale_format=scale_format).fit(x, fmt).value[0]) for kind in (Search, Iterative, MinMax)]
    assert set(found) <= set(held.tolist())
    search, iterative, minmax = found
    assert error(x, fmt, search) == pytest.approx(best, rel=1e-6)
    assert error(x, fmt, iterative) <= best * 1.02
    assert minmax * fmt.max >= np.abs(x).max()
    assert minmax == held[np.searchsorted(held, float(MinMax().fit(x, fmt).value[0]))]


@pytest.mark.parametrize("name", ["float8_e5m2", "float4_e2m1fn", "posit8", "int4", "float8_e4m3b11fnuz"])
@pytest.mark.parametrize("scale_format", ["ue4m3", "float8_e8m0fnu", "int8"])
def test_search_tries_all_values_of_a_small_scale_format(name: str, scale_format: str) -> None:
    fmt, x = load_format(name), (sources(64)["normal"] * 0.02).astype(np.float32)
    held = load_format(scale_format).grid()
    best = min(error(x, fmt, scale) for scale in held[(held > 2.0**-60) & (held < 2.0**60)])
    found = float(Search(scale_format=scale_format).fit(x, fmt).value[0])
    assert found in held
    assert error(x, fmt, found) == pytest.approx(best, rel=1e-6)


def test_scales_whose_errors_overflow_are_tried_in_silence() -> None:
    x, weights = sources(64)["normal"], np.arange(64) % 2
    for options in ({}, {"weights": weights}):
        scale = Search(scale_format="float8_e8m0fnu", norm=16, **options).fit(x, load_format("posit16"))  # type: ignore[arg-type]
        assert 2.0**-20 < scale.value[0] < 2.0**20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Iterative(norm=0), "norm is 0; allowed: finite numbers above zero"),
        (lambda: Iterative(weights=[1, -1]), "weights hold a number that is negative or not finite"),
        (lambda: Iterative(norm=True), "norm is true; allowed: finite numbers above zero"),
        (lambda: Search(candidates=0), "candidates is 0; allowed: whole numbers, at least 1"),
        (lambda: Search(candidates=True), "candidates is true; allowed: whole numbers, at least 1"),
        (lambda: Percentile(True), "percentile is true; allowed: above 0 and below 100"),
        (lambda: Stream(load_format("int8"), rescan="3"), "rescan is '3'; allowed: whole numbers, at least 1"),
        (lambda: OCTAV(steps=0), "steps is 0; allowed: whole numbers, at least 1"),
        (lambda: Iterative(weights=np.ones(3)).fit(np.ones((2, 2)), load_format("int8")), r"weights have shape \(3,\)"),
    ],
)
def test_options_that_mean_nothing(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_are_real_numbers() -> None:
    for kind in (Iterative, Search):
        with pytest.raises(TypeError, match="weights is <U1; allowed: an array of real numbers"):
            kind(weights="a")


@pytest.mark.parametrize("kind", [MinMax, Percentile, Analytic, Iterative, Search])
def test_zero_points_are_wanted_or_not(kind: Any) -> None:
    with pytest.raises(TypeError, match="zero_point is 'no'; allowed: True or False"):
        kind(zero_point="no")


@pytest.mark.parametrize("kind", [MinMax, Iterative, Search])
def test_options_have_names(kind: Any) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        kind(50)


def test_weights_are_the_quantizer_s_own() -> None:
    weights = np.ones(3)
    objective = Objective(weights)
    weights[:] = -1
    assert objective.weights.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        objective.weights[0] = 2


@pytest.mark.parametrize("name", ["float16", "posit16", "takum16", "int16", "lns16", "uint16"])
def test_formats_of_16_bits_are_scored_by_bins(name: str) -> None:
    """Fewer bins than steps: the mean error over each bin, beside what is measured at the scale that is chosen."""
    fmt, x = load_format(name), sources(30_000)["laplace"]
    score = Score.of_histogram(Histogram.of(x), levels(fmt))
    scale = Iterative().choose(Histogram.of(x), fmt).value[0]
    assert score.errors(np.array([float(scale)]))[0] == pytest.approx(error(x, fmt, scale), rel=0.05)
    assert not error(x, fmt, scale) > error(x, fmt, MinMax().fit(x, fmt).value[0]) * 1.01  # of takum16 NaN
    assert error(x, fmt, Iterative().fit(x, fmt).value[0]) <= error(x, fmt, scale) * 1.05
