"""Expected errors of block formats: Monte-Carlo tables, measurements, and what the theory refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import statqat_sim as sqs
from statqat_sim.errors import UnsupportedError
from statqat_sim.prior import Normal, Prior, Scaled, prior_named
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import Overflow
from statqat_sim.theory import ExpectedBlockError, expected_error
from statqat_sim.theory.block_scales import block_scales
from statqat_sim.theory.blocks import largest_magnitudes

GOLDEN = json.loads((Path(__file__).parent / "golden/statistics/optima.json").read_text("utf-8"))
FORMATS = {
    "E2M1": "mxfp4",
    "E2M3": "mxfp6_e2m3",
    "E3M2": "mxfp6_e3m2",
    "E4M3fn": "mxfp8_e4m3",
    "E5M2": "mxfp8_e5m2",
    "int8(sym)": "mxint8",
}
PRIORS = {"gauss": "normal", "laplace": "laplace"}
RULES = ("floor", "ceil", "rceil", "even")


def expected(name: str, prior: Prior | str, *, random_phase: bool = False) -> ExpectedBlockError:
    format = sqs.load_format(name)
    assert isinstance(format, BlockFormat)
    return expected_error(format, prior=prior, random_phase=random_phase)


def profile(name: str, rule: str) -> str:
    return name if rule == "floor" else f"{name}.{rule}"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("source", PRIORS)
@pytest.mark.parametrize("element", FORMATS)
def test_rules_at_a_random_phase(element: str, source: str, rule: str) -> None:
    error = expected(profile(FORMATS[element], rule), PRIORS[source], random_phase=True)
    assert error.sqnr_db == pytest.approx(GOLDEN["blocks"][f"MX|{element}|{source}|B32"][rule], abs=0.03)


@pytest.mark.parametrize("row", GOLDEN["printed_blocks"], ids=lambda row: f"{row['format']}-{row['prior']}")
def test_printed_tables(row: dict[str, str]) -> None:
    for rule in RULES:
        error = expected(profile(row["format"], rule), row["prior"], random_phase=True)
        assert error.sqnr_db == pytest.approx(float(row[rule]), abs=0.013)


@pytest.mark.parametrize("source", PRIORS)
def test_two_levels(source: str) -> None:
    assert expected("nvfp4", PRIORS[source]).sqnr_db == pytest.approx(GOLDEN["nvfp4"][source], abs=0.03)


@pytest.mark.parametrize("prior", ["normal", "laplace"])
@pytest.mark.parametrize(
    "name",
    ["mxfp4", "mxfp4.even", "mxfp8_e4m3", "mxint8.ceil", "nf4_block64", "fp8_block128_deepseek", "msfp12", "nvfp4"],
)
def test_measured_blocks(name: str, prior: str) -> None:
    """Plain, without a phase: half a million inputs, whose SQNR is known to some hundredths of a dB."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal(1 << 19) if prior == "normal" else rng.laplace(0, math.sqrt(0.5), 1 << 19)
    (row,) = sqs.measure(x.astype(np.float32).reshape(-1, 1 << 10), name)
    assert expected(name, prior).sqnr_db == pytest.approx(row["sqnr_db"], abs=0.05)


