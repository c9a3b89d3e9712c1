"""`statqat-sim accelerators`, `show` and `check` of accelerators, and `matmul`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import Run, commands, told

import statqat_sim as sqs
from statqat_sim.report.matmul import compared, histogram

MINE = "name: mine\ninstructions:\n  m.f16.f32: {dot: {sum: exact}}\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return commands(capsys)


@pytest.fixture
def matrices(tmp_path: Path) -> tuple[str, str]:
    rng = np.random.default_rng(0)
    for name, shape in (("a", (8, 64)), ("b", (64, 6))):
        np.save(tmp_path / f"{name}.npy", rng.standard_normal(shape).astype(np.float32))
    return str(tmp_path / "a.npy"), str(tmp_path / "b.npy")


def test_accelerators_are_listed(run: Run) -> None:
    lines = run("accelerators").out.splitlines()
    assert len(lines) == 2 + len(sqs.accelerators())
    rows = run("accelerators", "--json", "-").json
    assert [row["name"] for row in rows] == list(sqs.accelerators())


@pytest.mark.parametrize("command", ["accelerators", "show"])
def test_one_accelerator_is_shown(command: str, run: Run) -> None:
    text = run(command, "h100").out
    assert "wgmma.e4m3.f32" in text
    assert "cvt.rn.satfinite.e4m3x2.f32" in text
    assert "reference_model" in text
    (item,) = run(command, "h100", "--json", "-").json
    assert item["instructions"][0]["evidence"] == "reference_model"


def test_a_file_is_checked(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    assert run("check", path).out == f"{path}: ok\n"
    path.write_text(MINE.replace("exact", "exactly"))
    told(run("check", path), "did you mean 'exact'?")


def test_a_product_is_written_and_compared(matrices: tuple[str, str], tmp_path: Path, run: Run) -> None:
    chosen = ("--accelerator", "nvidia_h100", "--instruction", "wgmma.e4m3.f32")
    target, picture = tmp_path / "d.npy", tmp_path / "d.png"
    text = run("matmul", *matrices, *chosen, "--compare", "ideal", "-o", target, "--plot", picture).out
    d = np.load(target)
    expected = sqs.load_accelerator("h100").matmul(*map(np.load, matrices), instruction="wgmma.e4m3.f32")
    assert np.array_equal(d, expected)
    assert picture.stat().st_size > 1000
    assert "compared with ideal dot.e4m3.f32" in text
    assert "units in the last place" in text
    (item,) = run("matmul", *matrices, *chosen, "--compare", "ideal", "--json", "-").json
    assert item["elements"] == 48
    assert sum(count for _, count in item["ulps"]) == 48


def test_equal_products_do_not_differ(matrices: tuple[str, str], run: Run) -> None:
    chosen = ("--accelerator", "h100", "--instruction", "mma.f16.f32", "--compare", "b200")
    assert "0 of 48 elements differ" in run("matmul", *matrices, *chosen).out


@pytest.mark.parametrize(
    ("instruction", "other"),
    [
        ("wgmma.e5m2.f32", "dot.e4m3.f32"),  # whose A is float8_e4m3fn first
        ("wgmma.tf32.f32", "dot.tf32.f32"),  # whose own rounding of float32 is another
    ],
)
def test_both_multiply_the_same_operands(matrices: tuple[str, str], run: Run, instruction: str, other: str) -> None:
    chosen = ("--accelerator", "h100", "--instruction", instruction)
    (item,) = run("matmul", *matrices, *chosen, "--compare", "ideal", "--json", "-").json
    h100 = sqs.load_accelerator("h100")
    (first, *_), (second, *_) = h100.instruction(instruction).a, h100.instruction(instruction).b
    assert isinstance(first, sqs.NumberFormat)
    assert isinstance(second, sqs.NumberFormat)
    a, b = (sqs.Codec(one).encode(np.load(path)) for one, path in zip((first, second), matrices, strict=True))
    d, theirs = (
        unit.matmul(a, b, instruction=name, a_format=first.name, b_format=second.name)
        for unit, name in ((h100, instruction), (sqs.load_accelerator("ideal"), other))
    )
    found = compared(d, theirs)
    assert (item["beside"], item["differing"]) == (f"ideal {other}", found.differing)
    assert item["sqnr_db"] == found.sqnr_db


def test_operands_that_the_other_does_not_have_are_rounded_to_its_own(matrices: tuple[str, str], run: Run) -> None:
    chosen = ("--accelerator", "h100", "--instruction", "wgmma.e4m3.f32")
    how = ("--compare", "ideal", "--compare-instruction", "dot.f32.f32")
    (ours,) = run("matmul", *matrices, *chosen, "--compare", "ideal", "--json", "-").json
    (wider,) = run("matmul", *matrices, *chosen, *how, "--json", "-").json
    assert wider == {**ours, "beside": "ideal dot.f32.f32"}  # float32 holds every product's factors


def test_formats_are_compared_by_their_aliases(matrices: tuple[str, str], run: Run) -> None:
    chosen = ("--accelerator", "h100", "--instruction", "wgmma.e4m3.f32", "--a-format", "e4m3", "--compare", "ideal")
    assert "compared with ideal dot.e4m3.f32" in run("matmul", *matrices, *chosen).out


def test_the_accelerator_s_own_plan_names_the_instruction(matrices: tuple[str, str], tmp_path: Path, run: Run) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nextends: nvidia_h100\ngemm: {instruction: mma.f16.f32}\n")
    answer = run("matmul", *matrices, "--accelerator", mine, "--compare", "h100")
    assert answer.out.startswith("mine mma.f16.f32")
    assert "0 of 48 elements differ" in answer.out
    told(run("matmul", *matrices, "--accelerator", "h100"), "which instruction? allowed: ", "mma.f16.f32")


def test_wrong_uses_are_told(matrices: tuple[str, str], run: Run) -> None:
    chosen = (*matrices, "--accelerator", "h100", "--instruction")
    told(run("matmul", *chosen, "mma.f16.f23"), "did you mean 'mma.f16.f32'")
    told(run("matmul", *chosen, "mma.f16.f32", "--json", "-"), "need --compare")
    other = run("matmul", *chosen, "mma.f16.f32", "--compare", "x86_vnni")
    assert "no instruction that takes float16 and float16, and gives float32; allowed: --compare-instruction with " in (
        other.err
    )
    assert other.err.endswith(f"one of its own: {', '.join(sqs.load_accelerator('x86_vnni').instructions)}\n")


def test_what_is_no_matrix_is_told(matrices: tuple[str, str], tmp_path: Path, run: Run) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "junk.npy").write_text("this is no data")
    for name, message in {"objects": "holds Python objects, which are never loaded", "junk": "not a .npy file"}.items():
        chosen = ("--accelerator", "ideal", "--instruction", "dot.f32.f32")
        told(run("matmul", tmp_path / f"{name}.npy", matrices[1], *chosen), f"{name}.npy: {message}")


def test_units_in_the_last_place() -> None:
    x = np.array([1.0, -0.0, 2.0, np.nan, np.inf], np.float32)
    y = np.array([np.nextafter(np.float32(1), np.float32(0)), 0.0, 1.0, np.nan, 1.0], np.float32)
    found = compared(x, y)
    assert found.ulps.tolist() == [1, 0, 1 << 23]
    assert (found.differing, found.first, found.nonfinite) == (4, (0,), 2)
    assert histogram(found.ulps)[:2] == [(0, 1), (1, 1)]


@pytest.mark.parametrize(("option", "name"), [("-o", "d.npy"), ("--plot", "d.svg")])
def test_a_comparison_has_a_file_of_its_own(
    matrices: tuple[str, str], run: Run, tmp_path: Path, option: str, name: str
) -> None:
    how = ("--accelerator", "ideal", "--instruction", "ideal.f32.f32", "--compare", "ideal")
    file = tmp_path / name
    told(run("matmul", *matrices, *how, option, file, "--json", file), f"{file}: two results would be written to it")
    assert not file.exists()


def test_no_product_takes_the_place_of_a_matrix(matrices: tuple[str, str], run: Run) -> None:
    how = ("--accelerator", "ideal", "--instruction", "ideal.f32.f32")
    before = [Path(each).read_bytes() for each in matrices]
    for output in matrices:
        told(
            run("matmul", *matrices, *how, "-o", output), f"{output}: the result would replace {output}, which is read"
        )
    assert [Path(each).read_bytes() for each in matrices] == before
