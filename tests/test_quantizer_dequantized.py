"""Data that lie on a format's levels already: Iterative is never worse than the scale that they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from brute_force import sources
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from statqat_sim import Codec, MinMax, Scale, load_format
from statqat_sim.quantizer import Iterative
from statqat_sim.quantizer.data import MOST_SORTED
from statqat_sim.quantizer.dequantized import passing
from statqat_sim.quantizer.levels import levels
from statqat_sim.quantizer.row_ratios import may_be_dequantized
from statqat_sim.spec.number import NumberFormat

NAMES = ("int4", "int8", "uint8", "float8_e4m3fn", "float4_e2m1fn", "nf4", "binary1_pm1", "posit8")
SCALES = st.floats(2.0**-10, 2.0**10, width=32)


def error(x: NDArray[np.float32], format: NumberFormat, scale: Any) -> float:
    """Σ(x − Q(x))²."""
    return float(np.square(x.astype(np.float64) - Codec(format).fake_quantize(x, scale=scale)).sum())


def on_levels(format: NumberFormat, count: int, scale: float, share: float, seed: int) -> NDArray[np.float32]:
    """Random levels times a scale; the largest is at least this share of the format's largest."""
    random, values = np.random.default_rng(seed), format.grid()
    values = values[np.abs(values) <= max(share * np.abs(values).max(), np.abs(values).min())]
    return random.choice(values, count).astype(np.float32) * np.float32(scale)


@given(st.sampled_from(NAMES), SCALES, st.integers(1, 400), st.floats(0.02, 1), st.integers(0, 99))
@example("int4", 0.5, 2, 1.0, 0)
def test_the_error_is_no_larger_than_at_the_scale_they_were_made_with(
    name: str, scale: float, count: int, share: float, seed: int
) -> None:
    fmt = load_format(name)
    x = on_levels(fmt, count, scale, share, seed)
    assert error(x, fmt, Iterative().fit(x, fmt)) <= error(x, fmt, np.float32(scale))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["int16", "uint16", "float16", "bfloat16"])
def test_in_formats_of_16_bits(name: str, seed: int) -> None:
    fmt, scale = load_format(name), np.float32(np.random.default_rng(seed).uniform(0.1, 10))
    values = fmt.grid()
    values = values[np.abs(values) < 2.0**60]
    x = np.random.default_rng(seed).choice(values, 300).astype(np.float32) * scale
    if not levels(fmt).saturates:  # then no scale is below MinMax's, which may be the next float32 above
        scale = max(scale, MinMax().fit(x, fmt).value[0])
    assert error(x, fmt, Iterative().fit(x, fmt)) <= error(x, fmt, scale)


@pytest.mark.parametrize("name", ["int4", "uint8", "float4_e2m1fn"])
def test_of_more_data_than_are_sorted(name: str) -> None:
    fmt, scale = load_format(name), np.float32(0.0137)
    x = on_levels(fmt, MOST_SORTED + 5, scale, 0.8, 0)
    assert error(x, fmt, MinMax().fit(x, fmt)) > 0
    assert error(x, fmt, Iterative().fit(x, fmt)) == 0


@pytest.mark.parametrize("name", [*NAMES, "int16"])
def test_of_many_channels(name: str) -> None:
    fmt, random = load_format(name), np.random.default_rng(0)
    scales = random.uniform(0.01, 10, 12).astype(np.float32)
    x = np.stack([on_levels(fmt, 512, scale, 0.7, seed) for seed, scale in enumerate(scales)])
    x[3] = random.standard_normal(512)
    x[4, 200:300] = 0 if 0 in fmt.grid() else x[4, 0]
    x[5, 256] = np.nan
    found = Iterative().fit(x, fmt, channel_axis=0).value.ravel()
    for index in {*range(12)} - {3}:
        row = x[index][np.isfinite(x[index])]
        assert error(row, fmt, found[index]) <= error(row, fmt, scales[index])


