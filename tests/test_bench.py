"""The benches run and write what they say; no time is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bench import gpu, gpu_matmul
from bench.gpu_cases import NAMED, NAMED_BLOCKS, GpuData, blocks, elementwise, reductions
from bench.options import QUICK_METHOD
from bench.torch_ops import ROWS
from statqat_sim.runtime import backends

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> str:
    """The output of a Python process at the repository's root."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def codec_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "new" / "codec.json"
    run("bench/codec.py", "--quick", "--json", str(path))
    return path


@pytest.fixture(scope="module")
def report(codec_json: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(codec_json.read_text("utf-8"))
    return document


def is_spread(spread: dict[str, float]) -> bool:
    return 0 < spread["least"] <= spread["median"] <= spread["greatest"]


def test_the_report_says_what_was_measured_on_which_machine(report: dict[str, Any]) -> None:
    machine = report["machine"]
    assert {"numpy", "numba", "torch", "ml_dtypes"} == set(machine["versions"])
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert report["quick"]
    assert report["pairs"] == 2
    assert any("torch.compile" in reason for reason in report["skipped"])


def test_every_operation_of_every_format_has_its_row(report: dict[str, Any]) -> None:
    formats = ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "int8", "bfloat16", "nf4", "e3m4_away"]
    operations = [f"{operation} {fmt}" for operation, fmt in product(("fake_quantize", "encode", "decode"), formats)]
    searched = ["normal_quantiles", "sorted_normals", "posit8", "posit16"]
    operations += [f"{operation} {name}" for operation, name in product(("encode", "decode"), searched)]
    operations += [
        f"{operation} {fmt} from {dtype}"
        for operation, fmt, dtype in product(
            ("fake_quantize", "encode"), ("float8_e4m3fn", "float4_e2m1fn"), ("float16", "bfloat16", "float64")
        )
    ]
    operations += ["encode, packed float4_e2m1fn", "decode, packed float4_e2m1fn"]
    operations += [f"fake_quantize e4m3_stochastic_{bits}" for bits in (8, 16, 32)]
    rows = [(row["case"], row["threads"]) for row in report["comparisons"] if row["section"] == "limits"]
    assert sorted(rows) == sorted(product(operations, (1, 2)))


def test_every_library_has_its_rows(report: dict[str, Any]) -> None:
    rows = {(row["case"], row["peer"]) for row in report["comparisons"] if row["section"] == "libraries"}
    assert rows == {
        ("encode float8_e5m2", "torch copy_"),
        ("encode float8_e4m3fn", "torch copy_"),
        ("decode float8_e4m3fn", "torch copy_"),
        ("encode float8_e4m3fn", "ml_dtypes, one thread"),
        ("decode float8_e4m3fn", "ml_dtypes, one thread"),
    }


def test_rows_hold_together(report: dict[str, Any]) -> None:
    for row in report["comparisons"]:
        assert row["ours_ns"] > 0
        assert row["peer_ns"] > 0
        assert is_spread(row["ratio"])
        assert row["met"] == (row["ratio"]["median"] >= row["target"])
    for row in report["waits"]:
        assert is_spread(row["spread"])
        assert row["met"] == (row["value"] <= row["limit"])


def test_results_name_no_machine_and_no_path(codec_json: Path) -> None:
    text = codec_json.read_text("utf-8")
    assert str(ROOT) not in text
    assert str(Path.home()) not in text


def test_the_table_holds_each_row_once(codec_json: Path, report: dict[str, Any]) -> None:
    lines = run("-m", "bench.table", str(codec_json)).splitlines()
    tables = [line for line in lines if line.startswith("| ")]
    assert len(tables) == len(report["comparisons"]) + len(report["waits"]) + 3 * 2  # three headers with their rules
    assert lines[-1].startswith("A trial run")


def test_a_section_can_be_printed_alone_and_by_a_script(codec_json: Path) -> None:
    lines = run("bench/table.py", str(codec_json), "--sections", "waits").splitlines()
    assert lines[0] == "| what | ours | promised | against |"
    assert lines[2].startswith("| encode float8_e4m3fn, 64 elements |")


