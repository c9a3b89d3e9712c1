"""The study of training runs, goes on where it was cut off, and writes what it says; no result is judged here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench import qat_study
from bench.pairs import Machine
from bench.qat_baselines import GaussianClip, RotatedLinear, rotate, rotation
from bench.qat_data import even_windows, sentences, source
from bench.qat_gpt import Seed
from bench.qat_methods import Cell, cells
from bench.qat_minilm import Fidelity
from bench.qat_models import Shape
from bench.qat_report import Study
from bench.qat_settings import FULL
from bench.qat_statistics import Interval, paired
from bench.qat_store import CPU_SECONDS, Store, open_folder
from bench.qat_table import markdown
from bench.qat_training import Schedule, batches
from statqat_sim import load_format

SMALL = replace(
    FULL,
    shape=Shape(width=32, heads=2, blocks=1, context=16),
    base=Schedule(steps=3, batch=4, learning_rate=1e-3, warm_up=1),
    extra=Schedule(steps=2, batch=4, learning_rate=1e-3, warm_up=1),
    refit_every=2,
    seeds=2,
    windows=4,
    calibration=1,
    sentences=4,
    files=20,
)
SHOWN = (
    "INT4 MinMax",
    "INT4 LSQ",
    "INT4 iterative",
    "E2M1 QuEST clip, Hadamard",
    "E2M1 MinMax",
    "MXFP4 floor",
    "MXFP4 mse",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of a few rows."""
    path = tmp_path_factory.mktemp("study")
    open_folder(path, asdict(SMALL))
    for number in range(SMALL.seeds):
        Seed(number, SMALL, path).run(chosen())
    return path


def chosen() -> list[Cell]:
    return [cell for cell in cells() if cell.name in SHOWN]


def without_time(path: Path) -> dict[str, Any]:
    return {key: value for key, value in Store(path).read().items() if key != CPU_SECONDS}


def study(folder: Path) -> Study:
    return Study.gather(folder, SMALL, size="quick", machine=Machine.here())


# --- the study ---------------------------------------------------------------------------------------------------


def test_each_row_has_its_value_for_each_seed_and_phase(folder: Path) -> None:
    rows = {(row.task, f"{row.family} {row.method}"): row for row in study(folder).rows}
    assert {name for _, name in rows} == set(SHOWN)
    assert {task for task, _ in rows} == {"GPT, converted", "GPT, trained"}
    for row in rows.values():
        assert sorted(row.values) == [0, 1]
        assert all(2 < bits < 8 for bits in row.values.values())
        assert "float32" in row.against
    assert {"MinMax", "LSQ", "float32"} == rows["GPT, converted", "INT4 iterative"].against.keys()
    assert "floor" in rows["GPT, trained", "MXFP4 mse"].against


def test_rows_say_by_how_much_they_differ_from_float32(folder: Path) -> None:
    found = study(folder)
    row = found.rows[0]
    assert row.against["float32"] == paired(row.values, found.float32["converted"])
    assert found.float32["converted"] != found.float32["trained"]


def test_what_was_written_is_read_again_and_printed(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "qat.json"
    study(folder).write(path)
    text = markdown(Study.read(path))
    assert text == markdown(study(folder))
    lines = text.splitlines()
    tables = [line for line in lines if line.startswith("| ")]
    assert len(tables) == 2 + len(SHOWN) + 2 + 2  # all rows; then the iterative one, converted and trained
    assert lines[2].startswith("| **INT4 MinMax** | ")
    assert tables[-1].startswith("| GPT, trained: INT4 iterative | ")
    assert lines[-1].startswith("A trial run: ")
    assert "2 seeds" in lines[-1]


def test_a_study_goes_on_where_it_was_cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "gpt-0.json"
    whole = Store(path).read()
    path.write_text(json.dumps({key: value for key, value in whole.items() if key != "INT4 LSQ, trained"}), "utf-8")
    computed = []
    once = Store.once
    monkeypatch.setattr(
        Store, "once", lambda self, key, compute: once(self, key, lambda: (computed.append(key), compute())[1])
    )
    Seed(0, SMALL, folder).run(chosen())
    assert computed == ["INT4 LSQ, trained"]
    assert without_time(path) == {key: value for key, value in whole.items() if key != CPU_SECONDS}


def test_a_folder_of_other_settings_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="holds a study with other settings"):
        open_folder(folder, {**asdict(SMALL), "seeds": 3})


