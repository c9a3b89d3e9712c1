"""`statqat-sim theory`: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Run, commands, told


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


def test_choices_and_what_lies_between(run: Run) -> None:
    rows = run("theory", "int4_narrow", "--prior", "normal,student_t(5)", "--json", "-").json
    assert {row["prior"] for row in rows} == {"normal", "student_t(5)"}
    normal = [row for row in rows if row["prior"] == "normal"]
    assert [row["scale"] for row in normal] == sorted(row["scale"] for row in normal)
    named = {row["choice"]: row for row in normal if row["choice"]}
    assert set(named) == {"minmax", "paper_iterative", "paper_analytic", "optimal"}
    assert named["optimal"]["scale"] == pytest.approx(0.35341, rel=1e-4)
    assert named["optimal"]["clips_at"] == pytest.approx(2.4739, rel=1e-4)
    assert named["optimal"]["rho"] == pytest.approx(0.9078, rel=1e-4)
    assert all(row["sqnr_db"] <= named["optimal"]["sqnr_db"] + 1e-9 for row in normal)


def test_tables(run: Run) -> None:
    answer = run("theory", "int4_narrow")
    assert answer.code == 0
    assert "0.35341" in answer.out
    assert "optimal" in answer.out
    assert "laplace" in answer.out
    blocks = run("theory", "mxfp4", "--prior", "normal")
    assert "18.74" in blocks.out
    assert "random phase" in blocks.out


def test_one_scale(run: Run) -> None:
    (row,) = run("theory", "nf4", "--prior", "laplace", "--scale", "4", "--json", "-").json
    assert (row["choice"], row["scale"]) == ("given", 4)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots(run: Run, tmp_path: Path, suffix: str) -> None:
    answer = run("theory", "float4_e2m1fn", "--plot", f"a.{suffix}")
    assert answer.code == 0
    assert (tmp_path / f"a.{suffix}").stat().st_size > 3000


def test_users_errors(run: Run) -> None:
    told(run("theory", "int4", "--prior", "lapalce"), "no prior is named 'lapalce'; did you mean 'laplace'?")
    told(run("theory", "float32"), "float32", "allowed: formats of up to 16 bits")
    told(
        run("theory", "int4.ml_dtypes"),
        "int4.ml_dtypes",
        "overflow: wrap",
        "allowed: overflow: saturate, or measure on data",
    )
    told(run("theory", "int4", "--scale", "0"), "a scale is 0.0; allowed: finite numbers above zero")
    told(run("theory", "mxfp4", "--scale", "1"), "mxfp4 scales its own blocks; --scale is for number formats")
    told(run("theory", "mxfp4", "--plot", "a.png"), "--plot is for number formats")
    told(run("theory", "int4", "--plot", "a.gif"), "not a picture's name; allowed: .png, .svg, .pdf")
    told(run("theory", "nvfp4.mse"), "expected error of rule mse; allowed: ")
