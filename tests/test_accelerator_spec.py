"""The language of accelerators: what is accepted, what is refused and how, and the built-in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import statqat_sim as sqs
from statqat_sim.errors import SpecError
from statqat_sim.plan.lower_mma import lower_mma
from statqat_sim.spec.accelerator import Add, Float64, Fused, Selection, Start, Status
from statqat_sim.spec.accelerator_catalog import is_accelerator, load_spec
from statqat_sim.spec.accelerator_dot import Enter, Order, Per, Sum, ordered
from statqat_sim.spec.files import builtin_directory

FOLDER = Path(__file__).parent / "bad_accelerators"
FILES = sorted(FOLDER.glob("*.yaml"))
ANNOUNCED = "# expect: "
NAMES = sqs.accelerators()

PRINTED = """
name: nvidia_h100
evidence: {status: hardware_checked, golden: tests/golden/h100}   # hardware_checked | vendor_documented | reference_model | guess
instructions:
  wgmma.e4m3.f32:
    operands: {a: [float8_e4m3fn, float8_e5m2], b: [float8_e4m3fn, float8_e5m2], c: float32, d: float32, shape: [64, N, 32]}
    dot: {step: 32, sum: aligned, aligned: {fraction_bits: 13, round: toward_zero, per: term, zero_exponent: -133}, c: term}
    round: {to: {exponent_bits: 8, mantissa_bits: 13}, mode: toward_zero}
    special: {nan: 0x7fffffff, negative_zero: never, flush: none, overflow: inf}
  mma.e4m3.f32:
    recipe:                       # what the compiler really emits
      - {instruction: mma.f16.f32, k: "k % 4 in (0, 1)", c: zero}
      - {instruction: mma.f16.f32, k: "k % 4 in (2, 3)", c: previous}
      - {instruction: add.f32, with: c}
"""  # noqa: E501


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_what_it_announces(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    announced = [line.removeprefix(ANNOUNCED) for line in lines if line.startswith(ANNOUNCED)]
    assert announced
    with pytest.raises(SpecError) as caught:
        sqs.load_accelerator(path)
    assert [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems] == announced


def test_no_file_lacks_its_fault() -> None:
    assert len(FILES) > 25


# --- what is accepted --------------------------------------------------------------------------------------------


def test_an_accelerator_is_what_its_text_says() -> None:
    h100 = sqs.parse_accelerator(PRINTED)
    assert h100.evidence.status is Status.HARDWARE_CHECKED
    assert h100.evidence.golden == "tests/golden/h100"
    wgmma = h100.instructions["wgmma.e4m3.f32"]
    assert [each.name for each in wgmma.a] == ["float8_e4m3fn", "float8_e5m2"]
    assert wgmma.shape == (64, "N", 32)
    assert wgmma.k == 32
    dot = wgmma.dot
    assert dot is not None
    assert dot.aligned is not None
    assert (dot.sum, dot.c, dot.aligned.per, dot.aligned.zero_exponent) == (Sum.ALIGNED, Enter.TERM, Per.TERM, -133)
    assert wgmma.to is not None
    assert (wgmma.to.exponent_bits, wgmma.to.mantissa_bits) == (8, 13)
    assert wgmma.special.nan == 0x7FFFFFFF


def test_a_recipe_is_what_its_text_says() -> None:
    h100 = sqs.parse_accelerator(PRINTED)
    recipe = h100.instructions["mma.e4m3.f32"]
    assert recipe.recipe == (
        Fused(instruction="mma.f16.f32", k=Selection(modulus=4, residues=(0, 1)), c=Start.ZERO),
        Fused(instruction="mma.f16.f32", k=Selection(modulus=4, residues=(2, 3)), c=Start.PREVIOUS),
        Add(instruction="add.f32"),
    )
    assert [each.name for each in recipe.a] == ["float8_e4m3fn"]
    assert recipe.d.name == "float32"
    # what the text does not have is that of the built-in accelerator of its name, whose evidence it keeps
    borrowed = h100.instructions["mma.f16.f32"]
    assert borrowed == sqs.load_accelerator("nvidia_h100").instructions["mma.f16.f32"]
    assert borrowed.evidence.status is not h100.evidence.status


@pytest.mark.parametrize("found", ["[1, 2]", "instructions: [1, 2]", "text"])
def test_a_recipe_borrows_nothing_from_a_file_without_instructions(found: str, tmp_path: Path) -> None:
    folder = tmp_path / "accelerator"
    folder.mkdir()
    (folder / "mine.yaml").write_text(found)
    recipe = "{recipe: [{instruction: mma.f16.f32, c: zero}]}"
    with pytest.raises(SpecError, match="mma.f16.f32"):
        sqs.parse_accelerator(f"name: mine\ninstructions:\n  m.f16.f32: {recipe}\n", search=tmp_path)


MIXED = """
name: mixed
instructions:
  mma.f16.f16: {operands: {c: float32, shape: [M, N, 4]}, dot: {sum: exact}}
  dot4.s8.s32: {dot: {sum: integer, step: 4}}
  m.f16.f32:
    operands: {a: [float8_e4m3fn, float16], b: int8}
    recipe: [{instruction: mma.f16.f16, k: "k % 2 == 0", c: zero}, {instruction: mma.f16.f16, k: "k % 2 == 1"}, ADD]
  dot8.s8.s32:
    operands: {shape: [M, N, 8]}
    recipe: [{instruction: dot4.s8.s32, c: given}]
