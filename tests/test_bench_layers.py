"""The bench of layers: its sums are right, and each layer, format and quantizer has its figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.layer_report import Layer, Summary
from bench.layer_table import RESULTS, markdown
from bench.layers import BLOCKS, FORMATS, QUANTIZERS, QUICK_FORMATS, LayerReport
from statqat_sim.spec.catalog import load_format

ROOT = Path(__file__).parents[1]


def test_every_layer_is_measured_in_every_format(tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    command = [sys.executable, "bench/layers.py", "--quick", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    report = LayerReport.read(path)
    assert done.stdout.splitlines()[0] == markdown(report).splitlines()[0]
    assert "A trial run" in done.stdout
    assert [model.layers for model in report.models] == [2, 2]
    assert len(report.layers) == 4 * (2 * len(QUICK_FORMATS) + len(BLOCKS))
    for layer in report.layers:
        if layer.per == "block":
            assert tuple(layer.sqnr_db) == tuple(BLOCKS[layer.format])
        else:
            assert set(QUANTIZERS) - set(layer.sqnr_db) <= {"sawb"}
            assert layer.gains_db["iterative"] >= 0
    models = {each["model"] for each in json.loads(path.read_text("utf-8"))["summaries"]}
    assert models == {"all", *(model.name for model in report.models)}


def test_what_layers_come_to() -> None:
    figures = {"first": (10.0, 12.0), "second": (8.0, 8.0), "third": (9.0, 8.5)}
    layers = [
        Layer(model="net", layer=name, per="tensor", format="int4", sqnr_db={"minmax": least, "analytic": ours})
        for name, (least, ours) in figures.items()
    ]
    found = Summary.of(layers, "analytic")
    assert (found.layers, found.above, found.below, found.always_above) == (3, 1, 1, False)
    assert found.mean_sqnr_db == pytest.approx(9.5)
    assert (found.median_gain_db, found.least_gain_db, found.worst_layer) == (0, -0.5, "net third")
    assert Summary.of(layers[:1], "analytic").always_above


def test_the_recorded_figures_keep_the_promise_of_the_quantizers() -> None:
    """None of ours is below MinMax in any layer; published rules may be."""
    report = LayerReport.read(RESULTS)
    assert not report.quick
    assert {layer.format for layer in report.layers} == {*FORMATS, *BLOCKS}
    for summary in report.summaries():
        if summary.quantizer in ("analytic", "iterative"):
            assert summary.below == 0
        if summary.quantizer == "mse":
            assert load_format(BLOCKS[summary.format]["mse"]).anchor.rule.value == "mse"
            assert summary.below == 0
