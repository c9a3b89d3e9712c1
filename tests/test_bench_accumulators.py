"""The bench of accumulators: every accumulator has its figure, and the recorded ones say what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.accumulator_report import FLOAT, IDEAL, RESULTS, TORCH, AccumulatorReport, Error, Loss, markdown
from bench.accumulators import ACCUMULATORS, run
from bench.pairs import Machine


def test_tables_of_a_report(tmp_path: Path) -> None:
    losses = [
        Loss(seed=seed, bits_per_character={FLOAT: 2.0, "13 bits": value, IDEAL: 2.1})
        for seed, value in ((1, 2.100001), (3, 2.100003))
    ]
    error = Error(k=128, sqnr_db={"13 bits": 77.61, IDEAL: 164.04})
    report = AccumulatorReport(machine=Machine.here(), quick=True, net="a net", errors=(error,), losses=tuple(losses))
    report.write(tmp_path / "accumulators.json")
    assert AccumulatorReport.read(tmp_path / "accumulators.json") == report
    text = markdown(report)
    assert "| 128 | 77.6 | 164.0 |" in text
    assert "| 13 bits | 2.100002 | +2.0 | +1.0 to +3.0 |" in text
    assert "| ideal | 2.100000 |  |  |" in text
    assert "A trial run" in text


@pytest.mark.long
def test_a_trial_run_has_all_figures() -> None:
    report = run(quick=True)
    assert [row.k for row in report.errors] == [128, 256]
    for row in report.errors:
        assert tuple(row.sqnr_db) == tuple(ACCUMULATORS)
    assert [tuple(row.bits_per_character) for row in report.losses] == [(FLOAT, TORCH, *ACCUMULATORS)]


def test_the_recorded_figures_are_what_the_page_says() -> None:
    """13 bits lose with the length of the sum, unless it is promoted; 25 bits lose less."""
    report = AccumulatorReport.read(RESULTS)
    assert not report.quick
    assert [row.k for row in report.errors] == [2**power for power in range(7, 15)]
    shortest, longest = report.errors[0].sqnr_db, report.errors[-1].sqnr_db
    assert longest["13 bits"] < shortest["13 bits"] - 20
    assert abs(longest["13 bits, promoted"] - shortest["13 bits"]) < 1
    assert longest["25 bits"] > longest["13 bits"] + 60
    losses = [row.bits_per_character for row in report.losses]
    for loss in losses:
        assert all(abs(loss[name] - loss[IDEAL]) < 7e-5 for name in (TORCH, *ACCUMULATORS))
    assert round(sum(loss[IDEAL] - loss[FLOAT] for loss in losses) / len(losses), 4) == 0.0005
