"""`verify`: it proves what the library does, says what it cannot prove, and fails when anything is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, commands, told

import statqat_sim as sqs
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.prove import Mismatch, Proof
from statqat_sim.reference.steps import thresholds
from statqat_sim.report.verification import INPUTS, ROUNDED, Verification, other_roundings, verify, why_not
from statqat_sim.spec.encode import EncodePolicy, Rounding
from statqat_sim.spec.number import NumberFormat

STOCHASTIC = "name: sr\nextends: int4\nencode: {rounding: stochastic_a}\n"
WRAPS = "name: wraps\nextends: int4\nencode: {overflow: wrap}\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sr.yaml").write_text(STOCHASTIC)
    (tmp_path / "wraps.yaml").write_text(WRAPS)
    return commands(capsys)


def proof(fmt: NumberFormat, encode: Any, progress: Callable[[int, int], None] | None = None, wrong: int = 0) -> Proof:
    """A proof of no time: nothing is encoded."""
    if progress:
        progress(INPUTS, INPUTS)
    mismatches = tuple(Mismatch(0x3F80_0000 + index, 1, 2) for index in range(min(wrong, 10)))
    return Proof(format=fmt.name, inputs=INPUTS, change_points=7, wrong=wrong, mismatches=mismatches, seconds=0.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statqat_sim.report.verification.prove", proof)


def test_a_whole_proof(run: Run) -> None:
    answer = run("verify", "nf4")
    assert (answer.code, answer.err) == (0, "")
    head, row = answer.out.splitlines()
    assert head.split() == ["format", "inputs", "changes", "wrong", "inputs", "codes", "wrong", "codes", "seconds"]
    assert row.split()[:-1] == ["nf4", str(1 << 32), "17", "0", "16", "0"]  # 8 up, then -0, 7 down, NaN
    assert float(row.split()[-1]) > 0


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded either."""

    def verified(fmt: NumberFormat, backend: str, progress: Callable[[int], None]) -> Verification:
        return Verification(encoder=proof(fmt, None), codes=0, wrong_codes=0, wrong_values=(), seconds=0.0)

    monkeypatch.setattr("statqat_sim.report.verification.verify", verified)


@pytest.mark.usefixtures("instant")
def test_formats_are_named_or_filtered(run: Run) -> None:
    def names(*words: str) -> list[str]:
        return [row["format"] for row in run("verify", *words, "--json", "-").json]

    assert names("e4m3", "posit8") == ["float8_e4m3fn", "posit8"]
    numbers = sqs.formats(kind="number")
    assert [name for name in names("--all") if name in numbers] == list(numbers)
    assert names("--all", "TAKUM", "nf8") == [name for name in sqs.formats(kind="number") if "takum" in name]
    assert "wraps" in names("--all", "--search", ".")
    told(run("verify", "--all", "posit99"), "error: no format has 'posit99' in its name, aliases, title or kind")
    told(run("verify"), "error: no format is named; allowed: names, aliases and .yaml files, or --all")
    told(run("verify", "posit99"), "error: no format is named 'posit99'")
    told(run("verify", "int4", "--backend", "cuda"), "error: no backend is named 'cuda'")


ROUNDINGS = [rounding for rounding in Rounding if not rounding.is_stochastic]


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, EncodePolicy]]:
    """What is proven: names, and how they encode."""
    proven: list[tuple[str, EncodePolicy]] = []

    def verified(fmt: NumberFormat, backend: str, progress: Callable[[int], None]) -> Verification:
        proven.append((fmt.name, fmt.encode))
        return Verification(encoder=proof(fmt, None), codes=0, wrong_codes=0, wrong_values=(), seconds=0.0)

    monkeypatch.setattr("statqat_sim.report.verification.verify", verified)
    return proven


def test_all_are_proven_and_six_of_them_under_every_deterministic_rounding(
    run: Run, proven: list[tuple[str, EncodePolicy]]
) -> None:
    assert run("verify", "--all", "--json", "-").code == 0
    provable = [name for name in sqs.formats(kind="number") if why_not(sqs.load_format(name)) is None]
    assert len(ROUNDED) == 6
    assert [name for name, _ in proven if name in provable] == provable
    for name in ROUNDED:
        own = sqs.load_format(name).encode
        names = {name, *(f"{name}.{rounding}" for rounding in ROUNDINGS)}
        policies = [policy for proven_name, policy in proven if proven_name in names]
        assert sorted(policy.rounding for policy in policies) == sorted(ROUNDINGS)
        assert all(policy.model_copy(update={"rounding": own.rounding}) == own for policy in policies)
    assert len(proven) == len(provable) + 6 * (len(ROUNDINGS) - 1)


def test_roundings_of_any_format(run: Run, proven: list[tuple[str, EncodePolicy]]) -> None:
    run("verify", "posit16", "--roundings")
    assert [name for name, _ in proven][:2] == ["posit16", "posit16.nearest_away"]
    assert sorted(policy.rounding for _, policy in proven) == sorted(ROUNDINGS)
    told(run("verify", "sr.yaml", "--roundings"), "error: sr cannot be proven: rounding: stochastic_a")


