"""The promise: no quantizer but the named baselines gives a larger measured error than MinMax. What odd data get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brute_force import sources
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from statqat_sim import Codec, MinMax, load_format, parse_format
from statqat_sim.errors import UnsupportedError
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer import BASELINES, QUANTIZERS, Analytic, Iterative, Percentile, Search, quantizer_named
from statqat_sim.quantizer.base import StateQuantizer
from statqat_sim.quantizer.data import Data, Elements
from statqat_sim.quantizer.guard import is_proven
from statqat_sim.quantizer.objective import SQUARED
from statqat_sim.quantizer.representable import FLOAT32_SCALES
from statqat_sim.quantizer.scan import scan
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

STOCHASTIC = parse_format(
    "name: random\nelement: {kind: int, bits: 4}\nencode: {rounding: stochastic_a, random_bits: 8}"
)
TOWARD_ZERO = parse_format("name: short\nelement: {kind: int, bits: 4}\nencode: {rounding: toward_zero}")
WRAPS = parse_format("name: wraps\nelement: {kind: int, bits: 4}\nencode: {overflow: wrap}")
INFINITE = load_format("p3109_binary8p3se.sat_none")
REFLECTED = parse_format("name: f\nelement: {kind: int, bits: 3, encoding: unsigned}\nencode: {negative_input: abs}")
NAMES = ("int2", "int4", "int8", "uint4", "float4_e2m1fn", "float6_e3m2fn", "float8_e4m3fn", "float8_e5m2", "nf4")
NAMES += ("posit8", "takum8", "ternary_b158", "float8_e8m0fnu", "hif8", "lns8", "float8_e4m3fn.torch", "q0_7")
NAMES += ("binary1_pm1",)
FORMATS = [*map(load_format, NAMES), STOCHASTIC, TOWARD_ZERO, WRAPS, INFINITE, REFLECTED]
GUARDED = [name for name in QUANTIZERS if name not in BASELINES]
CHOOSERS: list[StateQuantizer] = [
    *(quantizer_named(name) for name in GUARDED),
    Percentile(50.0),
    Analytic("normal"),
    Analytic("laplace"),
    Search(candidates=7),
    Iterative(scale_format="float8_e8m0fnu"),
]


def measured(x: NDArray[Any], format: NumberFormat, scale: Any) -> float:
    """The mean squared error of the finite elements."""
    finite = x[np.isfinite(x)]
    with np.errstate(all="ignore"):
        y = Codec(format).fake_quantize(finite, scale=scale, seed=0)
        return float(np.square(finite.astype(np.float64) - y).mean())


def task_of(data: Data, format: NumberFormat, minmax: float) -> Task:
    return Task(data, format, minmax, zero_point=None, objective=SQUARED, scales=FLOAT32_SCALES)


def check(x: NDArray[np.float32], format: NumberFormat, quantizer: StateQuantizer) -> None:
    scale = quantizer.fit(x, format).value
    assert scale.shape == (1,) * x.ndim
    least = MinMax(scale_format=getattr(quantizer, "scale_format", None)).fit(x, format).value
    if not np.isfinite(x).any():
        assert scale == least == 1
        return
    error, limit = measured(x, format, scale.ravel()[0]), measured(x, format, least.ravel()[0])
    assert error <= limit or not np.isfinite(limit)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
values = st.one_of(
    st.lists(st.floats(width=32), max_size=12),
    st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=60),
    st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=40),
    st.builds(lambda *ends: np.geomspace(*ends).tolist(), *[st.floats(1e-6, 1e6)] * 2, st.integers(2, 50)),
)


@given(values, st.sampled_from(FORMATS), st.sampled_from(CHOOSERS))
@example([1.0], load_format("float8_e4m3fn"), Iterative())
@example([3e38, -3e38, 1.0], load_format("int4"), Iterative())
@example([1e-45, 3e-45], load_format("int4"), Iterative())
@example([1.0, np.nan, np.inf, -np.inf], load_format("int2"), Search())
@example([-5.0, -4.0], load_format("uint4"), Analytic())
def test_never_worse_than_minmax(values: list[float], format: NumberFormat, quantizer: StateQuantizer) -> None:
    check(np.array(values, np.float32), format, quantizer)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_never_worse_than_minmax_on_data_of_many_shapes(format: NumberFormat) -> None:
    for x in sources(200).values():
        for quantizer in CHOOSERS:
            check(x, format, quantizer)


@pytest.mark.parametrize("name", ["int4", "float4_e2m1fn", "int8", "float8_e4m3fn", "nf4", "uint4"])
def test_never_worse_than_minmax_in_any_channel(name: str) -> None:
    fmt, x = load_format(name), np.stack(list(sources(1024).values()))
    for quantizer in CHOOSERS:
        found = quantizer.fit(x, fmt, channel_axis=0).value.ravel()
        least = MinMax(scale_format=getattr(quantizer, "scale_format", None)).fit(x, fmt, channel_axis=0).value.ravel()
        for row, scale, other in zip(x, found, least, strict=True):
            assert measured(row, fmt, scale) <= measured(row, fmt, other)


@pytest.mark.parametrize("format", [WRAPS, INFINITE], ids=lambda format: format.name)
def test_formats_that_do_not_saturate_are_measured(format: NumberFormat) -> None:
    """What a smaller scale would clip becomes Inf or another number, which bounds of the clipping error do not know."""
    x = np.random.default_rng(0).standard_t(3, (4, 4096)).astype(np.float32)
    coarse = "float8_e4m3fn"
    for quantizer in (*CHOOSERS, Percentile(99.0), Percentile(scale_format=coarse), Analytic(scale_format=coarse)):
        least = MinMax(scale_format=getattr(quantizer, "scale_format", None))
        for row in x:
            assert measured(row, format, quantizer.fit(row, format)) <= measured(row, format, least.fit(row, format))
        assert quantizer.choose(Histogram.of(x), format).value >= least.choose(Histogram.of(x), format).value


def test_a_smaller_scale_than_minmax_s_serves_where_nothing_overflows() -> None:
    """3.6 / 0.5 is rounded to 7, the end of the range; MinMax's scale is rounded up to 1."""
    x, coarse = np.float32([3.6, 0.4, 0.6, 1.3, -2.2]), "float8_e8m0fnu"
    for quantizer in (Search(scale_format=coarse), Iterative(scale_format=coarse)):
        assert quantizer.fit(x, WRAPS).value == 0.5 < MinMax(scale_format=coarse).fit(x, WRAPS).value


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["int2", "int4", "float4_e2m1fn", "nf4", "uint4", "posit6"]))
def test_what_the_bounds_prove_is_so(seed: int, name: str) -> None:
    """From the histogram alone, against measured errors."""
    random, fmt = np.random.default_rng(seed), load_format(name)
    x = (random.standard_t(3, 500) * np.exp(random.normal(0, 5))).astype(np.float32)
    minmax = float(MinMax().fit(x, fmt).value[0])

    task = task_of(Histogram.of(x), fmt, minmax)
    scales = task.scales.near(np.append(scan(task.score, minmax), minmax * np.geomspace(0.1, 3, 20)))
    proven = is_proven(task, scales)
    limit = measured(x, fmt, np.float32(minmax))
    for scale, is_better in zip(scales, proven, strict=True):
        assert not is_better or measured(x, fmt, np.float32(scale)) <= limit
    assert any(proven) or name in ("posit6", "uint4")


