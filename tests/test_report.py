"""Tables and pictures: tensors taken together, numbers in words, labels that do not touch, files that are whole."""

from __future__ import annotations

import io
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import statqat_sim as sqs
from statqat_sim.atomic import replacing
from statqat_sim.measurement import Row, measure
from statqat_sim.report.curves import AxisScale, Curves
from statqat_sim.report.error_plot import apart, plot_errors
from statqat_sim.report.errors import error_table
from statqat_sim.report.facts import facts, number, value_table
from statqat_sim.report.format_plot import plot_format
from statqat_sim.report.listing import COLUMNS, markdown_table
from statqat_sim.report.pool import by_format, pooled

FORMATS = ["int8", "float8_e4m3fn", "nf4"]


def tensors() -> dict[str, Any]:
    random = np.random.default_rng(8)
    return {
        "a": random.standard_normal((30, 40)).astype(np.float32),
        "b": 5 * random.laplace(size=700).astype(np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }


def printed(table: Any, width: int = 500) -> str:
    text = io.StringIO()
    Console(file=text, width=width, markup=False).print(table)
    return text.getvalue()


# --- many tensors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_tensors_taken_together_are_as_one(name: str) -> None:
    x = tensors()
    row = pooled(measure(x, name))
    whole = np.concatenate([array.ravel() for array in x.values()])
    scales = np.concatenate(
        [np.full(array.size, sqs.MinMax().fit(array, sqs.load_format(name)).value) for array in x.values()]
    )
    y = sqs.Codec(sqs.load_format(name)).fake_quantize(whole, scale=scales)
    assert row["mse"] == pytest.approx(sqs.mse(whole, y), rel=1e-12)
    assert row["sqnr_db"] == pytest.approx(sqs.sqnr_db(whole, y), rel=1e-12)
    assert row["max_error"] == float(abs(whole.astype(np.float64) - y).max())
    assert row["flushed_fraction"] == pytest.approx(np.mean((y == 0) & (whole != 0)))
    assert row["elements"] == whole.size
    assert (row["tensor"], row["format"], row["scale"]) == ("all tensors", name, [])


def test_what_is_undefined_for_one_is_undefined_for_all() -> None:
    x = {"a": np.float32([1, 2, 3.1]), "b": np.float32([1e6, 1])}
    row = pooled(measure(x, "float16", scale=1))
    assert (row["mse"], row["sqnr_db"], row["max_error"]) == (None, None, None)
    assert row["clipped_fraction"] == pytest.approx(1 / 5)
    nothing = pooled(measure({"a": np.zeros(0), "b": np.float32([np.nan])}, "int8"))
    assert (nothing["mse"], nothing["sqnr_db"], nothing["max_error"], nothing["nonfinite"]) == (None, None, None, 1)
    exact = pooled(measure({"a": np.zeros(3), "b": np.float32([127, -127])}, "int8"))
    assert (exact["mse"], exact["sqnr_db"]) == (0, None)


def test_rows_by_format_and_quantizer() -> None:
    groups = by_format(measure(tensors(), FORMATS, [sqs.MinMax(), "minmax"]))
    assert list(groups) == [(name, quantizer) for name in FORMATS for quantizer in ("MinMax()", "minmax")]
    assert all([row["tensor"] for row in group] == ["a", "b", "empty"] for group in groups.values())


# --- tables ------------------------------------------------------------------------------------------------------


def test_the_table_of_errors() -> None:
    lines = printed(error_table(measure(tensors(), FORMATS), 500)).splitlines()
    cells = [line.split() for line in lines[3:] if line.strip()]
    assert [row[:2] for row in cells[:3]] == [["a", "int8"], ["a", "float8_e4m3fn"], ["a", "nf4"]]
    assert [row[2:] for row in cells if row[0] == "empty"] == [["-"] * 3 + [bits, "-", "-", "-", "1"] for bits in "884"]
    assert len(cells) == 12
    assert "quantizer" in printed(error_table(measure(tensors(), "int8", [sqs.MinMax(), "minmax"]), 500))
    (line,) = printed(error_table(measure(tensors()["a"], "int8", per="channel"), 500)).splitlines()[3:]
    low, to, high = line.split()[-3:]
    assert to == "to"
    assert 0 < float(low) < float(high)


@pytest.mark.parametrize("width", [60, 80, 100, 130, 200])
def test_a_narrow_table_leaves_out_columns_and_cuts_nothing(width: int) -> None:
    name = "encoder.layer.11.attention.self.query.weight[0]"
    rows = measure({name: tensors()["a"]}, ["float8_e4m3fn", "int8"])
    lines = printed(error_table(rows, width), width).splitlines()
    assert max(map(len, lines)) <= width
    header = " ".join(lines[:2]).split()
    assert {"tensor", "format", "SQNR", "(dB)", "bits"} <= set(header)
    assert ("MSE" in header) == (width > 60)
    assert ("error" in header) == (width >= 130)
    body = lines[3:]
    fold = body[0].index("int8")
    assert "".join(line[:fold].strip() for line in body[: len(body) // 2]) == name
    assert f"{rows[1]['sqnr_db']:.2f}" in body[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(448.0, "448"), (-0.0, "-0"), (0.1, "0.1"), (2.0**-133, "9.183549615799121e-41"), (None, "none")],
)
def test_numbers_in_full(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("width", [10, 40, 80, 120, 500])
@pytest.mark.parametrize("name", ["float8_e5m2", "nf4", "int4", "int2", "uint1"])
def test_a_table_of_values_fits_the_width(name: str, width: int) -> None:
    fmt = sqs.load_format(name)
    lines = printed(value_table(fmt, width)).splitlines()[2:]
    cells = [line.split() for line in lines]
    assert [float(text) for row in cells for text in row[1:]] == pytest.approx(fmt.table().tolist(), nan_ok=True, rel=0)
    assert len(cells[0]) == 2 or max(map(len, lines)) <= width


def test_markdown_escapes() -> None:
    fmt = sqs.parse_format('name: f\ntitle: "a | b"\nelement: {kind: int, bits: 3}')
    assert markdown_table([fmt]).splitlines()[2] == "| f | 3 | int | 3 | 1 | a \\| b |"
    assert markdown_table([]).splitlines()[0].count("|") == len(COLUMNS) + 1


def test_facts_are_what_the_format_says() -> None:
    fmt = sqs.load_format("float8_e4m3fn")
    told = facts(fmt)
    for name in ("name", "bits", "max", "min", "smallest", "min_normal", "ulp_at_one", "dynamic_range_db", "nan_codes"):
        assert told[name] == getattr(fmt, name)
    assert told["element"]["subnormals"] == "gradual"


# --- pictures ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12), st.floats(0.1, 10))
def test_labels_do_not_touch(heights: list[float], least: float) -> None:
    heights.sort(reverse=True)
    bottom, count = -110, len(heights)
    placed = apart(heights, least, bottom)
    assert all(upper - lower >= least - 1e-9 for upper, lower in pairwise(placed))
    assert placed[-1] >= bottom
    room = all(height >= bottom + least * (count - index) for index, height in enumerate(heights))
    if room and all(upper - lower >= least for upper, lower in pairwise(heights)):
        assert placed == pytest.approx(heights)


def test_a_picture(tmp_path: Path) -> None:
    rows = measure(tensors(), FORMATS, [sqs.MinMax(), "minmax"])
    plot_errors(rows, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for label in (*FORMATS, "bits per element", "SQNR (dB)"):
        assert f"<!-- {label}" in text
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_nothing_to_draw(tmp_path: Path) -> None:
    exact: list[Row] = measure(np.zeros(3), "int8")
    with pytest.raises(ValueError, match="no format has a finite SQNR; nothing to draw"):
        plot_errors(exact, tmp_path / "a.png")
    some = exact + measure(np.float32([0.1, 1]), "nf4")
    plot_errors(some, tmp_path / "b.png")
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


# --- pictures of formats -----------------------------------------------------------------------------------------

KINDS = [
    "float8_e4m3fn", "float8_e8m0fnu", "float32", "bfloat16", "int4", "uint1", "nf4", "binary1_pm1", "posit4", "takum8",
    "lns8", "hif8", "float3_e1m1fn", "fp24_amd",
]  # fmt: skip


def parsed(name: str, element: str, encode: str = "{}") -> sqs.NumberFormat:
    return sqs.parse_format(f"name: {name}\nelement: {element}\nencode: {encode}\n")


ODD = [
    parsed("negative", "{kind: int, bits: 1}"),
    parsed("one_level", "{kind: codebook, bits: 1, values: [1.5]}"),
    parsed("no_zero", "{kind: codebook, bits: 2, values: [-8.0, -1.0, 1.0, 64.0]}"),
    parsed("refuses", "{kind: int, bits: 3}", "{nan_input: error}"),
    parsed("infinite", "{kind: float, exponent_bits: 3, mantissa_bits: 2, nan: ieee, inf: ieee}", "{overflow: inf}"),
    parsed("stochastic", "{kind: float, exponent_bits: 4, mantissa_bits: 3}", "{rounding: stochastic_a}"),
    parsed("wide_int", "{kind: int, bits: 32}"),
    parsed("largest", "{kind: float, exponent_bits: 11, mantissa_bits: 4, bias: 1024}"),
]


@pytest.mark.parametrize("fmt", [*map(sqs.load_format, KINDS), *ODD], ids=lambda fmt: fmt.name)
def test_a_picture_of_a_format(tmp_path: Path, fmt: sqs.NumberFormat) -> None:
    plot_format(fmt, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for label in (fmt.name, "decode(encode(x))", "relative error", fmt.encode.rounding.value):
        assert f"<!-- {label}" in text
    assert ("seed 0" in text) == (fmt.name == "stochastic")
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_a_picture_has_a_known_suffix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.gif: not a picture's name; allowed: \.png, \.svg, \.pdf"):
        plot_format(sqs.load_format("int4"), tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


@given(st.floats(-300, 300), st.booleans(), st.integers(-200, 200))
def test_places_and_numbers(exponent: float, negative: bool, unit: int) -> None:
    scale = AxisScale(2.0**unit)
    x = -(2.0**exponent) if negative else 2.0**exponent
    assert float(scale.number(scale.place(x))) == pytest.approx(x, rel=1e-9)
    assert float(scale.place(4 * scale.unit)) == 3 if scale.unit else 0
    assert float(AxisScale().place(x)) == x
    assert [float(scale.place(zero)) for zero in (0.0, 2.0**unit, -(2.0**unit))] == [0, 1, -1]


def test_wide_formats_lie_on_a_logarithmic_scale() -> None:
    units = {name: Curves(sqs.load_format(name)).scale.unit for name in ("int16", "nf4", "float8_e4m3fn", "posit8")}
    assert units == {"int16": None, "nf4": None, "float8_e4m3fn": 2.0**-9, "posit8": 2.0**-24}


def test_values_per_binade() -> None:
    exponents, counts = Curves(sqs.load_format("float8_e4m3fn")).binades(-1)
    assert dict(zip(exponents.tolist(), counts.tolist(), strict=True)) == {
        -9: 1, -8: 2, -7: 4, **dict.fromkeys(range(-6, 8), 8), 8: 7,
    }  # fmt: skip
    exponents, counts = Curves(sqs.load_format("float32")).binades(1)
    assert set(counts[exponents >= -126].tolist()) == {1 << 23}
    assert Curves(sqs.load_format("ue4m3")).binades(-1)[0].size == 0


@pytest.mark.parametrize(("name", "count"), [("int4", 16), ("posit8", 25), ("float32", 25), ("float8_e8m0fnu", 25)])
def test_the_staircase_has_its_steps(name: str, count: int) -> None:
    _, x, y = Curves(sqs.load_format(name)).staircase
    assert len(np.unique(y)) == count
    assert np.all(np.diff(x) > 0)
    if count == 25:
        assert 1 in y


@pytest.mark.parametrize(
    ("name", "largest"), [("bfloat16", 2.0**-8 / (1 + 2.0**-8)), ("float8_e4m3fn", 1 / 17), ("float8_e8m0fnu", 1 / 3)]
)
def test_the_relative_error_of_normal_values(name: str, largest: float) -> None:
    fmt = sqs.load_format(name)
    exponents, error = Curves(fmt).relative_error
    inside = (exponents > np.log2(fmt.min_normal) + 1) & (exponents < np.log2(fmt.max) - 1)
    assert error[inside].max() == pytest.approx(largest, rel=1e-3)
    assert exponents[0] < np.log2(fmt.smallest) - 1.9


def test_infinite_errors_are_not_drawn() -> None:
    exponents, error = Curves(sqs.load_format("float16")).relative_error
    assert np.isnan(error[exponents > 16.01]).all()
    assert np.isfinite(error[exponents < 15.9]).all()


# --- files -------------------------------------------------------------------------------------------------------


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with replacing(pipe) as target:
        assert target == pipe
    assert pipe.is_fifo()


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise OSError("full")
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    path, link = tmp_path / "there" / "a.txt", tmp_path / "link.txt"
    link.symlink_to(Path("there") / "a.txt")
    for text in ("new file", "old file"):
        with replacing(link) as temporary:
            temporary.write_text(text)
        assert link.is_symlink()
        assert path.read_text() == text


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    path, fresh, usual = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.txt"
    path.touch(0o640)
    path.chmod(0o640)
    usual.touch()
    for each in (path, fresh):
        with replacing(each) as temporary:
            temporary.write_text("new")
    assert path.stat().st_mode & 0o777 == 0o640
    assert fresh.stat().st_mode == usual.stat().st_mode


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / f"{'a' * 251}.txt"
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt", "some writers choose the kind of file by it"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
