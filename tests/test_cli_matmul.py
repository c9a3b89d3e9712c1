"""`statqat-sim accelerators`, `show` and `check` of accelerators, and `matmul`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, commands, told

import statqat_sim as sqs
from statqat_sim.cli import main
from statqat_sim.cli.accelerator_template import accelerator_template
from statqat_sim.matmul import GemmPlan
from statqat_sim.report.matmul import compared, histogram
from statqat_sim.spec.accelerator import AcceleratorSpec, Evidence, RoundKeys, ScaleKeys, ShapeKeys
from statqat_sim.spec.accelerator_catalog import load_spec, parse_spec
from statqat_sim.spec.accelerator_dot import Aligned, DotKeys, Merge, Special
from statqat_sim.spec.accelerator_meaning import accelerator_meaning
from statqat_sim.spec.accelerator_recipe import AddKeys, FusedKeys
from statqat_sim.testing import assert_bit_exact

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
    path.write_text(MINE.replace("{sum: exact}", "{sum: chain}, special: {product_limit: 128}"))
    told(run("check", path), f"{path}: m.f16.f32 (evidence: guess): product_limit; allowed: without scales")


def meant(spec: AcceleratorSpec) -> Any:
    """What an accelerator computes, without how that is known."""

    def bare(entries: Any) -> Any:
        return [entry.model_copy(update={"evidence": Evidence()}) for entry in entries]

    return bare(spec.instructions), bare(spec.conversions), spec.gemm


@pytest.mark.parametrize("name", sqs.accelerators())
def test_a_new_file_is_the_accelerator_that_it_is_like(name: str) -> None:
    model = load_spec(name)
    text = accelerator_template("mine", model)
    mine = parse_spec(text)
    assert meant(mine) == meant(model)
    assert (mine.name, mine.aliases, mine.evidence) == ("mine", (), Evidence())
    assert all(len(line) <= 100 for line in text.splitlines())


OF_EVERY_KIND = """
name: kinds
gemm: {instruction: m.exact, k_slab: 8, promote_every: 4, split_k: 2, reduce_order: pairwise}
instructions:
  m.exact:
    operands: {a: [int8, uint8], b: {format: int8, encode: {rounding: toward_zero}}, d: int32, shape: [M, N, 8]}
    dot: {sum: integer}
    special: {overflow: saturate}
  m.float16.float32:
    evidence: {status: guess, source: here}
    operands: {b: {format: float16, encode: {rounding: toward_zero}}, shape: [16, 8, 8]}
    dot:
      {sum: aligned, step: 8, split: even_odd, c: join, aligned: {fraction_bits: 24, per: sum, zero_exponent: -20},
       merge: {dot_fraction_bits: 30, c_fraction_bits: 31, normalised_bits: 28, c_reach: 40}}
    round: {mode: toward_zero, to: {exponent_bits: 8, mantissa_bits: 13}}
    special: {nan: 0x7fffffff, negative_zero: never, flush: both, flushed: positive, product_limit: 128}
  m.float4_e2m1fn.float32:
    operands: {shape: [16, 8, 64]}
    scale: {format: ue4m3, block: 16, apply: group}
    dot: {sum: aligned, step: 64, group: 16, aligned: {fraction_bits: 35}}
  chain.float32.float32:
    dot: {sum: chain, step: 4, order: [3, 1, 0, 2], c: last}
  two.float16.float32:
    operands: {b: {format: float16, encode: {rounding: toward_zero}}, shape: [16, 8, 16]}
    recipe:
      - {instruction: m.float16.float32, k: "k % 2 == 1", c: zero}
      - {instruction: m.float16.float32, k: "k % 4 in (0, 2)"}
      - {instruction: add.float32, with: c}