def test_pixels_are_sparse_two_valued_or_both() -> None:
    """Divided by 255 they are no multiples of a float32; few of them, or the wrong ones, tell nothing."""
    random, fmt, scale = np.random.default_rng(0), load_format("uint8"), np.float32(1 / 255)
    ramp, few = np.arange(201) / 255, np.zeros(20_000)
    few[random.choice(20_000, 200, replace=False)] = random.integers(1, 201, 200) / 255
    for x in map(np.float32, (ramp, few, np.where(ramp > 0.5, 170, 0) / 255)):
        assert error(x, fmt, Iterative().fit(x, fmt)) <= error(x, fmt, scale)


@given(st.sampled_from(["int4", "int8", "float4_e2m1fn", "nf4"]), st.integers(1, 300), st.integers(0, 99))
def test_to_fit_and_to_quantize_again_changes_nothing(name: str, count: int, seed: int) -> None:
    fmt = load_format(name)
    x = np.random.default_rng(seed).standard_normal(count).astype(np.float32)
    scale = Iterative().fit(x, fmt)
    y = Codec(fmt).fake_quantize(x, scale=scale)
    assert error(y, fmt, Iterative().fit(y, fmt)) <= error(y, fmt, scale)


def test_of_several_scales_without_error_the_least_round_one_wins() -> None:
    assert Iterative().fit([1.0, 2.0], load_format("int4")).value == 0.5


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "weights": {"weights": np.linspace(1, 2, 300)},
    "norm": {"norm": 1.0},
    "scale_format": {"scale_format": "bfloat16"},
    "zero_point": {"zero_point": True},
}


@pytest.mark.parametrize(
    ("name", "option"),
    [("uint16", "weights"), ("uint16", "norm"), ("uint16", "scale_format"), ("int8", "zero_point")],
)
def test_options(name: str, option: str) -> None:
    fmt, scale = load_format(name), np.float32(0.8359375)
    x = on_levels(fmt, 300, scale, 0.75, 1)
    if option == "zero_point":
        x -= 100 * scale
    found = Iterative(**OPTIONS[option]).fit(x, fmt)
    assert error(x, fmt, found) == 0
    assert isinstance(found, Scale)


def test_data_that_were_never_quantized_are_told_at_a_look() -> None:
    for name in ("int4", "int8", "float8_e4m3fn", "nf4"):
        rows = np.random.default_rng(0).standard_normal((200, 512)).astype(np.float32)
        assert not len(may_be_dequantized(rows, levels(load_format(name))))
        rows[7] = on_levels(load_format(name), 512, 0.3, 1, 0)
        assert may_be_dequantized(rows, levels(load_format(name))).tolist() == [7]


def test_of_too_many_levels_for_a_table_any_data_may_be_multiples() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 512)).astype(np.float32)
    assert may_be_dequantized(rows, levels(load_format("int16"))).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", [*NAMES, "int16"])
def test_the_scales_that_a_row_passes_with_do_not_depend_on_other_rows(name: str) -> None:
    """Rows of small integers pass with more scales than are measured, so that more of their elements are tested."""
    fmt = load_format(name)
    rows = np.stack([on_levels(fmt, 500, 0.3 + seed, share, seed) for seed, share in enumerate((0.15, 0.5, 1, 0.3))])
    rows[1, 3:9], rows[2] = np.nan, np.random.default_rng(0).standard_normal(500)
    rows[3, 7:] = rows[3, 0]
    minmax = MinMax().fit(rows, fmt, channel_axis=0).value.ravel().astype(np.float64)
    found = passing(rows, minmax, levels(fmt))
    assert np.isfinite(found[[0, 1, 3], 0]).all()
    for index in range(4):
        (alone,) = passing(rows[[index]], minmax[[index]], levels(fmt))
        np.testing.assert_array_equal(found[index], alone)


@pytest.mark.parametrize("name", ["int4", "float4_e2m1fn", "int8"])
def test_at_its_valley_a_scale_is_the_best_for_the_codes_there(name: str) -> None:
    """MSE(s) = E[x²] − 2·s·A + s²·B is least at A/B."""
    fmt = load_format(name)
    for x in sources(500).values():
        scale = Iterative().fit(x, fmt).value
        codes = Codec(fmt).fake_quantize(x / scale).astype(np.float64)
        best = float(x.astype(np.float64) @ codes / (codes @ codes))
        assert abs(best / scale - 1) <= 2.0**-23
