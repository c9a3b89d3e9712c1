"""The bench of training steps runs, and its figures are what they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import qat_step


def test_a_quick_run_writes_its_figures(tmp_path: Path) -> None:
    qat_step.main(["--quick", "--json", str(tmp_path / "step.json")])
    report = json.loads((tmp_path / "step.json").read_text("utf-8"))
    assert report["quick"]
    assert report["rounds"] == 2
    assert set(report["seconds"]) == {"float32", "prepared"}
    assert set(report["ratios"]) == {"prepared"}
    assert report["overhead"] is None


def test_ratios_are_of_the_same_round() -> None:
    taken = {"float32": [1.0, 2.0], "prepared": [1.1, 2.6], qat_step.PEER: [3.0, 8.0]}
    assert qat_step.ratios(taken, "prepared") == [1.1, 1.3]
    assert qat_step.overhead(taken).greatest == pytest.approx(20)
    assert qat_step.overhead(taken).least == pytest.approx(10)


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--peer", "other=."], ["--peer", "microxcaling=nowhere"]])
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        qat_step.main(wrong)
    assert "allowed: --rounds of at least 1, --peer microxcaling=FOLDER" in capsys.readouterr().err