def test_jumps_of_the_error_are_measured() -> None:
    """The quotient -8 of MinMax's scale is exact in float32 alone: toward zero it would have become -7."""
    x, candidate = np.float32([-0.6169764]), np.float32(0.13536663)
    minmax = float(MinMax().fit(x, TOWARD_ZERO).value[0])
    assert measured(x, TOWARD_ZERO, np.float32(minmax)) < measured(x, TOWARD_ZERO, candidate)
    assert is_proven(task_of(Elements(x, None), TOWARD_ZERO, minmax), np.array([float(candidate)])) == [False]


# --- degenerate data ---------------------------------------------------------------------------------------------

ODD = {
    "empty": np.zeros((0, 3), np.float32),
    "all zero": np.zeros((2, 3), np.float32),
    "nothing finite": np.array([[np.nan, np.inf, -np.inf]], np.float32),
}


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("case", ODD)
def test_the_scale_of_nothing_is_one(name: str, case: str) -> None:
    scale = quantizer_named(name).fit(ODD[case], load_format("int4")).value
    assert scale.shape == (1, 1)
    assert scale == 1


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("value", [5.0, -3.0, 1e-44, 3e38])
@pytest.mark.parametrize("count", [1, 7])
def test_equal_elements(name: str, value: float, count: int) -> None:
    """One number, once or more often: the scale is finite, above zero, and where guarded fits it as MinMax's does."""
    x = np.full(count, value, np.float32)
    for fmt in map(load_format, ("int4", "float4_e2m1fn")):
        scale = quantizer_named(name).fit(x, fmt).value
        assert np.isfinite(scale)
        assert scale > 0
        if name in GUARDED:
            assert measured(x, fmt, scale[0]) <= measured(x, fmt, MinMax().fit(x, fmt).value[0])


@pytest.mark.parametrize("name", QUANTIZERS)
def test_nan_and_inf_are_passed_over(name: str) -> None:
    x = sources(300)["normal"]
    mixed = np.insert(x, [0, 5, 300], np.float32([np.nan, np.inf, -np.inf]))
    fmt = load_format("int4")
    assert quantizer_named(name).fit(mixed, fmt).value == quantizer_named(name).fit(x, fmt).value


@pytest.mark.parametrize("name", [name for name in QUANTIZERS if name not in ("minmax", "none", "absmean")])
def test_formats_of_more_than_16_bits_have_no_grid_to_search(name: str) -> None:
    with pytest.raises(UnsupportedError, match="allowed: "):
        quantizer_named(name).fit(np.ones(3, np.float32), load_format("tf32"))
    with pytest.raises(TypeError, match="mxfp4 is a block format"):
        quantizer_named(name).fit(np.ones(3, np.float32), load_format("mxfp4"))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_float64_and_halves_are_read_as_float32(name: str) -> None:
    x, fmt = sources(300)["laplace"].astype(np.float16), load_format("int4")
    expected = quantizer_named(name).fit(x.astype(np.float32), fmt).value
    assert quantizer_named(name).fit(x, fmt).value == expected
    assert quantizer_named(name).fit(x.astype(np.float64), fmt).value == expected
    assert np.isfinite(quantizer_named(name).fit(np.float64([1e300, 1.0, -2.0]), fmt).value)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_state_gives_nearly_what_the_data_give(name: str) -> None:
    x, fmt = sources(20_000)["laplace"].reshape(2, -1), load_format("int4_narrow")
    found = quantizer_named(name).choose(Histogram.of(x, channel_axis=0), fmt).value
    assert found.shape == (2,)
    np.testing.assert_allclose(found, quantizer_named(name).fit(x, fmt, channel_axis=0).value.ravel(), rtol=0.02)
