"""The command line on block formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, commands, told

import statqat_sim as sqs
from statqat_sim.cli.block_template import block_template
from statqat_sim.report.block_facts import block_facts
from statqat_sim.report.keys import differing_keys
from statqat_sim.spec.block import BlockFormat

BLOCKS = sqs.formats(kind="block")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


# --- formats, show -----------------------------------------------------------------------------------------------


def test_formats_lists_them(run: Run) -> None:
    rows = run("formats", "block").out.splitlines()
    assert any(row.split()[:5] == ["nvfp4", "4.5", "block", "-", "-"] for row in rows)
    found = {item["name"]: item for item in run("formats", "mxfp4", "--json", "-").json}
    assert found["mxfp4"]["kind"] == "block"
    assert found["mxfp4"]["bits_per_element"] == 4.25
    assert "| mxfp4 | 4.25 | block | - | - |" in run("formats", "mxfp4", "--markdown").out


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "mxfp4",
            ["scale float8_e8m0fnu for 32 elements, rule floor, target emax; all_zero: min, nonfinite: nan_block"],
        ),
        ("nvfp4", ["bits per element 4.5", "scale0 float32 for the whole tensor, rule absmax, target 2688; "]),
        ("nvfp4", ["field scale1 8 bits for 16 elements = 0.5 per element", "field elements 4 bits per element"]),
        ("hif4", ["scale1 uint1 for 8 elements, rule floor, exponent_add of the scale outside; "]),
        ("gguf_q4_k", ["scale.scale float16 for 8 elements, rule absmax; ", "offset minimum, sign -1"]),
        ("gguf_q4_k", ["pack layout: ggml_q4_k; fields: scale0, scale1, offset0, offset1, elements"]),
        ("gguf_q4_0", ["pack layout: interleaved, nibbles: half_split; fields: scale, elements"]),
        ("fp8_block128x128_deepseek", ["scale float32 for 128 × 128 elements, "]),
    ],
)
def test_show(run: Run, name: str, lines: list[str]) -> None:
    answer = run("show", name)
    shown = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert all(any(line.startswith(wanted) for line in shown) for wanted in lines), answer.out


def test_show_has_the_values_of_elements(run: Run, tmp_path: Path) -> None:
    assert run("show", "mxfp4").out.splitlines()[-1].split() == [
        "0x00", "0", "0.5", "1", "1.5", "2", "3", "4", "6", "-0", "-0.5", "-1", "-1.5", "-2", "-3", "-4", "-6"
    ]  # fmt: skip
    (item,) = run("show", "nvfp4", "--json", "-").json
    assert item["values"][7] == 6
    assert [scale["format"] for scale in item["scales"]] == ["float32", "float8_e4m3fn"]
    assert [field["name"] for field in item["fields"]] == ["scale0", "scale1", "elements"]
    assert run("show", "mxfp4", "--plot", "x.svg").code == 0
    assert "float4_e2m1fn" in (tmp_path / "x.svg").read_text("utf-8") or (tmp_path / "x.svg").stat().st_size > 1000


def test_show_the_plans(run: Run) -> None:
    out = run("show", "mxfp4.mse", "--plan").out
    for head in ("amax, key of an element: ", "scales 0, candidate 1: ", "encode: ", "decode: "):
        assert f"\n{head}" in out
    (item,) = run("show", "nvfp4", "--plan", "--json", "-").json
    assert {"scales 0", "scales 1", "encode", "decode"} <= set(item["plans"])


STORED_OTHERWISE = {"gguf_nvfp4": 4.5, "gguf_tq1_0": 1.6875}
"""Bits per element where bytes have room for more bits than codes have, or for fewer."""


@pytest.mark.parametrize("name", BLOCKS)
def test_facts_are_json(name: str) -> None:
    found = block_facts(sqs.load_format(name))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    fields = sum(field["bits_per_element"] for field in found["fields"])
    assert found["bits_per_element"] == STORED_OTHERWISE.get(name, fields)


# --- check, new --------------------------------------------------------------------------------------------------


def test_check(run: Run, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("name: b\nelement: int4\nscales: [{format: float16, block: 32}]\n")
    assert run("check", "b.yaml").out == "b.yaml: ok\n"


def nameless(value: Any) -> Any:
    """A dumped format without what describes it."""
    if isinstance(value, dict):
        described = ("name", "aliases", "title", "source", "oracle")
        return {key: nameless(entry) for key, entry in value.items() if key not in described}
    return [nameless(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", BLOCKS)
def test_a_new_file_is_the_format_that_it_is_like(name: str) -> None:
    fmt = sqs.load_format(name)
    assert isinstance(fmt, BlockFormat)
    text = block_template("mine", fmt)
    assert nameless(sqs.parse_format(text).model_dump(mode="json")) == nameless(fmt.model_dump(mode="json"))
    assert all(len(line) <= 120 for line in text.splitlines())
    for key in ("block", "rule", "target", "all_zero", "nonfinite", "apply", "clamp", "layout", "fields"):
        assert f" {key}: " in text


def test_new_then_check(run: Run, tmp_path: Path) -> None:
    assert run("new", "mine", "--like", "nvfp4").code == 0
    assert run("check", "mine.yaml").out == "mine.yaml: ok\n"
    text = (tmp_path / "mine.yaml").read_text("utf-8")
    assert '  - format: "float8_e4m3fn"\n    block: 16\n    # rule: absmax\n' in text
    assert run("new", "again", "--like", "mine.yaml").code == 0
    assert run("diff", "mine.yaml", "again.yaml").out.endswith(" none differs.\n")


# --- diff --------------------------------------------------------------------------------------------------------


def test_diff(run: Run) -> None:
    lines = run("diff", "mxfp4", "mxfp4.even", "--first", "3").out.splitlines()
    assert lines[3].split() == ["scales[0].rule", "floor", "even"]
    assert lines[5].startswith("Of a sample of 262144 float32 inputs in blocks, ")
    assert lines[-1].endswith(" more inputs (--first N)")
    (item,) = run("diff", "mxfp4", "mxfp4.even", "--json", "-").json
    assert item["keys"] == [{"key": "scales[0].rule", "a": "floor", "b": "even"}]
    x = np.float32(item["examples"][0]["x"])
    assert item["examples"][0]["values"]["a"] != item["examples"][0]["values"]["b"]
    assert 0 < item["other_values"] < item["inputs"] == 1 << 18
    assert np.isfinite(x)


def test_diff_of_itself_and_of_other_kinds(run: Run) -> None:
    assert "Of a sample of 262144 float32 inputs in blocks, none differs." in run("diff", "nvfp4", "nvfp4").out
    for pair in (("mxfp4", "int8"), ("int8", "mxfp4")):
        told(run("diff", *pair), "error: mxfp4 is a block format, and int8 a number format; allowed: two of one kind")


def test_keys_of_levels_that_others_lack() -> None:
    formats = [sqs.load_format(name) for name in ("mxfp4", "nvfp4", "mxfp4.even")]
    keys = dict(differing_keys(formats))
    assert keys["scales[0].block"] == [32, "tensor", 32]
    assert keys["scales[1]"] == [None, "float8_e4m3fn, block 16, rule absmax", None]
    assert "element" not in keys


# --- encode, decode, verify --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        ("encode", "in Python: Codec(format).quantize(x) or .pack(x)"),
        ("decode", "in Python: Codec(format).dequantize(unpack(bytes, format, shape))"),
        ("verify", "blocks are too many to try them all; prove the format of its elements, float4_e2m1fn"),
    ],
)
def test_commands_of_number_formats(run: Run, command: str, instead: str) -> None:
    arguments = () if command == "verify" else ("1",)
    message = f"error: mxfp4 is a block format, and `{command}` takes number formats; {instead}"
    told(run(command, "mxfp4", *arguments), message)


# --- measure -----------------------------------------------------------------------------------------------------


def test_measure(run: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(2).standard_normal((64, 96)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    rows = run("measure", "mxfp4", "int4", "--axis", "0", "--json", "-", "--data", "x.npy").json
    assert rows == sqs.measure({"x": x}, ["mxfp4", "int4"], axis=0)
    rows = run("measure", "nvfp4", "--random-phase", "--seed", "3", "--json", "-", "--data", "x.npy").json
    assert rows == sqs.measure({"x": x}, ["nvfp4"], random_phase=True, seed=3)
    line = next(line for line in run("measure", "mxfp4", "int4", "--data", "x.npy").out.splitlines() if "mxfp4" in line)
    cells = line.split()
    assert cells[1:3] == ["mxfp4", "floor"]
    assert cells[-1] == "-"  # no one scale
    assert "4.25" in cells


def test_a_given_scale_is_shown(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(2).standard_normal((64, 96)).astype(np.float32))
    lines = run("measure", "mxfp4", "int4", "--scale", "0.125", "--data", "x.npy").out.splitlines()
    assert {line.split()[1]: line.split()[-1] for line in lines if line.startswith("x ")} == dict.fromkeys(
        ("mxfp4", "int4"), "0.125"
    )


def test_phases_need_blocks(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((64, 96), np.float32))
    message = "error: --random-phase is about blocks, and there are none in int8, nf4; allowed: block formats"
    told(run("measure", "int8", "nf4", "--random-phase", "--data", "x.npy"), message)
    assert run("measure", "int8", "mxfp4", "--random-phase", "--data", "x.npy").code == 0


def test_tensors_without_such_blocks_are_noted(run: Run, tmp_path: Path) -> None:
    x = {"w": np.ones((3, 4), np.float32), "b": np.ones(4, np.float32)}
    np.savez(tmp_path / "x.npz", **x)
    answer = run("measure", "fp8_block128x128_deepseek", "int8", "--json", "-", "--data", "x.npz")
    assert [(row["tensor"], row["format"]) for row in answer.json] == [
        ("w", "fp8_block128x128_deepseek"), ("w", "int8"), ("b", "int8")
    ]  # fmt: skip
    assert "note: b: fp8_block128x128_deepseek: blocks of two axes lie in the last two" in answer.err
    np.save(tmp_path / "b.npy", x["b"])
    told(run("measure", "fp8_block128x128_deepseek", "--data", "b.npy"), "error: b: ", "blocks of two axes")
    told(run("measure", "mxfp4", "--axis", "1", "--data", "b.npy"), "error: b: axis is 1; allowed: -1 to 0")
