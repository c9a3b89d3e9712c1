"""`statqat-sim rank`, and what `measure` does with quantizers and priors: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, commands, told
from safetensors.numpy import save_file

import statqat_sim as sqs
from statqat_sim.prior import Laplace, Normal, Scaled
from statqat_sim.quantizer import QUANTIZERS
from statqat_sim.report.ranking import together

FORMATS = ("int4", "nf4", "int8", "mxfp4")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


def data(*shape: int) -> Any:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


# --- rank --------------------------------------------------------------------------------------------------------


def test_rank_is_the_library_s_rank(run: Run, tmp_path: Path) -> None:
    x = {"a": data(8, 64), "b": data(40)}
    save_file(x, tmp_path / "w.safetensors")
    assert run("rank", *FORMATS, "--data", "w.safetensors", "--json", "-").json == sqs.rank(x, FORMATS)
    rows = run("rank", *FORMATS, "--data", "w.safetensors", "--per", "channel", "--kind", "number", "--json", "-").json
    assert rows == sqs.rank(x, FORMATS, per="channel", kind="number")
    answer = run("rank", "int4", "--data", "w.safetensors", "--json", "rows.json")
    assert (answer.code, answer.out) == (0, "")
    assert json.loads((tmp_path / "rows.json").read_text()) == sqs.rank(x, "int4")
    assert run("rank", "int4", "int4", "--data", "w.safetensors", "--json", "-").json == sqs.rank(x, "int4")
    rows = run("rank", *FORMATS, "--data", "w.safetensors", "--least-axes", "2", "--json", "-").json
    assert rows == sqs.rank({"a": x["a"]}, FORMATS)


def test_without_names_it_is_the_catalog(run: Run, tmp_path: Path) -> None:
    x = {"a": data(8, 64), "b": data(40)}
    np.savez(tmp_path / "w.npz", **x)
    assert run("rank", "--data", "w.npz", "--kind", "block", "--json", "-").json == sqs.rank(x, kind="block")
    assert run("rank", "--data", "w.npz", "--front", "--kind", "block", "--json", "-").json == [
        row for row in sqs.rank(x, kind="block") if row["front"]
    ]


def test_a_table_with_stars_on_the_front(run: Run, tmp_path: Path) -> None:
    x = {"a": data(8, 64), "b": 3 * data(40)}
    np.savez(tmp_path / "w.npz", **x)
    answer = run("rank", *FORMATS, "--data", "w.npz")
    assert (answer.code, answer.err) == (0, "")
    upper, lower, _, *lines = answer.out.splitlines()
    assert upper.split() == ["bits", "per", "SQNR"]
    assert lower.split() == ["tensor", "format", "element", "(dB)", "scale", "front"]
    cells = [line.split() for line in lines if line]
    expected = sqs.rank(x, FORMATS)
    assert [cell[1] for cell in cells[:8]] == [row["format"] for row in expected]
    assert [cell[-1] == "*" for cell in cells[:8]] == [row["front"] for row in expected]
    assert [cell[:2] for cell in cells[8:]] == [["all", "tensors"]] * 4
    short = run("rank", *FORMATS, "--data", "w.npz", "--front").out.splitlines()[3:]
    assert all(line.endswith("*") for line in short if line)


def test_all_tensors_together(run: Run) -> None:
    x = {"a": data(8, 64), "b": 3 * data(40)}
    rows = sqs.rank(x, FORMATS)
    whole = {row["format"]: row for row in together(rows)}
    for name in FORMATS:
        y = {row["tensor"]: row for row in rows if row["format"] == name}
        sums = [sum(y[key]["elements"] * y[key][what] for key in x) for what in ("power", "mse")]  # type: ignore[literal-required]
        assert whole[name]["sqnr_db"] == pytest.approx(10 * np.log10(sums[0] / sums[1]))
    assert together(sqs.rank(x["a"], FORMATS)) == sqs.rank(x["a"], FORMATS)


def test_weights_in_a_file(run: Run, tmp_path: Path) -> None:
    x, w = {"a": data(8, 64), "b": data(4, 32)}, {"a": np.arange(64.0), "b": np.ones(32)}
    np.savez(tmp_path / "w.npz", **x)
    np.savez(tmp_path / "squares.npz", **w)
    rows = run("rank", *FORMATS, "--data", "w.npz", "--weights", "squares.npz", "--json", "-").json
    assert rows == sqs.rank(x, FORMATS, weights=w)
    np.savez(tmp_path / "other.npz", a=w["a"], c=w["b"])
    told(run("rank", "int4", "--data", "w.npz", "--weights", "other.npz"), "error: no weights are named 'b'")
    answer = run("rank", "int4", "--data", "w.npz", "--weights", "squares.npz", "--per", "channel")
    told(answer, "allowed: --weights with --per tensor")


def test_rank_draws(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=data(8, 64), b=data(40))
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        assert run("rank", *FORMATS, "--data", "w.npz", "--plot", f"a{suffix}").code == 0
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(magic)
    np.save(tmp_path / "zeros.npy", np.zeros(9, np.float32))
    answer = run("rank", "int4", "--data", "zeros.npy", "--plot", "b.png", "--json", "-")
    assert "b.png: no format has a finite SQNR; nothing to draw" in answer.err


def test_rank_tells_what_it_leaves_out(run: Run, tmp_path: Path) -> None:
    w = data(8, 64)
    w[0, 0] = np.nan
    np.savez(tmp_path / "w.npz", w=w, v=data(40), ids=np.arange(4))
    answer = run("rank", "int4", "nvfp4_2d", "--data", "w.npz", "--json", "-")
    ranked = {(row["tensor"], row["format"]) for row in answer.json}
    assert ranked == {("w", "nvfp4_2d"), ("w", "int4"), ("v", "int4")}
    assert "note: w: 1 of 512 values are NaN or Inf, left out" in answer.err
    assert "note: ids: integers, skipped" in answer.err
    assert "not measured in nvfp4_2d" in answer.err


def test_wrong_words(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", data(3))
    told(run("rank", "nf5", "--data", "w.npy"), "no format is named 'nf5'; did you mean 'nf4'?")
    answer = run("rank", "--kind", "foo")
    assert (answer.code, answer.out) == (2, "")
    assert "'--kind': 'foo' is not one of 'number', 'block'." in answer.err
    told(run("rank", "nf4", "w.npy"), "error: w.npy is data, not a format; write --data before the files")
    told(run("rank", "float32", "--data", "w.npy"), "float32", "allowed: formats of up to 16 bits")
    told(run("rank", "int4", "--data", "w.npy", "--plot", "a.gif"), "not a picture's name; allowed: .png")
    told(run("rank", "int4", "--data", "w.npy", "--plot", "none/a.png"), "error: none: no such folder")
    told(run("rank", "int4", "--data", "w.npy", "--json", "none/a.json"), "error: none: no such folder")
    told(
        run("rank", "int4", "--data", "w.npy", "--least-axes", "3"),
        "error: nothing to rank: no tensor of floats has 3 axes; allowed with these data: --least-axes 1, or less",
    )
    told(
        run("rank", "int4", "--data", "w.npy", "--kind", "block"),
        "error: --kind block leaves out int4; allowed: formats of that kind, or no --kind",
    )
    assert run("rank", "int4", "--data", "w.npy", "--kind", "blocks").code == 2


# --- measure: quantizers -----------------------------------------------------------------------------------------


def test_measure_with_quantizers(run: Run, tmp_path: Path) -> None:
    x = data(16, 64)
    np.save(tmp_path / "w.npy", x)
    names = "minmax,analytic,iterative,octav"
    rows = run("measure", "int4", "mxfp4", "--quantizer", names, "--data", "w.npy", "--json", "-").json
    assert rows == sqs.measure({"w": x}, ["int4", "mxfp4"], names.split(","))
    assert [row["quantizer"] for row in rows] == [*names.split(","), "floor"]
    again = run("measure", "int4", "--quantizer", "search, search", "--data", "w.npy", "--json", "-").json
    assert again == sqs.measure({"w": x}, "int4", "search")
    table = run("measure", "int4", "--quantizer", names, "--data", "w.npy").out
    assert all(name in table for name in names.split(","))


def test_every_quantizer_has_its_name_in_the_help(run: Run) -> None:
    text = run("measure", "--help").out
    assert not [name for name in QUANTIZERS if name not in text]


def test_wrong_quantizers(run: Run) -> None:
    told(
        run("measure", "int4", "--quantizer", "iteratve"), "no quantizer is named 'iteratve'; did you mean 'iterative'?"
    )
    told(run("measure", "int4", "--quantizer", "minmax,"), "no quantizer is named ''", "allowed: minmax, ")
    told(run("measure", "int4", "--quantizer", "minmax", "--scale", "1"), "--quantizer", "--scale", "allowed: one of")


# --- measure: theory ---------------------------------------------------------------------------------------------


def test_theory_beside_the_measurement(run: Run, tmp_path: Path) -> None:
    x = 3 * data(1 << 16)
    np.save(tmp_path / "w.npy", x)
    words = ("int4", "mxfp4", "nvfp4.mse", "float32", "--data", "w.npy", "--prior", "normal,laplace")
    rows = run("measure", *words, "--json", "-").json
    assert [{key: value for key, value in row.items() if key != "theory"} for row in rows] == sqs.measure(
        {"w": x}, ["int4", "mxfp4", "nvfp4.mse", "float32"]
    )
    number, block, searched, wide = (row["theory"] for row in rows)
    assert list(number) == ["normal", "laplace"]
    assert number["normal"] == pytest.approx(rows[0]["sqnr_db"], abs=0.1)
    assert block["normal"] == pytest.approx(rows[1]["sqnr_db"], abs=0.1)
    assert block["laplace"] < block["normal"] - 0.1
    assert searched == wide == {"normal": None, "laplace": None}
    root = float(np.sqrt(rows[0]["power"]))
    exact = sqs.expected_error(sqs.load_format("int4"), prior=Scaled(Laplace(), root), scale=rows[0]["scale"])
    assert number["laplace"] == pytest.approx(exact.sqnr_db, abs=1e-9)
    assert Normal().second_moment == 1
    table = run("measure", *words).out.splitlines()
    assert table[0].split()[:3] == ["SQNR", "normal", "laplace"]
    assert f"{number['laplace']:.2f}" in "\n".join(table)


def test_theory_of_a_random_phase_of_zeros_and_of_many_tensors(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=data(1 << 16), b=np.zeros(64, np.float32))
    words = ("measure", "mxfp4", "--random-phase", "--data", "w.npz", "--prior", "normal")
    rows = run(*words, "--json", "-").json
    expected = sqs.expected_error(sqs.load_format("mxfp4"), prior="normal", random_phase=True).sqnr_db
    assert rows[0]["theory"]["normal"] == pytest.approx(expected, abs=0.01)
    assert rows[1]["theory"] == {"normal": None}
    assert run(*words).code == 0


def test_a_format_that_wraps_is_measured_and_has_no_theory(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", data(1 << 12))
    words = ("--data", "w.npy", "--json", "-")
    (row,) = run("measure", "int4.ml_dtypes", "--prior", "normal", *words).json
    assert row["theory"] == {"normal": None}
    assert row["sqnr_db"] > 10
    answer = run("rank", "int4.ml_dtypes", "int4", "--plot", "r.svg", *words)
    assert {row["format"] for row in answer.json} == {"int4", "int4.ml_dtypes"}


def test_wrong_priors(run: Run) -> None:
    told(run("measure", "int4", "--prior", "lapalce"), "no prior is named 'lapalce'; did you mean 'laplace'?")
    answer = run("measure", "int4", "--prior", "normal", "--per", "channel")
    told(answer, "--prior is about tensors that have one scale; allowed: --per tensor")
