"""`measure` on block formats: against float64 arithmetic over the whole array, and against published means."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import statqat_sim as sqs
from statqat_sim.measurement import measure
from statqat_sim.quantizer.measured import CHUNK

FORMATS = ("mxfp4", "nvfp4", "mxfp8_e4m3", "gguf_q4_0", "gguf_q4_k", "hif4", "mx6", "fp8_block128x128_deepseek")
BITS = (4.25, 4.5, 8.25, 4.5, 4.5, 4.5, 6, 8 + 32 / 128**2)


def data(*shape: int, seed: int = 6) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def expected(x: Any, name: str, axis: int = -1) -> dict[str, float]:
    """The row's numbers, from the whole array at once."""
    codec = sqs.Codec(sqs.load_format(name))
    q = codec.quantize(x, axis=axis)
    wide, error = x.astype(np.float64), x.astype(np.float64) - codec.dequantize(q)
    shares = np.unique(q.codes, return_counts=True)[1] / x.size
    return {
        "sqnr_db": 10 * np.log10(np.sum(wide**2) / np.sum(error**2)),
        "mse": float(np.mean(error**2)),
        "max_error": float(abs(error).max()),
        "power": float(np.mean(wide**2)),
        "flushed_fraction": float(np.mean((x != 0) & (codec.dequantize(q) == 0))),
        "entropy_bits": -float(np.sum(shares * np.log2(shares))),
    }


@pytest.mark.parametrize(("name", "bits"), list(zip(FORMATS, BITS, strict=True)))
def test_a_row_of_a_block_format(name: str, bits: float) -> None:
    x = data(300, CHUNK // 256)
    (row,) = measure(x, name, ["minmax"])
    numbers = expected(x, name)
    assert {key: row[key] for key in numbers} == pytest.approx(numbers, rel=1e-12)
    assert row["bits_per_element"] == bits
    assert (row["format"], row["scale"], row["elements"], row["nonfinite"]) == (name, None, x.size, 0)
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_the_quantizer_is_the_format_s_rule() -> None:
    names = ["mxfp4", "mxfp4.rceil", "nvfp4", "nvfp4.mse", "gguf_q4_0", "mx6", "int4"]
    rows = measure(data(8, 64), names, [sqs.MinMax(), "minmax"])
    found = [(row["format"], row["quantizer"]) for row in rows]
    rules = ["floor", "rceil", "absmax", "mse", "signed_absmax", "floor"]
    assert found == [*zip(names, rules, strict=False), ("int4", "MinMax()"), ("int4", "minmax")]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_blocks_along_an_axis(axis: int) -> None:
    x = data(70, 45) * np.exp2(np.arange(45) % 7).astype(np.float32)
    (row,) = measure(x, "mxfp4", axis=axis)
    numbers = expected(x, "mxfp4", axis)
    assert {key: row[key] for key in numbers} == pytest.approx(numbers, rel=1e-12)


def test_what_is_clipped_lies_beyond_the_largest_element() -> None:
    x = np.zeros((4, 32), np.float32)
    x[0, :3] = 6, 7.9, -7.9  # floor: scale 1
    x[1, :2] = 4, 6.5
    x[2, :3] = -3.5, 3, 1.75
    assert measure(x, "mxfp4")[0]["clipped_fraction"] == 4 / 128
    assert measure(x, "mxfp4.ceil")[0]["clipped_fraction"] == 0
    negative = np.float32([[-8, 8.5, 7.6] + [0] * 29])
    # the scale is 8.5 / -8: elements from -8 to 7 stand for 8.5 to -7.4
    assert measure(negative, "gguf_q4_0")[0]["clipped_fraction"] == 1 / 32


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "gguf_q4_0", "gguf_q4_k"])
def test_nan_and_inf_count_as_missing(name: str) -> None:
    x = data(4, 512)
    whole = measure(x, name)[0]
    wide = np.concatenate([x, np.full((4, 256), np.nan, np.float32)], axis=1)  # whole blocks beside
    wide[0, 520], wide[1, 530] = np.inf, -np.inf
    (row,) = measure(wide, name)
    assert row["nonfinite"] == 1024
    assert row["mse"] == pytest.approx(whole["mse"], rel=1e-12)
    x[:, ::16] = np.nan
    (row,) = measure(x, name)
    assert row["nonfinite"] == 128
    assert row["sqnr_db"] is not None
    assert row["sqnr_db"] > 15