""".replace("ADD", "{instruction: add.fp32, with: c}")


def test_a_recipe_may_hold_more_than_its_instructions() -> None:
    """Results in float16 that are added in float32, and a C of float32 that is float16 between two runs."""
    mixed, rng = sqs.parse_accelerator(MIXED), np.random.default_rng(0)
    a, b = rng.integers(-8, 8, (3, 16)).astype(np.float32), rng.integers(-128, 128, (16, 2)).astype(np.int8)
    c = np.full((3, 2), 2.0**-20, np.float32)
    expected = c
    for k in (slice(0, 8), slice(8, 16)):
        x, y = a[:, k], b[k].astype(np.float32)
        expected = expected + (x @ y).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(mixed.matmul(a, b, c, instruction="m.f16.f32", a_format="float16"), expected)


def test_a_recipe_of_integers_gives_integers() -> None:
    a = np.arange(-16, 8, dtype=np.int8).reshape(2, 12)
    d = sqs.parse_accelerator(MIXED).matmul(a, a.T, np.int32([[1, 2], [3, 4]]), instruction="dot8.s8.s32")
    assert d.dtype == np.int32
    wide = a.astype(np.int32)
    np.testing.assert_array_equal(d, wide @ wide.T + [[1, 2], [3, 4]])


def test_defaults_are_those_of_the_way_of_summing() -> None:
    text = "name: x\ninstructions:\n  m.f16.f32: {dot: {sum: exact}}\n  m.bf16.f32: {dot: {sum: chain, step: 2}}\n"
    exact, chain = sqs.parse_accelerator(text).spec.instructions
    assert exact.evidence.status is Status.GUESS
    assert exact.dot is not None
    assert (exact.dot.c, exact.dot.step, exact.mode) == (Enter.TERM, None, "nearest_even")
    assert chain.dot is not None
    assert chain.dot.c is Enter.FIRST
    assert chain.a[0].name == chain.b[0].name == "bfloat16"


def test_orders_are_permutations() -> None:
    for order in Order:
        assert sorted(ordered(order, 5)) == list(range(5))
    assert ordered(Order.ODD_FIRST, 4) == (1, 3, 0, 2)
    assert ordered(Order.SWAPPED_PAIRS, 5) == (1, 0, 3, 2, 4)


def test_a_file_extends_another_instruction_by_instruction(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nextends: nvidia_a100\ninstructions:\n  mma.f16.f32: {dot: {sum: exact}}\n")
    mine, a100 = sqs.load_accelerator(path), sqs.load_accelerator("a100")
    assert mine.instructions["mma.bf16.f32"] == a100.instructions["mma.bf16.f32"]
    assert mine.instructions["mma.f16.f32"].dot != a100.instructions["mma.f16.f32"].dot
    assert mine.evidence == a100.evidence


def test_a_users_folder_of_accelerators_is_searched(tmp_path: Path) -> None:
    folder = tmp_path / "accelerator"
    folder.mkdir()
    (folder / "mine.yaml").write_text("name: mine\ninstructions:\n  m.f16.f32: {dot: {sum: exact}}\n")
    assert "mine" in sqs.accelerators(tmp_path)
    assert "mine" not in sqs.formats(tmp_path)
    assert sqs.load_accelerator("mine", tmp_path).name == "mine"


def test_a_link_to_nowhere_hides_no_other_accelerator(tmp_path: Path) -> None:
    folder = tmp_path / "accelerator"
    folder.mkdir()
    (folder / "lost.yaml").symlink_to(folder / "nowhere")
    (folder / "mine.yaml").write_text("name: mine\naliases: [own]\ninstructions:\n  m.f16.f32: {dot: {sum: exact}}\n")
    assert "lost" not in sqs.accelerators(tmp_path)
    assert sqs.load_accelerator("h100", tmp_path).name == "nvidia_h100"
    assert sqs.load_accelerator("own", tmp_path).name == "mine"


@pytest.mark.parametrize("kind", [str, Path, lambda path: iter([path]), lambda path: [str(path)]])
def test_folders_are_named_in_any_way(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    (tmp_path / "accelerator").mkdir()
    (tmp_path / "small.yaml").write_text("name: small\nelement: {kind: float, exponent_bits: 4, mantissa_bits: 1}\n")
    operands = "{a: small, b: small, c: float32, d: float32, shape: [1, 1, 4]}"
    text = f"extends: nvidia_a100\ninstructions:\n  own: {{operands: {operands}, dot: {{sum: exact}}}}\n"
    (tmp_path / "accelerator/mine.yaml").write_text(f"name: mine\n{text}")
    (tmp_path / "accelerator/child.yaml").write_text("name: child\nextends: mine\n")
    for name in ("mine", "child"):
        assert sqs.load_accelerator(name, kind(tmp_path)).instructions["own"].a[0].name == "small"
    assert "own" in sqs.parse_accelerator("name: other\nextends: child\n", search=kind(tmp_path)).instructions
    assert is_accelerator("mine", kind(tmp_path))
    assert "mine" in sqs.accelerators(kind(tmp_path))


# --- the built-in files ------------------------------------------------------------------------------------------


def test_the_promised_accelerators_are_there() -> None:
    nvidia = {f"nvidia_{name}" for name in ("v100", "t4", "a100", "l40s", "h100", "b200", "rtx5090")}
    others = {
        "amd_mi100",
        "amd_mi250x",
        "amd_mi300x",
        "x86_avx512_bf16",
        "x86_vnni",
        "x86_amx",
        "arm_bf16",
        "arm_ebf16",
    }
    assert nvidia | others | {"ideal"} <= set(NAMES)
    assert not set(NAMES) & set(sqs.formats())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_title_source_and_evidence(name: str) -> None:
    spec = load_spec(name)
    text = yaml.safe_load((builtin_directory() / "accelerator" / f"{name}.yaml").read_text("utf-8"))
    assert text["name"] == spec.name == name
    assert spec.title
    assert spec.source
    assert "evidence" in text
    for alias in spec.aliases:
        assert load_spec(alias) == spec


@pytest.mark.parametrize("name", NAMES)
def test_every_instruction_has_a_plan(name: str) -> None:
    for instruction in load_spec(name).instructions:
        for a in () if instruction.recipe else instruction.a:
            lower_mma(instruction, a, instruction.b[0])


def test_float64_is_an_operand_without_a_file() -> None:
    assert sqs.load_accelerator("a100").instructions["mma.f64.f64"].a == (Float64(),)


# --- errors ------------------------------------------------------------------------------------------------------


def test_an_unknown_accelerator_is_told_the_nearest() -> None:
    with pytest.raises(LookupError, match="did you mean 'nvidia_h100'"):
        sqs.load_accelerator("nvidia_h10")


def test_an_unknown_instruction_is_told_the_nearest_and_the_evidence() -> None:
    with pytest.raises(LookupError, match=r"evidence: reference_model.*did you mean 'wgmma.e4m3.f32'"):
        sqs.load_accelerator("h100").matmul([[1.0]], [[1.0]], instruction="wgma.e4m3.f32")


def test_names_are_texts() -> None:
    with pytest.raises(TypeError, match="name is of type int"):
        sqs.load_accelerator(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="load_accelerator reads files"):
        sqs.parse_accelerator(Path("x.yaml"))  # type: ignore[arg-type]