def test_the_help_and_the_readme_name_the_six(run: Run) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    for text in (run("verify", "--help").out, readme):
        told_rounded = f"{', '.join(ROUNDED[:-1])} and {ROUNDED[-1]} under every deterministic rounding"
        assert told_rounded in " ".join(text.split())


def test_a_rounding_is_proven_whole() -> None:
    """The proof of another rounding runs another encoder: nf4's codes change at the values, not between them."""
    nf4 = sqs.load_format("nf4")
    (chosen,) = (fmt for fmt in other_roundings(nf4) if fmt.encode.rounding is Rounding.TOWARD_POSITIVE)
    found = verify(chosen)
    assert found.holds
    assert found.encoder.format == "nf4.toward_positive"
    assert thresholds(chosen) != thresholds(nf4)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("float32", "32 bits; a proof lists all codes, of up to 16 bits"),
        ("wraps.yaml", "overflow: wrap; a proof lists where codes change, and these change without end"),
        ("sr.yaml", "rounding: stochastic_a; a proof needs one right code for each input"),
    ],
)
def test_what_cannot_be_proven(run: Run, name: str, reason: str) -> None:
    stem = name.removesuffix(".yaml")
    told(run("verify", "int4", name), f"error: {stem} cannot be proven: {reason}")
    answer = run("verify", "--all", "--search", ".", stem)
    assert answer.code == 0
    (line,) = (line for line in answer.out.splitlines() if line.split()[:1] == [stem])
    assert line.split(maxsplit=2)[1:] == ["skipped:", reason]
    (row,) = (row for row in run("verify", "--all", "--search", ".", stem, "--json", "-").json if row["format"] == stem)
    assert (row["skipped"], row["holds"]) == (reason, None)


@pytest.mark.parametrize(
    "name", [name for name in sqs.formats(kind="number") if sqs.load_format(name).bits not in range(9, 17)]
)
def test_the_reasons_are_those_of_the_proof(name: str) -> None:
    fmt = sqs.load_format(name)
    if why_not(fmt) is None:
        assert thresholds(fmt)
    else:
        with pytest.raises(UnsupportedError):
            thresholds(fmt)


@pytest.mark.parametrize("text", [STOCHASTIC, WRAPS])
def test_so_are_those_of_the_policies(text: str) -> None:
    fmt = sqs.parse_format(text)
    assert why_not(fmt) is not None
    with pytest.raises(UnsupportedError):
        thresholds(fmt)


def test_a_missing_folder_is_told_before_anything_is_proven(run: Run) -> None:
    told(run("verify", "nf4", "--json", "nowhere/rows.json"), "error: nowhere: no such folder")


def test_a_wrong_encoder_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "statqat_sim.report.verification.prove",
        lambda fmt, encode, progress: proof(fmt, encode, progress, wrong=12 * (fmt.name == "int4")),
    )
    answer = run("verify", "int4", "nf4")
    assert answer.code == 1
    assert answer.err == "error: 1 of 2 formats are not proven: int4\n"
    lines = answer.out.splitlines()
    assert lines[1].split()[:4] == ["int4", str(1 << 32), "7", "12"]
    assert lines[2] == "  1.0 (0x3f800000): code 0x1, expected 0x2"
    assert lines[12].startswith("nf4 ")
    assert lines[13:] == ["", f"1 proven, 1 wrong, 0 skipped, {lines[14].split()[-2]} seconds"]
    answer = run("verify", "int4", "--json", "rows.json")
    assert (answer.code, answer.out) == (1, "")


@pytest.mark.usefixtures("quick")
def test_a_wrong_decoder_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Codec.decode

    def decode(self: Codec, codes: Any, *, dtype: str) -> Any:
        values = right(self, codes, dtype=dtype)
        if dtype == "float64":
            values[5] = -values[5]
        return values

    monkeypatch.setattr(Codec, "decode", decode)
    answer = run("verify", "int4")
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert lines[1].split()[3:6] == ["0", "16", "1"]
    words = [f"{np.float64(value).view(np.uint64):#x}" for value in (-5, 5)]
    assert lines[2] == f"  code 0x5: float64 {words[0]}, expected {words[1]}"


@pytest.mark.usefixtures("quick")
def test_the_result_as_json(run: Run, tmp_path: Path) -> None:
    (row,) = run("verify", "float8_e5m2", "--backend", "reference", "--json", "-").json
    assert row.pop("seconds") > 0
    assert row == {
        "format": "float8_e5m2",
        "bits": 8,
        "skipped": None,
        "holds": True,
        "inputs": 1 << 32,
        "change_points": 7,
        "wrong": 0,
        "mismatches": [],
        "codes": 256,
        "wrong_codes": 0,
        "wrong_values": [],
    }


@pytest.mark.usefixtures("quick")
def test_a_broken_file_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    answer = run("verify", "--all", "--search", ".", "nf4")
    assert answer.code == 1
    assert "\nnf4 " in answer.out
    assert answer.err == "broken.yaml:1:1: required key 'element' is missing\n"