"""


def test_a_new_file_has_every_key_of_its_model() -> None:
    model = parse_spec(OF_EVERY_KIND)
    assert meant(parse_spec(accelerator_template("mine", model))) == meant(model)


def test_a_new_file_of_conversions_alone() -> None:
    model = parse_spec("name: alone\nconversions: {to_half: {format: float16, nan: 0x7fff}}")
    assert meant(parse_spec(accelerator_template("mine", model))) == meant(model)


def test_a_new_file_tells_what_keys_mean() -> None:
    text = " ".join(accelerator_template("mine", parse_spec(OF_EVERY_KIND)).replace("\n#", " ").split())
    models = Evidence, ShapeKeys, ScaleKeys, DotKeys, Aligned, Merge, RoundKeys, Special, FusedKeys, AddKeys, GemmPlan
    for model in models:
        for key, field in model.model_fields.items():
            name = field.alias or key
            assert f" {name}: {accelerator_meaning(model.__name__, name)}" in text
    assert " sum: how the products of a step are summed; aligned | exact | chain | pairwise | integer " in text
    assert " zero product or zero C counts with; -512 to 512 | lowest; default lowest " in text


def test_a_new_accelerator_has_the_bits_of_its_model(matrices: tuple[str, str], tmp_path: Path, run: Run) -> None:
    path = tmp_path / "mine.yaml"
    answer = run("new", "mine", "--like", "h100", "--output", tmp_path)
    assert answer.out == f"{path}: written; change it, then: statqat-sim check {path}\n"
    assert run("check", path).out == f"{path}: ok\n"
    arrays = [np.load(each) for each in matrices]
    ours, theirs = sqs.load_accelerator(path), sqs.load_accelerator("h100")
    for name in ("mma.tf32.f32", "wgmma.e5m2.f32", "mma.e4m3.f16"):
        assert_bit_exact(ours.matmul(*arrays, instruction=name), theirs.matmul(*arrays, instruction=name))
    assert run("new", "again", "--like", path, "--output", tmp_path).code == 0
    assert meant(load_spec(tmp_path / "again.yaml")) == meant(load_spec(path))


def test_new_accelerators_have_new_names(tmp_path: Path, run: Run) -> None:
    for like in ("h100", "int8"):
        answer = run("new", "nvidia_h100", "--like", like, "--output", tmp_path)
        told(answer, "error: 'nvidia_h100' is the name of another accelerator; allowed: a new one")
    assert list(tmp_path.iterdir()) == []


def test_formats_beside_the_model_are_found_or_told(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine6.yaml").write_text("name: mine6\nelement: {kind: float, exponent_bits: 3, mantissa_bits: 2}\n")
    (tmp_path / "mine.yaml").write_text(MINE.replace("{dot", "{operands: {a: mine6, d: float32}, dot"))
    monkeypatch.chdir(tmp_path)
    assert run("new", "second", "--like", "./mine.yaml").out.startswith("second.yaml: written")
    assert run("check", "second.yaml").code == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    refused = run("new", "third", "--like", "../mine.yaml")
    told(refused, "error: ../mine.yaml names formats beside it, which third.yaml would not find: no format is named ")
    told(refused, "'mine6'", "; allowed: '--output ..' or '--search ..'")
    assert not Path("third.yaml").exists()
    assert run("new", "third", "--like", "../mine.yaml", "--search", "..").code == 0
    assert run("new", "fourth", "--like", "../mine.yaml", "--output", "..").code == 0


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


@pytest.mark.parametrize(("dtype", "what"), [("int64", "a is int64"), ("bool", "a is bool")])
def test_an_array_of_a_wrong_type_is_told(dtype: str, what: str, matrices: tuple[str, str], run: Run) -> None:
    chosen = ("--accelerator", "h100", "--instruction", "wgmma.e4m3.f32")
    np.save(matrices[0], np.ones((8, 64), dtype))
    told(run("matmul", *matrices, *chosen), what, "allowed: ")


def test_a_c_of_a_wrong_type_is_told(matrices: tuple[str, str], tmp_path: Path, run: Run) -> None:
    chosen = ("--accelerator", "h100", "--instruction", "wgmma.e4m3.f32")
    np.save(tmp_path / "c.npy", np.ones((8, 6), np.int64))
    told(run("matmul", *matrices, *chosen, "--c", tmp_path / "c.npy"), "c is int64", "allowed: ")


def test_a_bug_of_the_product_is_no_fault_of_a_file(matrices: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("of a kernel")

    monkeypatch.setattr("statqat_sim.matmul.accelerator.product", broken)
    with pytest.raises(TypeError, match="of a kernel"):
        main(["matmul", *matrices, "--accelerator", "h100", "--instruction", "wgmma.e4m3.f32"])


def test_operands_of_a_wrong_type_for_the_other_are_told(matrices: tuple[str, str], run: Run) -> None:
    np.save(matrices[0], np.ones((8, 64), np.int8))
    np.save(matrices[1], np.ones((64, 6), np.int8))
    chosen = ("--accelerator", "h100", "--instruction", "mma.s8.s32")
    told_of = run("matmul", *matrices, *chosen, "--compare", "ideal", "--compare-instruction", "dot.f16.f32")
    assert (told_of.code, "Traceback" in told_of.err) == (1, False)
    assert "allowed: " in told_of.err


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