def test_a_format_that_refuses_nan() -> None:
    text = "name: f\nelement: int4\nencode: {nan_input: error}\nscales: [{format: float32, block: 8}]"
    x = data(4, 64)
    x[0, 3] = np.nan
    assert measure(x, sqs.parse_format(text))[0]["nonfinite"] == 1


def test_a_given_scale_is_that_of_the_outermost_level() -> None:
    x = data(8, 64)
    (row,) = measure(x, "nvfp4", scale=0.01)
    y = sqs.Codec(sqs.load_format("nvfp4")).fake_quantize(x, scale=0.01)
    assert (row["quantizer"], row["scale"]) == ("given", float(np.float32(0.01)))
    assert row["mse"] == pytest.approx(sqs.mse(x, y), rel=1e-12)


def test_given_scales_are_told() -> None:
    x = data(2, 64)
    scales = np.float32([[0.25, 0.5], [1, 2]])
    (row,) = measure(x, "mxfp4", scale=scales)
    assert row["scale"] == [0.25, 0.5, 1, 2]
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    (row,) = measure(x, "gguf_q4_0", scale=-0.5)
    assert row["scale"] == -0.5
    y = sqs.Codec(sqs.load_format("gguf_q4_0")).fake_quantize(x, scale=-0.5)
    assert row["mse"] == pytest.approx(sqs.mse(x, y), rel=1e-12)