def test_the_command_gathers_what_a_folder_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    qat_study.main(["--quick", "--merge", "--work", str(tmp_path), "--json", str(tmp_path / "qat.json")])
    assert capsys.readouterr().out.startswith("A trial run: its figures mean little. 0 seeds")
    assert json.loads((tmp_path / "qat.json").read_text("utf-8"))["rows"] == []
    with pytest.raises(ValueError, match="other settings"):
        qat_study.main(["--quick", "--merge", "--work", str(tmp_path), "--seeds", "3"])


def test_one_seed_is_refused() -> None:
    with pytest.raises(SystemExit, match="--seeds must be at least 2"):
        qat_study.main(["--quick", "--seeds", "1"])


def test_minilm_has_its_row(tmp_path: Path) -> None:
    cell = next(cell for cell in cells() if cell.name == "MXFP4 mse")
    Fidelity(SMALL, tmp_path).run(cell)
    open_folder(tmp_path, asdict(SMALL))
    (row,) = study(tmp_path).rows
    assert row.task == "MiniLM"
    assert all(0.5 < cosine < 1 for cosine in row.values.values())
    assert row.more["cosine, weights alone"] > row.more["cosine"]
    assert 15 < row.more["weight SQNR, dB"] < 22


# --- its parts ---------------------------------------------------------------------------------------------------


def test_an_interval_is_that_of_student() -> None:
    interval = Interval.of([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert np.isclose(interval.high, 2 + 4.302652729696142 / 3**0.5)  # t of 2 degrees of freedom at 97.5 %
    assert not interval.is_above_zero
    assert Interval.of([1.0, 1.1]).is_below_zero is False
    assert Interval.of([-1.0, -1.01, -0.99]).is_below_zero


def test_differences_are_of_the_seeds_that_both_have() -> None:
    found = paired({0: 1.0, 1: 2.0, 2: 9.0}, {1: 1.5, 0: 0.5, 7: 3.0})
    assert found == Interval(0.5, 0.5, 0.5)
    assert paired({0: 1.0}, {0: 2.0}) is None


def test_rows_have_names_of_their_own_and_each_family_one_first() -> None:
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names)
    firsts = [cell.family for cell in cells() if cell.is_first]
    assert sorted(firsts) == sorted(FULL.families)
    for cell in cells():
        load_format(cell.format)


def test_rotations_change_nothing_until_values_are_quantized() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 24), nn.Linear(24, 256))
    x = torch.randn(5, 96)
    expected = model(x)
    rotate(model, lambda name: True)
    assert all(type(module) is RotatedLinear for module in model)
    torch.testing.assert_close(model(x), expected)
    for size in (1, 2, 128):
        torch.testing.assert_close(rotation(size) @ rotation(size).T, torch.eye(size))


def test_the_gaussian_clip_is_a_multiple_of_the_root_mean_square() -> None:
    x = np.float32([[1, -1], [3, 3]])
    scale = GaussianClip().fit(x, load_format("float4_e2m1fn"), channel_axis=0).value
    assert np.allclose(6 * scale, [[2.9225], [3 * 2.9225]], rtol=1e-3)  # what QuEST's authors use for E2M1


def test_held_out_text_is_not_trained_on() -> None:
    text = source(20)
    assert len(text.train) > len(text.held_out) / 10 > 0
    assert even_windows(text.held_out, 16, 4).shape == (4, 17)
    assert not set(sentences(held_out=True, most_files=20)) & set(sentences(held_out=False, most_files=20))
    one, other = (next(batches(text.train, 16, 4, seed=3)) for _ in range(2))
    assert torch.equal(one, other)