def test_blocks_are_measured_beside_libraries_limits_and_ourselves(tmp_path: Path) -> None:
    path = tmp_path / "blocks.json"
    run("bench/blocks.py", "--quick", "--json", str(path))
    report = json.loads(path.read_text("utf-8"))
    rows = {(row["section"], row["case"], row["threads"]) for row in report["comparisons"]}
    cases = {
        ("limits", "fake_quantize mxfp4"),
        ("limits", "dequantize mxfp4"),
        ("ourselves", "fake_quantize nvfp4.mse"),
        ("ourselves", "fake_quantize mxfp4, axis=0"),
        ("ourselves", "fake_quantize e3m1_block24"),
    }
    if not any(reason.startswith("torchao") for reason in report["skipped"]):
        calls = ("pack mxfp4", "quantize mxfp8_e4m3", "quantize nvfp4.torchao")
        cases |= {("libraries", call) for call in calls}
    assert rows == {(*case, threads) for case, threads in product(cases, (1, 2))}
    assert all(is_spread(row["ratio"]) for row in report["comparisons"])
    assert "microxcaling: no checkout" in report["skipped"][0]
    assert "Skipped: microxcaling" in run("-m", "bench.table", str(path)).splitlines()[-1]


def test_torch_is_measured_beside_numba(tmp_path: Path) -> None:
    path = tmp_path / "torch_ops.json"
    run("bench/torch_ops.py", "--quick", "--json", str(path))
    report = json.loads(path.read_text("utf-8"))
    rows = {(row["case"], row["peer"], row["threads"]) for row in report["comparisons"]}
    names = [f"{name}{', axis=0' * (axis == 0)}" for name, axis in ROWS]
    assert rows == {(f"fake_quantize {name}, torch", "numba", threads) for name, threads in product(names, (1, 2))}
    assert all(is_spread(row["ratio"]) for row in report["comparisons"])
    assert report["machine"]["versions"]["torch"]
    assert "torch.compile: takes too long" in report["skipped"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--peer", "microxcaling=nowhere"), "where DIR holds the package mx"),
        (("--peer", "qtorch=."), "allowed: microxcaling=DIR"),
        (("--elements", "3000"), "must be a power of two, 1024 or more"),
        (("--threads", "0"), "numbers must be at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: tuple[str, ...], message: str) -> None:
    command = [sys.executable, "-m", "bench.blocks", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_main_job_is_timed_as_a_process(tmp_path: Path) -> None:
    path = tmp_path / "measure.json"
    assert "2 matrices, 4,096 elements, 6 formats" in run("bench/measure.py", "--quick", "--json", str(path))
    job = json.loads(path.read_text("utf-8"))
    assert len(job["formats"]) == 6
    assert is_spread(job["seconds"])
    assert job["machine"]["versions"]["numpy"]


# --- GPUs --------------------------------------------------------------------------------------------------------


def test_every_case_of_the_gpu_bench_runs_on_a_cpu() -> None:
    kinds = (elementwise, blocks, reductions, gpu_matmul.matmuls)
    report = gpu.run(GpuData(1 << 12, "cpu"), QUICK_METHOD, quick=True, kinds=kinds)
    cases = [row.case for row in report.comparisons]
    assert len(cases) == 3 * len(NAMED) + 2 * len(NAMED_BLOCKS) + 4 + len(gpu_matmul.CASES)
    assert {"encode float8_e4m3fn, 5 bytes", "quantize nvfp4, 9.062 bytes", "histogram, 4 bytes"} <= set(cases)
    assert "ideal dot.e4m3.f32, 64^3, multiply-adds" in cases
    assert not report.skipped
    assert report.machine.device is None


def test_without_a_gpu_the_bench_says_what_is_missing() -> None:
    reason = backends()["cupy"].available()
    if reason is None:
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, "-m", "bench.gpu"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