def test_stochastic_rounding_has_a_seed() -> None:
    stochastic = sqs.parse_format("name: sr\nextends: mxfp4\nencode: {rounding: stochastic_b}")
    x = data(8, 64)
    first, again, other = (measure(x, stochastic, seed=seed)[0]["mse"] for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("x", [np.zeros((0, 4), np.float32), np.float32([[np.nan, np.inf]]), np.float32(np.nan)])
def test_nothing_to_measure_is_none(x: Any) -> None:
    for phase in (False, True):
        (row,) = measure(x, "mxfp4", random_phase=phase)
        undefined = ("sqnr_db", "mse", "max_error", "clipped_fraction", "flushed_fraction", "entropy_bits", "power")
        assert all(row[key] is None for key in undefined)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axis": 2}, r"w: axis is 2; allowed: -2 to 1 for shape \(2, 3\)"),
        (
            {"formats": "fp8_block128x128_deepseek", "x": {"b": data(3)}},
            "b: .*: blocks of two axes lie in the last two",
        ),
        ({"random_phase": True, "seed": -1}, r"w: seed is -1; allowed: 0 to 2\^64 - 1"),
        ({"scale": -1.0}, "w: scale is negative; allowed for mxfp4: 0 and above"),
        ({"scale": -1.0, "formats": ["gguf_q4_0", "int4"]}, "a scale is -1.0; allowed"),
        ({"scale": np.inf}, "w: scale has infinite values; allowed: finite ones"),
        ({"scale": np.float32([1, 2, 3, 4])}, "w: .*shape"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(**{"x": {"w": data(2, 3)}, "formats": "mxfp4", **arguments})


def test_minmax_fits_number_formats_alone() -> None:
    with pytest.raises(TypeError, match="mxfp4 is a block format, which finds its own scales; allowed: a NumberFormat"):
        sqs.MinMax().fit(data(3), sqs.load_format("mxfp4"))


# --- random phases -----------------------------------------------------------------------------------------------


def test_phases_by_hand() -> None:
    x = data(6, 70)
    phases = np.exp2(np.random.default_rng(5).random((6, 3))).astype(np.float32).repeat(32, 1)[:, :70]
    y = sqs.Codec(sqs.load_format("mxfp4")).fake_quantize(x * phases)
    original, error = (each.astype(np.float64) / phases for each in (x * phases, x * phases - y.astype(np.float64)))
    (row,) = measure(x, "mxfp4", random_phase=True, seed=5)
    assert row["mse"] == pytest.approx(np.mean(error**2), rel=1e-12)
    assert row["power"] == pytest.approx(np.mean(original**2), rel=1e-12)
    assert row["max_error"] == pytest.approx(abs(error).max(), rel=1e-12)
    assert row["sqnr_db"] == pytest.approx(10 * np.log10(np.sum(original**2) / np.sum(error**2)), rel=1e-12)
    assert measure(x, "mxfp4", random_phase=True, seed=5) == [row] != measure(x, "mxfp4", random_phase=True, seed=6)


@pytest.mark.parametrize("name", [*FORMATS, "fp8_block128_deepseek"])
@pytest.mark.parametrize("shape", [(140, 150), (3, 5, 33), (300, 1)])
def test_phases_of_every_geometry(name: str, shape: tuple[int, ...]) -> None:
    x = data(*shape)
    for axis in (-1, -2):
        (row,) = measure(x, name, axis=axis, random_phase=True)
        assert row["power"] == pytest.approx(np.mean(x.astype(np.float64) ** 2), rel=1e-6)
        assert row["sqnr_db"] is not None
        assert row["sqnr_db"] > 10


def test_number_formats_have_no_phases() -> None:
    x = data(8, 64)
    assert measure(x, "int8", random_phase=True) == measure(x, "int8")


RULES = ("", ".ceil", ".rceil", ".even", ".mse")
PHASES = {
    ("mxfp4", "normal"): (18.745, 17.018, 18.645, 18.995, 19.031),
    ("mxfp4", "laplace"): (17.970, 15.415, 17.572, 18.150, 18.235),
    ("mxfp8_e4m3", "normal"): (30.481, 31.537, 31.537, 31.069, 31.537),
    ("mxint8_narrow", "normal"): (42.020, 36.002, 41.953, 41.989, 42.085),
}
"""SQNR in dB, of an independent program: means over the phase of the scale, with standard errors up to 0.004."""

PLAIN = {
    "nvfp4": (20.44, 20.67),
    "nvfp4.four_over_six": (21.21, 21.20),
    "nvfp4.mse": (21.77, 21.66),
}
"""SQNR in dB, of normal and of Laplace data, of the same program."""

NARROW = "name: f\nelement: {kind: int, bits: 8, fraction_bits: 6, min: -127, max: 127}\nscales: [{%s}]"


def source(name: str) -> Any:
    """2^20 values of unit variance: of such a mean the standard error is about 0.005 dB."""
    random = np.random.default_rng(21)
    x = random.standard_normal((1024, 1024)) if name == "normal" else random.laplace(0, 0.5**0.5, (1024, 1024))
    return x.astype(np.float32)


def narrow(rule: str) -> Any:
    """MXINT8 without -128, by one of the rules."""
    target = "" if rule == "rceil" else ", target: emax"
    return sqs.parse_format(NARROW % f"format: float8_e8m0fnu, block: 32, rule: {rule}{target}")


@pytest.mark.parametrize(("name", "kind"), PHASES)
def test_means_over_the_phase(name: str, kind: str) -> None:
    if name == "mxint8_narrow":
        formats = [narrow(rule.removeprefix(".") or "floor") for rule in RULES]
    else:
        formats = [sqs.load_format(name + rule) for rule in RULES]
    rows = measure(source(kind), formats, random_phase=True)
    assert [row["sqnr_db"] for row in rows] == pytest.approx(PHASES[name, kind], abs=0.03)


@pytest.mark.parametrize("name", PLAIN)
def test_two_levels(name: str) -> None:
    rows = measure({kind: source(kind) for kind in ("normal", "laplace")}, name)
    assert [row["sqnr_db"] for row in rows] == pytest.approx(PLAIN[name], abs=0.03)


def test_a_callers_seterr_does_not_matter() -> None:
    x = data(4, 64) * np.float32(1e-36)
    for phase in (False, True):
        with np.errstate(all="raise"):
            rows = measure(x, FORMATS, random_phase=phase)
        assert rows == measure(x, FORMATS, random_phase=phase)
    x.view(np.uint32)[0, 0] = 0x7F800001  # a signalling NaN
    with np.errstate(all="raise"):
        assert [row["nonfinite"] for row in measure(x, FORMATS, random_phase=True)] == [1] * len(FORMATS)