@pytest.mark.parametrize("name", ["mxfp4", "mxfp4.even", "mxfp4.rceil", "bfp2_b", "msfp12", "nf4_block64", "nvfp4"])
def test_overload_is_the_error_of_clipped_inputs_alone(name: str) -> None:
    x = np.random.default_rng(8).standard_normal((1 << 10, 1 << 9), np.float32)
    format = sqs.load_format(name)
    assert isinstance(format, BlockFormat)
    codec = sqs.Codec(format)
    scale = math.prod(np.asarray(each, np.float64) for each in codec.quantize(x).scale_values())
    scale = np.repeat(scale, x.shape[1] // scale.shape[1], axis=1)
    is_clipped = (x < scale * format.element.min) | (x > scale * format.element.max)
    measured = np.mean(is_clipped * np.square(x - np.float64(codec.fake_quantize(x))))
    assert expected(name, "normal").overload == pytest.approx(measured, rel=0.15, abs=1e-8)


@pytest.mark.parametrize(
    ("random_phase", "prior"), [(False, "student_t(5)"), (True, "student_t(5)"), (True, "logistic")]
)
def test_phases_of_measurements(random_phase: bool, prior: str) -> None:
    rng = np.random.default_rng(9)
    source = {
        "student_t(5)": stats.t(5, scale=math.sqrt(0.6)),
        "logistic": stats.logistic(scale=math.sqrt(3) / math.pi),
    }[prior]
    x = source.rvs(1 << 19, random_state=rng).astype(np.float32).reshape(-1, 1 << 10)
    (row,) = sqs.measure(x, "mxfp4", random_phase=random_phase)
    assert expected("mxfp4", prior, random_phase=random_phase).sqnr_db == pytest.approx(row["sqnr_db"], abs=0.05)


def test_ranges_of_fixed_phases() -> None:
    """Stretching the inputs moves the phase: the mean over it lies between the best and the worst."""
    for source in PRIORS:
        figures = GOLDEN["phases"][source]["floor"]
        at = [expected("mxfp4", Scaled(prior_named(PRIORS[source]), 2 ** (k / 8))).sqnr_db for k in range(8)]
        assert min(at) == pytest.approx(figures["min"], abs=0.05)
        assert max(at) == pytest.approx(figures["max"], abs=0.05)
        mean = expected("mxfp4", PRIORS[source], random_phase=True).sqnr_db
        assert min(at) < mean < max(at)


@pytest.mark.parametrize("name", ["int4(sym)", "E2M1", "NF4", "int8(sym)"])
@pytest.mark.parametrize("source", PRIORS)
def test_groups_of_4096_by_their_largest_magnitude(name: str, source: str) -> None:
    element = {"int4(sym)": "int4_narrow", "E2M1": "float4_e2m1fn", "NF4": "nf4", "int8(sym)": "int8_narrow"}[name]
    format = sqs.parse_format(f"{{name: groups, element: {element}, scales: [{{format: float32, block: 4096}}]}}")
    assert isinstance(format, BlockFormat)
    error = expected_error(format, prior=PRIORS[source])
    assert error.sqnr_db == pytest.approx(GOLDEN["formats"][name][source]["minmax_db"], abs=0.02)


# --- what must hold ----------------------------------------------------------------------------------------------


def test_largest_magnitudes_have_their_distribution() -> None:
    amax, weights = largest_magnitudes(Normal(), 32, 4096)
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    cdf = (2 * stats.norm.cdf(amax) - 1) ** 32
    assert float(weights @ (cdf < 0.3)) == pytest.approx(0.3, abs=1e-3)
    sampled = np.abs(np.random.default_rng(0).standard_normal((20000, 32))).max(axis=1)
    assert float(weights @ amax) == pytest.approx(sampled.mean(), rel=0.01)


def test_doubling_the_inputs_doubles_all() -> None:
    plain, double = expected("mxfp4", "laplace"), expected("mxfp4", Scaled(prior_named("laplace"), 2))
    assert double.mse == pytest.approx(4 * plain.mse, rel=1e-6)
    assert 0 < plain.overload < plain.mse
    assert plain.granular == plain.mse - plain.overload


def test_zeros_have_no_error() -> None:
    x = np.maximum(np.random.default_rng(3).standard_normal(1 << 19), 0).astype(np.float32)
    (row,) = sqs.measure(x.reshape(-1, 1 << 10), "mxfp8_e4m3")
    assert expected("mxfp8_e4m3", "half_normal").sqnr_db == pytest.approx(row["sqnr_db"], abs=0.05)


def test_scales_commute_with_doubling() -> None:
    format = sqs.load_format("mxfp4")
    assert isinstance(format, BlockFormat)
    scales = block_scales(format)
    amax = np.array([0.7, 1.0, 1.4, 5.9, 6.1])
    assert (scales.scale(2 * amax) == 2 * scales.scale(amax)).all()
    np.testing.assert_array_equal(scales.scale(amax), [0.125, 0.25, 0.25, 1, 1])
    assert scales.size == 32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mxfp4.mse", "mxfp4.mse: expected error of rule mse; allowed: one scale by rule absmax, floor, ceil"),
        ("mx9", "of 2 levels of scales; allowed"),
        ("gguf_q4_1", "of offsets; allowed"),
        ("gguf_q8_0", "of quotient: unrounded"),
        ("nvfp4.mse", "of rule mse"),
    ],
)
def test_what_the_theory_refuses(name: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        expected(name, "normal")


def test_elements_that_wrap_are_refused() -> None:
    format = sqs.load_format("mxint8")
    assert isinstance(format, BlockFormat)
    encode = format.element.encode.model_copy(update={"overflow": Overflow.WRAP})
    wrapping = format.model_copy(update={"element": format.element.model_copy(update={"encode": encode})})
    with pytest.raises(UnsupportedError, match="mxint8: expected error of overflow: wrap"):
        expected_error(wrapping, prior="normal")


def test_blocks_take_no_scale() -> None:
    format = sqs.load_format("mxfp4")
    with pytest.raises(ValueError, match="mxfp4 finds its own scales; allowed: no scale"):
        expected_error(format, prior="normal", scale=1.0)  # type: ignore[call-overload]
