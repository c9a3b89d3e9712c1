"""`rank`: its order and its front, and its scores against data that are quantized at the scales it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statqat_sim as sqs
from statqat_sim.ranking import RankRow, catalog_formats, in_order

NAMES = [
    "int2", "int4", "int4_narrow", "uint4", "int8", "int16", "nf4", "float4_e2m1fn", "float8_e4m3fn", "float8_e5m2",
    "bfloat16", "float16", "posit8", "takum8", "lns8", "hif8", "ternary_b158",
]  # fmt: skip
BLOCKS = ["mxfp4", "nvfp4", "gguf_q4_1", "bfp8_b"]


def drawn(kind: str, *shape: int) -> Any:
    random = np.random.default_rng(11)
    x = {"normal": random.standard_normal, "laplace": lambda size: random.laplace(size=size)}.get(kind)
    values = random.lognormal(size=shape) if x is None else x(shape)
    return values.astype(np.float32)


def by_format(rows: list[RankRow]) -> dict[str, RankRow]:
    return {row["format"]: row for row in rows}


def made_up(name: str, bits: float, sqnr_db: float | None, mse: float | None = 1.0) -> RankRow:
    return {
        "tensor": "x", "format": name, "kind": "number", "bits_per_element": bits, "sqnr_db": sqnr_db, "mse": mse,
        "power": 1.0, "scale": 1.0, "front": False, "elements": 1, "nonfinite": 0,
    }  # fmt: skip


# --- order -------------------------------------------------------------------------------------------------------


def test_the_front_is_what_no_other_beats() -> None:
    rows = [
        made_up("undefined", 1, None, None), made_up("most", 8, 40), made_up("as_good", 8, 40), made_up("less", 8, 39),
        made_up("few", 2, 9), made_up("beaten", 3, 9), made_up("middle", 4, 20), made_up("wide", 16, 40),
    ]  # fmt: skip
    ordered = in_order(rows)
    assert [row["format"] for row in ordered] == [
        "as_good", "most", "wide", "less", "middle", "few", "beaten", "undefined",
    ]  # fmt: skip
    assert {row["format"] for row in ordered if row["front"]} == {"as_good", "most", "middle", "few"}


def test_without_any_error_is_better_than_all() -> None:
    ordered = in_order([made_up("good", 4, 99), made_up("exact", 8, None, 0.0), made_up("also", 16, None, 0.0)])
    assert [(row["format"], row["front"]) for row in ordered] == [("exact", True), ("also", False), ("good", True)]


@pytest.mark.parametrize("kind", ["normal", "laplace", "lognormal"])
def test_the_front_is_the_definition_s(kind: str) -> None:
    rows = sqs.rank(drawn(kind, 64, 256), NAMES + BLOCKS)
    ratios = [-np.inf if row["sqnr_db"] is None else row["sqnr_db"] for row in rows]
    assert ratios == sorted(ratios, reverse=True)
    points = [(row["bits_per_element"], ratio) for row, ratio in zip(rows, ratios, strict=True)]
    for row, (bits, ratio) in zip(rows, points, strict=True):
        beaten = any(b <= bits and r >= ratio and (b, r) != (bits, ratio) for b, r in points)
        assert row["front"] is not beaten, row["format"]


# --- scores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "laplace", "lognormal"])
def test_scores_are_what_the_scales_make_of_the_data(kind: str) -> None:
    x = drawn(kind, 256, 1024)
    for row in sqs.rank(x, NAMES):
        measured = sqs.measure(x, row["format"], scale=row["scale"])[0]
        assert row["sqnr_db"] == pytest.approx(measured["sqnr_db"], abs=0.06), row["format"]
        assert row["power"] == pytest.approx(measured["power"], rel=1e-3)


@pytest.mark.parametrize("name", ["int4", "nf4", "float4_e2m1fn", "float8_e4m3fn", "posit8"])
def test_scales_are_as_good_as_those_of_the_data_themselves(name: str) -> None:
    x = drawn("laplace", 1 << 16)
    (row,) = sqs.rank(x, name)
    best, minmax = sqs.measure(x, name, ["iterative", "minmax"])
    measured = sqs.measure(x, name, scale=row["scale"])[0]
    assert measured["sqnr_db"] > best["sqnr_db"] - 0.05  # few elements: one scale fits some of them by chance
    assert measured["sqnr_db"] >= minmax["sqnr_db"]


def test_block_formats_are_measured() -> None:
    x = drawn("normal", 32, 96)
    rows = by_format(sqs.rank({"w": x}, [*BLOCKS, "int8"], axis=0))
    for measured in sqs.measure({"w": x}, BLOCKS, axis=0):
        row = rows[measured["format"]]
        assert (row["kind"], row["scale"], row["tensor"]) == ("block", None, "w")
        assert row["sqnr_db"] == pytest.approx(measured["sqnr_db"], abs=1e-9)
        for key in ("mse", "power", "bits_per_element", "elements", "nonfinite"):
            assert row[key] == measured[key]  # type: ignore[literal-required]
    assert rows["int8"]["kind"] == "number"


def test_random_rounding_is_measured() -> None:
    x = drawn("normal", 1 << 14)
    random = sqs.parse_format("{name: sr, extends: int4, encode: {rounding: stochastic_a}}")
    (row,) = sqs.rank(x, random)
    assert row["mse"] == sqs.measure(x, random, scale=row["scale"])[0]["mse"]
    assert row["sqnr_db"] < sqs.rank(x, "int4")[0]["sqnr_db"] - 1
    weighted = sqs.rank(x, random, weights=np.ones(1))[0]
    assert weighted["sqnr_db"] == pytest.approx(row["sqnr_db"], abs=1e-4)  # the same draws


def test_a_scale_for_each_channel() -> None:
    x = drawn("normal", 8, 512) * np.float32(2.0) ** np.arange(8, dtype=np.float32)[:, None]
    rows = by_format(sqs.rank(x, ["int4", "mxfp4"], per="channel"))
    measured = sqs.measure(x, "int4", "iterative", per="channel")[0]
    assert (rows["int4"]["scale"], rows["int4"]["mse"]) == (measured["scale"], measured["mse"])
    assert rows["int4"]["sqnr_db"] > sqs.rank(x, "int4")[0]["sqnr_db"] + 1
    assert rows["mxfp4"] == {**sqs.rank(x, "mxfp4")[0], "front": rows["mxfp4"]["front"]}
    assert isinstance(sqs.rank(x[0], "int4", per="channel")[0]["scale"], float)


# --- weights -----------------------------------------------------------------------------------------------------


def weighted_db(x: Any, y: Any, w: Any) -> float:
    wide = x.astype(np.float64)
    return float(10 * np.log10(np.sum(w * wide**2) / np.sum(w * (wide - y) ** 2)))


def test_weights_of_one_change_nothing() -> None:
    x = drawn("laplace", 256, 512)
    plain, weighted = (by_format(sqs.rank(x, NAMES + BLOCKS, weights=each)) for each in (None, np.ones(512)))
    for name, row in plain.items():
        # the histogram also knows which bins hold one element, and these exactly
        assert weighted[name]["sqnr_db"] == pytest.approx(row["sqnr_db"], abs=0.05), name


def test_errors_count_by_their_weights() -> None:
    x = drawn("normal", 64, 512)
    x[:, 256:] *= 8
    w = np.where(np.arange(512) < 256, 100.0, 0.01)
    rows = by_format(sqs.rank({"w": x}, ["int4", "nf4", "mxfp4"], weights={"w": w}))
    plain = by_format(sqs.rank(x, ["int4", "nf4"]))
    for name in ("int4", "nf4"):
        codec, scale = sqs.Codec(sqs.load_format(name)), rows[name]["scale"]
        assert rows[name]["sqnr_db"] == pytest.approx(weighted_db(x, codec.fake_quantize(x, scale=scale), w), abs=0.03)
        assert scale < plain[name]["scale"] / 3
    y = sqs.Codec(sqs.load_format("mxfp4")).fake_quantize(x)
    assert rows["mxfp4"]["sqnr_db"] == pytest.approx(weighted_db(x, y, w), abs=1e-9)


def test_what_is_not_finite_has_no_weight() -> None:
    x = drawn("normal", 8, 64)
    x[0, :3] = np.nan, np.inf, -np.inf
    rows = sqs.rank(x, ["int4", "mxfp4"], weights=np.ones(64))
    assert all((row["elements"], row["nonfinite"]) == (512, 3) and row["sqnr_db"] > 15 for row in rows)


# --- degenerate data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [np.zeros(0), np.float32([np.nan, np.inf])])
def test_nothing_to_score(x: Any) -> None:
    for row in sqs.rank(x, ["int4", "nf4", "mxfp4"]):
        assert (row["sqnr_db"], row["mse"], row["front"]) == (None, None, False)


def test_zeros_are_exact() -> None:
    rows = by_format(sqs.rank(np.zeros(7), ["int4", "mxfp4", "binary1_pm1"]))
    assert (rows["int4"]["mse"], rows["int4"]["scale"], rows["int4"]["front"]) == (0, 1, True)
    assert rows["mxfp4"]["mse"] == 0
    assert rows["binary1_pm1"]["mse"] > 0


# --- formats -----------------------------------------------------------------------------------------------------


def test_the_catalog_without_profiles_and_wide_formats() -> None:
    names = {format.name for format in catalog_formats()}
    assert {"int4", "bfloat16", "mxfp4", "nvfp4"} < names
    assert not {name for name in names if "." in name}
    assert not names & {"float32", "tf32", "fp24_amd"}
    assert names == {format.name for kind in ("number", "block") for format in catalog_formats(kind)}  # type: ignore[arg-type]
    assert len(names) > 150


def test_formats_beyond_float32_are_ranked_only_if_named(tmp_path: Path) -> None:
    element = "{kind: float, exponent_bits: 4, mantissa_bits: 3, bias: -1000}"
    (tmp_path / "far.yaml").write_text(f"name: far\nelement: {element}\n")
    assert "far" not in {format.name for format in catalog_formats(search=tmp_path)}
    with pytest.raises(sqs.UnsupportedError, match="far has no value that float32 holds"):
        sqs.rank(drawn("normal", 64), ["int4", "far"], search=tmp_path)


def test_named_formats_of_one_kind() -> None:
    x = drawn("normal", 64)
    assert [row["format"] for row in sqs.rank(x, ["int4", "mxfp4"], kind="block")] == ["mxfp4"]
    assert {row["kind"] for row in sqs.rank(x, kind="block")} == {"block"}


def test_blocks_that_do_not_fit_are_left_out_unless_named() -> None:
    x = drawn("normal", 64)
    assert "nvfp4_2d" not in by_format(sqs.rank(x, kind="block"))
    assert "nvfp4_2d" in by_format(sqs.rank(x.reshape(8, 8), kind="block"))
    with pytest.raises(ValueError, match="x"):
        sqs.rank(x, "nvfp4_2d")


def test_users_errors() -> None:
    x = drawn("normal", 4, 8)
    with pytest.raises(LookupError, match="no format is named 'nf5'; did you mean 'nf4'"):
        sqs.rank(x, "nf5")
    with pytest.raises(sqs.UnsupportedError, match="float32: .*allowed: formats of up to 16 bits"):
        sqs.rank(x, "float32")
    with pytest.raises(ValueError, match=r"kind is 'blok'; did you mean 'block'\? \(allowed: number, block\)"):
        sqs.rank(x, kind="blok")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"kind is 5 \(allowed: number, block\)"):
        sqs.rank(x, kind=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind is 'numbr'"):
        sqs.rank(x, "int4", kind="numbr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"per is 'row' \(allowed: tensor, channel\)"):
        sqs.rank(x, "int4", per="row")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"x: weights have shape \(3,\); allowed: shapes that broadcast to \(4, 8\)"):
        sqs.rank(x, "int4", weights=np.ones(3))
    with pytest.raises(ValueError, match="negative or not finite"):
        sqs.rank(x, "int4", weights=-np.ones(8))
    with pytest.raises(LookupError, match="no weights are named 'x'"):
        sqs.rank(x, "int4", weights={"y": np.ones(8)})
    with pytest.raises(ValueError, match="weights with per='tensor'"):
        sqs.rank(x, "int4", weights=np.ones(8), per="channel")
    with pytest.raises(TypeError, match="x"):
        sqs.rank("text", "int4")


# --- names of quantizers -----------------------------------------------------------------------------------------


def test_a_quantizer_shows_what_differs_from_its_defaults() -> None:
    shown = {
        sqs.MinMax(): "MinMax()",
        sqs.MinMax(scale_format="float8_e4m3fn"): "MinMax(scale_format='float8_e4m3fn')",
        sqs.Iterative(): "Iterative()",
        sqs.Iterative(norm=2.5): "Iterative(norm=2.5)",
        sqs.Analytic("laplace"): "Analytic(prior='laplace')",
        sqs.Search(): "Search()",
    }
    assert {repr(quantizer): text for quantizer, text in shown.items()} == {text: text for text in shown.values()}
    assert repr(sqs.Iterative(weights=np.ones(2))) == "Iterative(weights=array([1., 1.]))"


def test_a_callers_seterr_does_not_matter() -> None:
    x = drawn("normal", 40, 30) * np.float32(1e-37)
    for weights in (None, np.full(30, 1e-30)):
        with np.errstate(all="raise"):
            rows = sqs.rank(x, NAMES, weights=weights)
        assert rows == sqs.rank(x, NAMES, weights=weights)
