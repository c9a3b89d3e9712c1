"""`statqat-sim identify`: what it reads, what it prints, and its exit status."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Run, commands, told
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

import statqat_sim as sqs


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


@pytest.fixture
def q(tmp_path: Path) -> Any:
    """A tensor in mxfp4, in files of every kind."""
    x = np.random.default_rng(4).standard_normal((6, 128)).astype(np.float32)
    codec = sqs.Codec(sqs.load_format("mxfp4"))
    q = codec.quantize(x)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "values.npy", codec.dequantize(q))
    (tmp_path / "packed.bin").write_bytes(q.pack())
    fields = {"w.blocks": q.fields()["elements"], "w.scales": q.scales[0]}
    save_file({**fields, "w.packed": np.frombuffer(q.pack(), np.uint8)}, tmp_path / "q.safetensors")
    np.savez(tmp_path / "codes.npz", codes=q.codes, scales=q.scales[0], wrong=q.codes[:5])
    return q


GIVEN = (
    ("--values", "values.npy"),
    ("--packed", "packed.bin"),
    ("--packed", "q.safetensors:w.packed"),
    ("--codes", "q.safetensors:w.blocks", "--scales", "q.safetensors:w.scales"),
    ("--codes", "codes.npz:codes", "--scales", "codes.npz:scales"),
    ("--scales", "codes.npz:scales"),
)


def test_a_number_format_is_found_by_its_codes(run: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(5).standard_normal((6, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "codes.npy", sqs.Codec(sqs.load_format("nf4")).encode(x))
    answer = run("identify", "x.npy", "--codes", "codes.npy")
    assert answer.code == 0, answer.err
    assert "\nnf4 (scale 1) reproduces it.\n" in answer.out


@pytest.mark.parametrize("given", [("--values", "q.safetensors"), ("--codes", "q.safetensors")])
def test_float8_is_found_by_its_values_and_by_its_codes(run: Run, tmp_path: Path, given: tuple[str, ...]) -> None:
    x = np.random.default_rng(6).standard_normal((6, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    save_tensors({"w": torch.from_numpy(x).to(torch.float8_e5m2)}, tmp_path / "q.safetensors")
    answer = run("identify", "x.npy", *given, "--json", "-")
    assert ("float8_e5m2", "1") in [(row["format"], row["scale"]) for row in answer.json if row["exact"]]


@pytest.mark.usefixtures("q")
@pytest.mark.parametrize("given", GIVEN)
def test_the_format_is_found(run: Run, given: tuple[str, ...]) -> None:
    answer = run("identify", "x.npy", *given)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("──")) + 1
    assert lines[first].split()[0] == "mxfp4"
    assert "100" in lines[first].split()
    assert lines[first].endswith(" none")
    assert "\nmxfp4 reproduces it.\n" in answer.out


@pytest.mark.usefixtures("q")
def test_json(run: Run) -> None:
    first, *others = run("identify", "x.npy", "--packed", "packed.bin", "--json", "-").json
    whole = {"identical": 408, "total": 408, "first_difference": None}
    assert first == {
        "format": "mxfp4",
        "scale": "own",
        "exact": True,
        "arrays": [
            {"name": "bytes", **whole},
            {"name": "elements", **whole | {"identical": 768, "total": 768}},
            {"name": "scale", **whole | {"identical": 24, "total": 24}},
        ],
    }
    assert "mxfp4.ceil" in [row["format"] for row in others if not row["exact"]]


@pytest.mark.usefixtures("q")
def test_ties_are_told(run: Run) -> None:
    out = run("identify", "x.npy", "--values", "values.npy").out
    assert " come equally near: mxfp4" in out
    assert "This tensor does not tell them apart; they differ in " in out


@pytest.mark.usefixtures("q")
def test_none_matches(run: Run, tmp_path: Path) -> None:
    codes = np.load(tmp_path / "codes.npz")["codes"].copy()
    codes[0, 3] ^= 1
    np.save(tmp_path / "changed.npy", codes)
    answer = run("identify", "x.npy", "--codes", "changed.npy", "--scales", "codes.npz:scales", "--first", "1")
    assert answer.code == 1
    assert f"elements [0, 3]: {codes[0, 3]}, not {codes[0, 3] ^ 1}" in answer.out
    assert "more formats (--first N)" in answer.out
    assert "error: no format reproduces it; the nearest is mxfp4, with 99.870 % of its elements\n" in answer.err
    written = run("identify", "x.npy", "--codes", "changed.npy", "--scales", "codes.npz:scales", "--json", "r.json")
    assert (written.code, written.out) == (1, "")
    assert (tmp_path / "r.json").read_text("utf-8").startswith("[\n{")


def test_of_many_ties_the_first_are_told(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "zeros.npy", np.zeros((2, 64), np.float32))
    answer = run("identify", "zeros.npy", "--values", "zeros.npy")
    assert re.search(r"\n\d+ come equally near: .* and \d+ more\.\n", answer.out)


def test_what_no_format_made_is_near_to_none(run: Run, tmp_path: Path) -> None:
    x, other = np.random.default_rng(7).standard_normal((2, 4, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", other)
    np.save(tmp_path / "codes.npy", np.random.default_rng(8).integers(0, 16, (4, 64), np.uint8))
    answer = run("identify", "x.npy", "--values", "y.npy")
    assert (answer.code, answer.err) == (1, "error: no format reproduces any of it\n")
    assert "equally near" not in answer.out
    answer = run("identify", "x.npy", "--codes", "codes.npy")
    assert answer.code == 1
    assert re.search(r"the nearest is \S+, with [1-9]?\d\.\d{3} % of its elements\n$", answer.err)
    assert "tell them apart" not in answer.out


@pytest.mark.usefixtures("q")
def test_number_formats_with_their_scale(run: Run, tmp_path: Path) -> None:
    x, fmt = np.load(tmp_path / "x.npy"), sqs.load_format("int8")
    scale = sqs.MinMax().fit(x, fmt, channel_axis=0)
    np.save(tmp_path / "y.npy", sqs.Codec(fmt).fake_quantize(x, scale=scale.value))
    out = run("identify", "x.npy", "--values", "y.npy").out
    assert "int8 (scale minmax, channel)" in out


@pytest.mark.usefixtures("q")
def test_formats_of_ones_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text("name: mine\nelement: int4\nscales: [{format: bfloat16, block: 16}]\n")
    mine = sqs.load_format(tmp_path / "own" / "mine.yaml")
    (tmp_path / "mine.bin").write_bytes(sqs.Codec(mine).pack(np.load(tmp_path / "x.npy")))
    rows = run("identify", "x.npy", "--packed", "mine.bin", "--search", "own", "--json", "-").json
    assert [row["format"] for row in rows if row["exact"]] == ["mine"]


@pytest.mark.usefixtures("q")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.npy",), "error: allowed: --values, or --packed, or --codes with --scales: one of them"),
        (("x.npy", "--values", "values.npy", "--packed", "packed.bin"), "allowed: --values, or --packed, or --codes"),
        (("none.npy", "--values", "values.npy"), "error: none.npy: No such file or directory"),
        (("x.npy", "--values", "none.npy:a"), "error: none.npy:a: No such file or directory"),
        (("x.npy", "--values", "codes.npz"), "holds 3 tensors; write codes.npz:MEMBER (allowed: codes, scales, wrong)"),
        (("x.npy", "--codes", "codes.npz:cods"), "no tensor is named 'cods'; did you mean 'codes'? (allowed: codes, "),
        (
            ("x.npy", "--values", "codes.npz:wrong"),
            "values have shape (5, 128); allowed: that of the original, (6, 128)",
        ),
        (("x.npy", "--codes", "codes.npz:wrong"), "error: no format fits an original of shape (6, 128)"),
        (
            ("x.npy", "--values", "values.npy", "--scale", "nan"),
            "error: no format takes this scale: scale is",
        ),
        (("x.npy", "--codes", "values.npy"), "error: codes are float32; allowed: integers"),
        (("x.npy", "--packed", "values.npy"), "error: packed is float32; allowed: uint8, or bytes"),
        ((".", "--values", "values.npy"), "error: .: a folder; allowed: FILE, or FILE:MEMBER"),
        (("x.npy", "--values", "packed.bin"), "error: packed.bin: not a file of tensors"),
    ],
)
def test_what_is_wrong_is_told(run: Run, arguments: tuple[str, ...], message: str) -> None:
    told(run("identify", *arguments), message)
