"""Iterative on channels of a few elements: the best of all scales, and the same for a channel alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brute_force import drawn
from numpy.typing import NDArray

from statqat_sim import Codec, MinMax, load_format, parse_format
from statqat_sim.plan.row_scan import BEYOND_MINMAX, ROUNDINGS, SHORTEST
from statqat_sim.quantizer import Iterative
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.spec.number import NumberFormat

NAMES = ("int2", "int4", "int4_narrow", "int8", "uint4", "uint8", "float4_e2m1fn", "float6_e3m2fn", "float8_e4m3fn")
NAMES += ("float8_e5m2", "float8_e8m0fnu", "nf4", "iq4_nl", "ternary_b158", "ue4m3", "p3109_binary8p1se", "q4_offset8")
FORMATS = [pytest.param(load_format(name), id=name) for name in NAMES]

WIDE = [pytest.param(load_format(name), id=name) for name in ("int16", "float16_arm_alt")]


def channels(width: int) -> NDArray[np.float32]:
    """Channels of many distributions: with few values, without negative ones, and nearly constant, too."""
    random = np.random.default_rng(width)
    few = random.integers(-5, 6, (2, width)) * 0.3
    alike = 1 + 1e-4 * random.standard_normal((2, width))
    rows = [values.reshape(2, width) for values in drawn(2 * width, seed=width).values()]
    made = np.concatenate([*rows, few, alike, -alike]).astype(np.float32)
    return made[made.any(axis=1)]


def roots(x: NDArray[np.float32], format: NumberFormat, scales: NDArray[Any]) -> NDArray[np.float64]:
    """The measured root of the error of each row."""
    y = Codec(format).fake_quantize(x, scale=scales.reshape(-1, 1))
    return np.sqrt(np.square(x.astype(np.float64) - y).sum(1))


def slack(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """What float32's rounding of scales and products may add to a root."""
    return ROUNDINGS * np.sqrt(np.square(x.astype(np.float64)).sum(1))


def least_root(x: NDArray[np.float32], values: NDArray[np.float64], largest_scale: float) -> float:
    """The least root of the error of a row, of all scales up to one: from every interval in which no value changes."""
    wide, ties = x.astype(np.float64), (values[1:] + values[:-1]) / 2
    with np.errstate(divide="ignore"):
        bounds = (wide[:, None] / ties[ties != 0]).ravel()
    bounds = np.unique(np.append(bounds[(bounds > 0) & (bounds < largest_scale)], largest_scale))
    within = np.append(bounds[:1] / 2, (bounds[1:] + bounds[:-1]) / 2)
    chosen = values[np.searchsorted(ties, wide / within[:, None])]
    a, b = chosen @ wide, np.square(chosen).sum(1)
    best = np.clip(np.divide(a, b, out=np.zeros_like(a), where=b > 0), 0, None)
    return float(np.sqrt(np.square(wide - best[:, None] * chosen).sum(1).min()))


@pytest.mark.parametrize("x", [[-1.65], [0.0, 0.0, -1.65, 0.254], [-3.0, -2.0], [1.0, -9.0, 2.0]])
@pytest.mark.parametrize("values", [[32, 89], [-89, -32]])
def test_formats_of_one_sign_without_zero_are_searched(x: list[float], values: list[float]) -> None:
    """The error may fall with the scale, down to the smallest: sweeps begin where values change."""
    format = parse_format(f"{{name: one_sided, element: {{kind: codebook, bits: 1, values: {values}}}}}")
    assert isinstance(format, NumberFormat)
    rows = np.float32([x, x])
    found = Iterative().fit(rows, format, channel_axis=0).value
    searched = Chooser.fit(Iterative(), rows, format, channel_axis=0).value
    assert (roots(rows, format, found) <= roots(rows, format, searched) + slack(rows)).all()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("width", [1, 2, 3, 5, 9, 25])
def test_no_scale_is_better(format: NumberFormat, width: int) -> None:
    x = channels(width)
    found = roots(x, format, Iterative().fit(x, format, channel_axis=0).value)
    minmax = MinMax().fit(x, format, channel_axis=0).value.ravel().astype(np.float64)
    least = [least_root(row, format.grid(), BEYOND_MINMAX * scale) for row, scale in zip(x, minmax, strict=True)]
    assert (found <= least + slack(x)).all()


@pytest.mark.parametrize("format", [*FORMATS, *WIDE])
@pytest.mark.parametrize("width", [1, 7, 49, SHORTEST - 1])
def test_the_search_of_a_histogram_finds_no_better_scale(format: NumberFormat, width: int) -> None:
    """`Chooser` fits each channel by itself, as if no kernel swept rows."""
    x = channels(width)[:: 4 if format.bits > 8 else 2 if width > 9 else 1]
    found = Iterative().fit(x, format, channel_axis=0).value
    scanned = Chooser.fit(Iterative(), x, format, channel_axis=0).value
    assert (roots(x, format, found) <= roots(x, format, scanned) + slack(x)).all()


@pytest.mark.parametrize("format", FORMATS)
def test_never_worse_than_minmax(format: NumberFormat) -> None:
    x = channels(SHORTEST - 1)
    found, minmax = (quantizer.fit(x, format, channel_axis=0).value for quantizer in (Iterative(), MinMax()))
    assert (roots(x, format, found) <= roots(x, format, minmax)).all()


@pytest.mark.parametrize("name", ["int8", "float8_e4m3fn", "nf4"])
def test_a_channel_has_the_scale_of_its_own(name: str) -> None:
    """Alone, in other company, and beside non-finite elements, zeros and magnitudes beyond what is swept."""
    fmt, x = load_format(name), channels(9)
    x[0], x[1, :8], x[2, 3], x[3] = 0, np.nan, -np.inf, x[3] * np.float32(1e-40)
    x[4] *= np.float32(1e37)
    found = Iterative().fit(x, fmt, channel_axis=0).value.ravel()
    assert found[0] == 1
    for row, scale in zip(x, found, strict=True):
        assert Iterative().fit(row, fmt).value.item() == scale
        assert Iterative().fit(row[np.isfinite(row)], fmt).value.item() == scale
    np.testing.assert_array_equal(Iterative().fit(x[::-2], fmt, channel_axis=0).value.ravel(), found[::-2])
    assert Iterative().fit(x[:, :0], fmt, channel_axis=0).value.tolist() == [[1.0]] * len(x)


@pytest.mark.parametrize("name", ["int4", "int8", "float8_e4m3fn", "nf4"])
@pytest.mark.parametrize("width", [1, 4, 15, 16, 17, 200])
def test_dequantized_channels_keep_their_values(name: str, width: int) -> None:
    fmt, random = load_format(name), np.random.default_rng(width)
    grid = fmt.grid().astype(np.float32)
    made_with = np.exp(random.standard_normal(40)).astype(np.float32)[:, None]
    codes = random.integers(0, len(grid), (40, width))
    codes[:, 0] = len(grid) - 1  # one that only a scale of its own fits
    x = grid[codes] * made_with
    found = Iterative().fit(x, fmt, channel_axis=0).value
    assert not roots(x, fmt, found).any()
