"""The command line, as a user meets it: what it prints, where, with which exit code, and what it says when it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from command import Run, commands, told
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

import statqat_sim as sqs
from statqat_sim.cli import main
from statqat_sim.cli.members import read_member
from statqat_sim.cli.sources import COUNT, SOURCES, standard_sources
from statqat_sim.cli.template import template
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.meaning import MEANING
from statqat_sim.spec.pack import Pack

BAD_SPECS = Path(__file__).parent / "bad_specs"
COMMANDS = (
    "formats", "show", "diff", "check", "new", "schema", "encode", "decode", "measure", "rank", "theory", "identify",
    "verify", "backends", "cache",
)  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


def process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "statqat_sim.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


# --- the program -------------------------------------------------------------------------------------------------


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"statqat-sim {sqs.__version__}\n"
    answer = run("--help")
    assert answer.code == 0
    assert all(f"\n  {command} " in answer.out for command in COMMANDS)
    assert "\n  statqat-sim check my_format.yaml   " in answer.out  # examples keep their lines


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(run: Run, command: str) -> None:
    for option in ("-h", "--help"):
        answer = run(command, option)
        assert answer.code == 0
        assert answer.out.startswith(f"Usage: statqat-sim {command} ")
        assert "\\b" not in answer.out


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("show",), ("measure", "int8", "--per", "row"), ("cache", "--all")]
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("Usage: statqat-sim ")


def test_a_light_start() -> None:
    code = (
        "import sys\nfrom statqat_sim.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numba', 'torch', 'matplotlib', 'scipy', 'numpy', 'pydantic', 'rich'} & set(sys.modules)\n"
        "raise SystemExit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_pipes_get_whole_lines_without_colours() -> None:
    done = process("formats", COLUMNS="40")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) == len(sqs.formats()) + 2
    assert all(line == line.rstrip() for line in lines)
    done = process("show", "x" * 300 + ".yaml", COLUMNS="40")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {'x' * 300}.yaml: File name too long\n"


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m statqat_sim.cli formats | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_errors_of_ours_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statqat_sim.spec.catalog.load_format", lambda *_: {}["missing"])
    with pytest.raises(KeyError):
        main(["show", "int8"])


# --- formats, show -----------------------------------------------------------------------------------------------


def test_formats(run: Run) -> None:
    rows = run("formats", "--json", "-").json
    assert [row["name"] for row in rows] == list(sqs.formats())
    first = next(row for row in rows if row["name"] == "float8_e4m3fn")
    assert (first["bits"], first["max"], first["kind"], first["nan_codes"]) == (8, 448, "float", 2)


@pytest.mark.parametrize(
    ("part", "name"), [("E4M3", "ue4m3"), ("normalfloat", "nf4"), ("codebook", "nf4"), ("qlora", "nf4")]
)
def test_formats_by_name_alias_title_and_kind(run: Run, part: str, name: str) -> None:
    rows = run("formats", part, "--json", "-").json
    assert name in [row["name"] for row in rows]
    assert len(rows) < len(sqs.formats())
    assert f"\n{name} " in run("formats", part).out


def test_formats_as_markdown(run: Run) -> None:
    lines = run("formats", "--markdown").out.splitlines()
    assert lines[0] == "| name | bits | kind | max | smallest | title |"
    assert lines[1] == "| --- | ---: | --- | ---: | ---: | --- |"
    assert len(lines) == 2 + len(sqs.formats())
    (nf4,) = (line for line in lines if line.startswith("| nf4 "))
    assert nf4 == "| nf4 | 4 | codebook | 1 | 0.0795803 | QLoRA 4-bit NormalFloat |"


def test_no_such_formats(run: Run) -> None:
    told(run("formats", "e9m9"), "error: no format has 'e9m9' in its name, aliases, title or kind")


def test_formats_of_ones_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nelement: {kind: int, bits: 3}\n")
    assert run("formats", "mine", "--search", tmp_path, "--json", "-").json[0]["bits"] == 3
    assert run("show", "mine", "--search", tmp_path, "--json", "-").json[0]["max"] == 3
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    answer = run("formats", "--search", tmp_path)
    assert answer.code == 1
    assert "\nmine " in answer.out
    assert answer.err == f"{tmp_path}/broken.yaml:1:1: required key 'element' is missing\n"
    told(
        run("formats", "--search", tmp_path / "none"), "none: not a directory of formats; allowed in `search`: folders"
    )


def test_other_yaml_beside_formats_is_passed_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nelement: {kind: int, bits: 3}\n")
    (tmp_path / "qat.yaml").write_text("rules:\n  - {match: '*', weight: nvfp4}\n")
    (tmp_path / "compose.yaml").write_text("name: project\nservices: {}\n")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    answer = run("formats", "--search", tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert "\nmine " in answer.out
    for kind in (None, "number"):
        others = set(sqs.formats(tmp_path, kind=kind)) - set(sqs.formats(kind=kind))  # type: ignore[arg-type]
        assert others == {"mine"}
    told(run("show", "qat", "--search", tmp_path), "qat.yaml:1:1: rules: unknown key")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("measure", "int4", "nf4", "--axis", "7"), "--axis is about blocks, and there are none in int4, nf4"),
        (("rank", "int4", "--axis", "0"), "--axis is about blocks, and there are none in int4"),
        (
            ("measure", "mxfp4", "--quantizer", "iterative"),
            "--quantizer: mxfp4 is a block format, which finds its own scales; allowed: with number formats",
        ),
        (
            ("measure", "mxfp4", "--per", "channel"),
            "--per channel: mxfp4 is a block format, which finds its own scales",
        ),
    ],
)
def test_options_that_mean_nothing_are_refused(run: Run, words: tuple[str, ...], message: str) -> None:
    told(run(*words), message)


def test_show_as_json(run: Run) -> None:
    (row,) = run("show", "e5m2", "--plan", "--json", "-").json
    fmt = sqs.load_format("float8_e5m2")
    assert (row["name"], row["max"], row["min_subnormal"], row["ulp_at_one"]) == ("float8_e5m2", 57344, 2**-16, 0.25)
    assert row["element"]["exponent_bits"] == 5
    assert row["encode"]["rounding"] == "nearest_even"
    assert [float(value) for value in row["values"]] == pytest.approx(fmt.table().tolist(), rel=0, nan_ok=True)
    assert row["values"][0x7C:0x7E] == ["inf", "nan"]
    assert row["plans"]["encode"]["steps"] == len(row["plans"]["encode"]["program"]) - 1
    (row,) = run("show", "float16", "--json", "-").json
    assert "values" not in row


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e8m0fnu", "nf4", "int8", "uint1", "q7_8", "bfloat16"])
def test_show(run: Run, name: str) -> None:
    answer = run("show", name)
    fmt = sqs.load_format(name)
    lines = answer.out.splitlines()
    assert lines[0].split() == ["name", name]
    assert f"codes                {fmt.finite_codes} finite, {fmt.nan_codes} NaN, {fmt.inf_codes} Inf" in lines
    if fmt.bits > 8:
        assert "0x00" not in answer.out
        return
    table = [line.split() for line in lines if line.startswith("0x")]
    assert [float(text) for row in table for text in row[1:]] == pytest.approx(fmt.table().tolist(), rel=0, nan_ok=True)
    assert [int(row[0], 16) for row in table] == list(range(0, 1 << fmt.bits, len(table[0]) - 1))


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("posit8", ["fraction bits        3 from 2^-4 to 2^4; 2 from 2^-8 to 2^8; 1 from 2^-12 to 2^12; 0 beyond"]),
        ("posit4", ["fraction bits        0"]),
        ("takum8", ["fraction bits        3 from 2^-1 to 2^1; 2 from 2^-3 to 2^3; 1 from 2^-7 to 2^7; 0 beyond"]),
        ("takum_log8", ["ratio of neighbours  1.06449 at one, larger outward"]),
        ("lns8", ["ratio of neighbours  2^(1/8) = 1.0905077326652577"]),
        (
            "hif8",
            [
                "regime 11            exponents ±8 to ±15, fraction bits 1",
                "regime 001           exponents ±1, fraction bits 3",
                "regime 0001          exponent 0, fraction bits 3",
                "regime 0000          0, and the powers 2^-22 to 2^-16",
            ],
        ),
        ("int4", ["pack                 nibbles: low_first, bit_order: lsb"]),
    ],
)
def test_show_what_is_particular_to_a_kind(run: Run, name: str, lines: list[str]) -> None:
    shown = run("show", name).out.splitlines()
    assert set(lines) <= set(shown)


def test_random_bits_are_shown_where_they_are_drawn(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sr.yaml").write_text("name: sr\nextends: int4\nencode: {rounding: stochastic_b}\n")
    assert "rounding: stochastic_b, random_bits: 16, " in run("show", "sr.yaml").out
    assert "random_bits" not in run("show", "int4").out


def test_show_draws(run: Run, tmp_path: Path) -> None:
    answer = run("show", "posit8", "--plot", "a.png")
    assert answer.code == 0
    assert answer.out == run("show", "posit8").out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    told(run("show", "posit8", "--plot", "a.txt"), "error: a.txt: not a picture's name; allowed: .png, .svg, .pdf")
    told(run("show", "posit8", "--plot", "none/a.png"), "error: none: no such folder")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_show_the_plans(run: Run) -> None:
    from statqat_sim.plan.lower import Purpose, lower

    out = run("show", "int4", "--plan").out
    for purpose in (Purpose.ENCODE, Purpose.DECODE):
        plan = lower(sqs.load_format("int4"), purpose)
        assert f"\n{purpose.value}: {len(plan.shape.steps)} steps\n{plan}\n" in out


def test_show_what_is_no_format(run: Run) -> None:
    told(run("show", "float8_e4m3f"), "error: no format is named 'float8_e4m3f'; did you mean 'float8_e4m3fn'?")
    told(run("show", "missing.yaml"), "error: missing.yaml: No such file or directory")
    told(run("show", BAD_SPECS / "kind_unknown.yaml"), "kind_unknown.yaml:3:17: element.kind: unknown kind")


# --- check, new --------------------------------------------------------------------------------------------------


def test_check(run: Run, tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text("name: right\nelement: {kind: int, bits: 3}\n")
    answer = run("check", "right.yaml")
    assert (answer.code, answer.out, answer.err) == (0, "right.yaml: ok\n", "")
    (tmp_path / "wrong.yaml").write_text("name: wrong\nelement: {kind: int, bits: 99, biss: 3}\n")
    answer = run("check", "right.yaml", "wrong.yaml", "none.yaml", "right")
    assert answer.code == 1
    assert answer.out == "right.yaml: ok\n"
    lines = answer.err.splitlines()
    assert lines[0].startswith("wrong.yaml:2:28: element.bits: ")
    assert lines[1].startswith("wrong.yaml:2:32: element.biss: ")
    assert lines[2:] == ["error: none.yaml: No such file or directory", "error: right: No such file or directory"]
    (tmp_path / "empty").mkdir()
    told(run("check", "empty"), "error: empty: no .yaml file in this folder")
    assert run("check", ".").out == "right.yaml: ok\n"


@pytest.mark.parametrize("name", sqs.formats(kind="number"))
def test_a_new_file_is_the_format_that_it_is_like(name: str) -> None:
    fmt = sqs.load_format(name)
    text = template("mine", fmt)
    mine = sqs.parse_format(text)
    assert mine.name == "mine"
    assert mine.element == fmt.element
    assert mine.encode == fmt.encode
    assert mine.pack == fmt.pack
    assert mine.aliases == mine.oracle == ()
    assert all(len(line) <= 120 for line in text.splitlines())
    for key in (*type(fmt.element).model_fields, *EncodePolicy.model_fields, *Pack.model_fields):
        assert f"\n  {key}: " in text or f"\n  # {key}: " in text


@pytest.mark.parametrize("name", ["int8", "float8_e4m3fn", "hif8"])
def test_the_template_explains_every_key(name: str) -> None:
    fmt = sqs.load_format(name)
    text = " ".join(template("mine", fmt).replace("\n  # ", " ").split())
    for key in (*type(fmt.element).model_fields, *EncodePolicy.model_fields, *Pack.model_fields):
        assert f"# {MEANING[key]}: " in text or f" {MEANING[key]}: " in text


def test_a_template_tells_what_is_allowed() -> None:
    text = template("mine", sqs.load_format("int8"))
    assert "twos_complement | unsigned | sign_magnitude | offset_binary\n  encoding: twos_complement\n" in text
    assert "an integer\n  # max: 0\n" in text
    assert "true | false\n  flush_inputs: false\n" in text
    assert "nan | max | zero | error | a code\n  nan_input: max\n" in text
    assert "exponent_bits - 1) - 1): -4096 to 4096\n  bias: 7\n" in template("mine", sqs.load_format("float8_e4m3fn"))


@pytest.mark.parametrize("name", ["my_format", "made", "of_some_length"])
def test_a_template_breaks_no_word(name: str) -> None:
    text = template(name, sqs.load_format("float8_e4m3fn"))
    assert f"`statqat-sim show {name}.yaml`" in " ".join(text.replace("\n#", "").split())
    assert not re.search(r"^# .*\w-$", text, re.MULTILINE)


def test_a_template_of_nested_keys() -> None:
    text = template("mine", sqs.load_format("hif8"))
    assert '  regimes: [\n    {prefix: "11", ' in text
    assert ": a list of mappings, one for each prefix\n  regimes: [" in text.replace("\n  # ", " ")
    assert "  kind: tapered\n  # bits of one code: 3 to 16\n" in text
    assert "takes: 1 to 32\n  random_bits: 16\n" in text
    high = sqs.parse_format("name: f\nelement: {kind: int, bits: 4}\npack: {nibbles: high_first}")
    assert "low_first | high_first\n  nibbles: high_first\n" in template("mine", high)


def test_new_then_check(run: Run, tmp_path: Path) -> None:
    answer = run("new", "mine", "--like", "e5m2", "--output", "a/b")
    assert answer.out == "a/b/mine.yaml: written; change it, then: statqat-sim check a/b/mine.yaml\n"
    assert run("check", "a").out == "a/b/mine.yaml: ok\n"
    assert sqs.load_format(tmp_path / "a/b/mine.yaml").element == sqs.load_format("float8_e5m2").element
    assert run("new", "again", "--like", "a/b/mine.yaml").code == 0
    for name in ("1e5", "null", "on", "12"):  # words that YAML reads as something else
        assert run("new", name).code == 0
        assert run("check", f"{name}.yaml").code == 0


def test_new_refuses(run: Run, tmp_path: Path) -> None:
    for name in ("a b", "a/b", "", "-x" * 9, "ä", "../a"):
        answer = run("new", "--", name)
        told(answer, "is not a plain name; allowed: letters, digits, and . _ + -")
    told(run("new", "int8"), "error: 'int8' is the name of another format")
    told(run("new", "fp8_e4m3"), "error: 'fp8_e4m3' is the name of another format")
    told(run("new", "mine.yaml"), "error: 'mine.yaml' is a file's name; write 'mine'")
    told(run("new", "mine", "--like", "in8"), "did you mean 'int8'?")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.yaml").write_text("precious")
    told(run("new", "mine"), "error: mine.yaml: File exists")
    assert (tmp_path / "mine.yaml").read_text() == "precious"
    told(run("new", "other", "--output", "mine.yaml"), "error: mine.yaml: File exists")


# --- backends, cache ---------------------------------------------------------------------------------------------


def test_backends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["name"]: row for row in run("backends", "--json", "-").json}
    assert rows["numba"]["available"] is True
    assert rows["numba"]["reason"] is None
    assert rows["numba"]["versions"]["numpy"] == np.__version__
    assert "reference" in run("backends").out

    class Missing:
        name = "gpu"

        def available(self) -> str | None:
            return "no GPU; get one [soon]"

        def versions(self) -> Mapping[str, str]:
            raise RuntimeError

    monkeypatch.setattr("statqat_sim.runtime.backends", lambda: {"gpu": Missing()})
    row = {"name": "gpu", "available": False, "reason": "no GPU; get one [soon]", "versions": {}}
    assert run("backends", "--json", "-").json == [row]
    assert "no: no GPU; get one [soon]" in run("backends").out


def test_cache(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATQAT_CACHE_DIR", str(tmp_path / "cache"))
    assert run("cache").out == f"{tmp_path / 'cache'}: 0 files, 0.0 MB\n"
    kernels = tmp_path / "cache" / "kernels"
    kernels.mkdir(parents=True)
    (kernels / "a.py").write_bytes(b"#" * 1_500_000)
    (kernels.parent / "other").write_text("stays")
    assert run("cache").out == f"{tmp_path / 'cache'}: 1 files, 1.5 MB\n"
    assert run("cache", "--clear").out == f"{tmp_path / 'cache'}: 1 files deleted\n"
    assert [path.name for path in kernels.parent.iterdir()] == ["other"]


# --- measure -----------------------------------------------------------------------------------------------------


def data(*shape: int) -> Any:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def test_measure_standard_sources(run: Run) -> None:
    rows = run("measure", "int8", "nf4", "--json", "-").json
    assert [row["tensor"] for row in rows] == [name for name in SOURCES for _ in range(2)]
    assert list(SOURCES) == ["normal", "laplace", "student_t5", "lognormal", "outliers"]
    assert all(row["elements"] == COUNT == 1 << 20 for row in rows)
    power = {row["tensor"]: row["power"] for row in rows}
    # E[x^2]: 1, e^2 of a lognormal, and 0.999 + 0.001 * 900 with outliers
    expected = {"normal": 1, "laplace": 1, "student_t5": 1, "lognormal": np.exp(2), "outliers": 1.899}
    assert power == pytest.approx(expected, rel=0.05)
    again = {tensor.name: tensor.load() for tensor in standard_sources()}
    assert sqs.measure(again, ["int8", "nf4"]) == rows


def test_measure_prints_a_table(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=data(4, 300), b=np.zeros(3, np.float32))
    answer = run("measure", "int4", "int8", "float4_e2m1fn", "--data", "w.npz", "--per", "channel")
    assert (answer.code, answer.err) == (0, "")
    upper, lower, _, *lines = answer.out.splitlines()
    assert upper.split() == ["SQNR", "max", "bits", "per", "entropy", "clipped", "flushed"]
    assert lower.split() == ["tensor", "format", "(dB)", "MSE", "error", "element", "(bits)", "(%)", "(%)", "scale"]
    cells = [line.split() for line in lines if line]
    assert [row[:2] for row in cells[:3]] == [["a", "int8"], ["a", "int4"], ["a", "float4_e2m1fn"]]
    ratios = [float(row[2]) for row in cells[:3]]
    assert ratios == sorted(ratios, reverse=True)
    assert [row[2] for row in cells[3:6]] == ["exact"] * 3
    assert [row[:3] for row in cells[6:]] == [["all", "tensors", name] for name in ("int8", "int4", "float4_e2m1fn")]


def test_measure_is_the_library_s_measure(run: Run, tmp_path: Path) -> None:
    x = {"a": data(4, 30), "b": data(7)}
    save_file(x, tmp_path / "w.safetensors")
    ours = run("measure", "int4", "e4m3", "--data", "w.safetensors", "--per", "channel", "--json", "-").json
    assert ours == sqs.measure(x, ["int4", "e4m3"], per="channel")
    ours = run("measure", "int4", "--data", "w.safetensors", "--scale", "0.25", "--json", "-").json
    assert ours == sqs.measure(x, "int4", scale=0.25)
    answer = run("measure", "int4", "--data", "w.safetensors", "--json", "rows.json")
    assert (answer.code, answer.out) == (0, "")
    assert json.loads((tmp_path / "rows.json").read_text()) == sqs.measure(x, "int4")


def test_stochastic_rows_are_the_same_each_time(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data(5000))
    (tmp_path / "sr.yaml").write_text("name: sr\nextends: int4\nencode: {rounding: stochastic_a}\n")

    def rows(*more: str) -> Any:
        return run("measure", "sr.yaml", "--data", "x.npy", "--json", "-", *more).json

    assert rows() == rows() == rows("--seed", "0") != rows("--seed", "1")
    assert rows("--seed", "7") == sqs.measure({"x": np.load(tmp_path / "x.npy")}, [tmp_path / "sr.yaml"], seed=7)
    told(run("measure", "sr.yaml", "--data", "x.npy", "--seed", "-1"), "error: seed is -1; allowed: 0 to 2^64 - 1")


def test_measure_a_format_file(run: Run) -> None:
    assert run("new", "mine", "--like", "int4").code == 0
    rows = run("measure", "mine.yaml", "int4", "--json", "-").json
    assert rows[0]["format"] == "mine"
    assert rows[0] == {**rows[1], "format": "mine"}


def save_all(folder: Path, x: Any) -> dict[str, str]:
    """One tensor in every kind of file; the files, and what a row calls the tensor."""
    (folder / "deep").mkdir()
    np.save(folder / "one.npy", x)
    np.savez(folder / "two.npz", w=x)
    save_file({"w": x}, folder / "deep" / "three.safetensors")
    torch.save({"epoch": 3, "state": {"w": torch.from_numpy(x)}, "list": [torch.from_numpy(x)]}, folder / "four.pt")
    torch.save(torch.nn.Parameter(torch.from_numpy(x)), folder / "five.pth")
    (folder / "README.txt").write_text("not data")
    return {
        "one.npy": "one",
        "two.npz": "w",
        "deep/three.safetensors": "w",
        "four.pt": "state.w",
        "five.pth": "five",
    }


def test_every_kind_of_file(run: Run, tmp_path: Path) -> None:
    x = data(20, 3)
    expected = sqs.measure(x, "int8")[0]
    for file, name in save_all(tmp_path, x).items():
        rows = run("measure", "int8", "--data", file, "--json", "-").json
        assert rows[0] == {**expected, "tensor": name}


def test_several_files_and_folders(run: Run, tmp_path: Path) -> None:
    x = data(20, 3)
    save_all(tmp_path, x)
    rows = run("measure", "int8", "--data", ".", "--json", "-").json
    names = ["deep/three.safetensors:w", "five.pth", "four.pt:state.w", "four.pt:list.0", "one.npy", "two.npz:w"]
    assert sorted(row["tensor"] for row in rows) == sorted(names)
    rows = run("measure", "int8", "--data", "one.npy", "--data", "deep", "--json", "-").json
    assert [row["tensor"] for row in rows] == ["one.npy", "deep/three.safetensors:w"]


def test_dtypes_of_files(run: Run, tmp_path: Path) -> None:
    x = (np.arange(-60, 60) / 8).astype(np.float32)
    expected = sqs.measure(x, "float8_e4m3fn")[0]
    same = {"h": torch.from_numpy(x).half(), "b": torch.from_numpy(x).bfloat16(), "d": torch.from_numpy(x).double()}
    save_tensors(same, tmp_path / "w.safetensors")
    torch.save(same, tmp_path / "w.pt")
    for file in ("w.safetensors", "w.pt"):
        rows = run("measure", "float8_e4m3fn", "--data", file, "--json", "-").json
        assert {row["tensor"]: row for row in rows} == {name: {**expected, "tensor": name} for name in same}


FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


def save_float8(folder: Path, codes: list[int]) -> None:
    """Tensors of these codes in each float8 dtype that torch has."""
    tensors = {name: torch.tensor(codes, dtype=torch.uint8).view(getattr(torch, name)) for name in FLOAT8}
    save_tensors(tensors, folder / "w.safetensors")
    torch.save(tensors, folder / "w.pt")


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_float8_is_read_as_the_values_of_its_codes(run: Run, tmp_path: Path, file: str) -> None:
    codes = list(range(0x28, 0x58))
    save_float8(tmp_path, codes)
    x = {name: np.uint8(codes).view(getattr(ml_dtypes, name)).astype(np.float32) for name in FLOAT8}
    for command, library in (("measure", sqs.measure), ("rank", sqs.rank)):
        answer = run(command, "int8", "nf4", "--data", file, "--json", "-")
        told = answer.err.removeprefix("note: ").removeprefix(f"{min(x)}: ")
        assert told == f"float8 without scales, read as its values (and {len(x) - 1} more)\n"
        assert by_tensor(answer.json) == by_tensor(library(x, ["int8", "nf4"]))


@pytest.mark.parametrize("name", FLOAT8)
def test_every_code_of_float8_is_read_exactly(tmp_path: Path, name: str) -> None:
    save_float8(tmp_path, list(range(256)))
    expected = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(np.float32)
    for file in ("w.safetensors", "w.pt"):
        assert np.array_equal(read_member(f"{tmp_path / file}:{name}"), expected, equal_nan=True)
        assert read_member(f"{tmp_path / file}:{name}", codes=True).tolist() == list(range(256))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_float8_of_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    tensor = torch.full(shape, 0.5).to(torch.float8_e4m3fn)
    save_tensors({"w": tensor}, tmp_path / "w.safetensors")
    torch.save(tensor, tmp_path / "w.pt")
    for file in ("w.safetensors", "w.pt"):
        assert np.array_equal(read_member(str(tmp_path / file)), np.full(shape, 0.5, np.float32))


def by_tensor(rows: Any) -> dict[tuple[str, str], Any]:
    return {(row["tensor"], row["format"]): row for row in rows}


def test_integers_are_skipped_with_a_note(run: Run, tmp_path: Path) -> None:
    whole = {"i": np.arange(3), "u": np.arange(3, dtype=np.uint8), "t": np.array([True])}
    save_file({**whole, "w": data(4)}, tmp_path / "w.safetensors")
    answer = run("measure", "int8", "--data", "w.safetensors", "--json", "-")
    assert [row["tensor"] for row in answer.json] == ["w"]
    assert sorted(answer.err.splitlines()) == [f"note: {name}: integers, skipped" for name in sorted(whole)]
    np.save(tmp_path / "i.npy", np.arange(3))
    torch.save(torch.arange(3), tmp_path / "i.pt")
    for file in ("i.npy", "i.pt"):
        told(
            run("measure", "int8", "--data", file), "note: i: integers", "error: nothing to measure: the data holds no"
        )


def test_nan_empty_and_zero_data(run: Run, tmp_path: Path) -> None:
    x = np.float32([1, np.nan, np.inf, -2])
    np.savez(tmp_path / "w.npz", some=x, all=x[1:3], empty=x[:0], zero=0 * x[:1], wide=np.float64([1e300, 1]))
    answer = run("measure", "int8", "--data", "w.npz", "--json", "-")
    rows = {row["tensor"]: row for row in answer.json}
    assert rows["some"]["mse"] == sqs.measure(x[[0, 3]], "int8")[0]["mse"]
    assert rows["all"]["mse"] is rows["empty"]["mse"] is None
    assert (rows["zero"]["mse"], rows["zero"]["sqnr_db"]) == (0, None)
    assert answer.err.splitlines() == [
        "note: some: 2 of 4 values are NaN or Inf, left out",
        "note: all: 2 of 2 values are NaN or Inf, left out",
        "note: wide: 1 of 2 values are NaN or Inf, left out",
    ]
    table = run("measure", "int8", "--data", "w.npz")
    assert table.code == 0
    assert "exact" in table.out


def test_data_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "pickled.npy", np.array([{}, None], object), allow_pickle=True)
    np.savez(tmp_path / "pickled.npz", w=np.array([{}, None], object))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.save(tmp_path / "complex.npy", np.ones(2, complex))
    np.save(tmp_path / "bf16.npy", np.ones(2, ml_dtypes.bfloat16))
    with (tmp_path / "e5m2.npy").open("wb") as stream:  # as numpy writes float8_e5m2 of some versions of ml_dtypes
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f1", "fortran_order": False, "shape": (2,)})
        stream.write(bytes(2))
    save_tensors({"w4": torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, tmp_path / "fp4.safetensors")
    torch.save({"w4": torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, tmp_path / "fp4.pt")
    torch.save({"w": torch.eye(2).to_sparse()}, tmp_path / "sparse.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    (tmp_path / "folder").mkdir()
    for suffix in ("npy", "npz", "safetensors", "pt"):
        (tmp_path / f"junk.{suffix}").write_text("this is no data")
        (tmp_path / f"empty.{suffix}").touch()
    messages = {
        "pickled.npy": "pickled.npy: holds Python objects, which are never loaded; save plain tensors",
        "pickled.npz": "pickled.npz: w: holds Python objects, which are never loaded; save plain tensors",
        "text.npy": "text.npy: holds str32; allowed: float16, bfloat16, float32, float64, float8_e4m3fn, ",
        "complex.npy": "complex.npy: holds complex128; allowed",
        "bf16.npy": "bf16.npy: holds void16 (numpy saves bfloat16 and float8 without their type); allowed",
        "e5m2.npy": "e5m2.npy: holds a dtype that numpy does not know (so it writes float8_e5m2); save its",
        "fp4.safetensors": "fp4.safetensors: w4: holds F4; allowed: float16, bfloat16, float32, float64, float8_e4m3fn",
        "fp4.pt": "fp4.pt: w4: holds float4_e2m1fn_x2; allowed",
        "sparse.pt": "sparse.pt: w: is torch.sparse_coo; allowed: dense tensors",
        "none.pt": "none.pt: holds no tensors",
        "module.pt": "module.pt: not a file of tensors alone: holds Python objects, which are never loaded",
        "junk.npy": "junk.npy: not a .npy file",
        "empty.npy": "empty.npy: not a .npy file",
        "junk.npz": "junk.npz: not a .npz file",
        "empty.npz": "empty.npz: not a .npz file",
        "junk.safetensors": "junk.safetensors: Error while deserializing header",
        "empty.safetensors": "empty.safetensors: Error while deserializing header",
        "junk.pt": "junk.pt: not a file of tensors alone: torch.save wrote no such file",
        "empty.pt": "empty.pt: not a file of tensors alone: torch.save wrote no such file",
        "missing.npy": "missing.npy: No such file or directory",
        "missing.safetensors": "missing.safetensors: No such file or directory",
        "fp8.onnx": "fp8.onnx: No such file or directory",
        "folder": "folder: no data in this folder; allowed: .npy, .npz, .safetensors, .pt, .pth",
    }
    for file, message in messages.items():
        answer = run("measure", "int8", "--data", file)
        told(answer)
        assert answer.err.startswith(f"error: {message}")
        assert answer.err.count("\n") == 1
    (tmp_path / "w.onnx").touch()
    told(run("measure", "int8", "--data", "w.onnx"), "error: w.onnx: not a file of tensors; allowed: .npy, ")


def test_torch_files_without_torch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torch.ones(2), tmp_path / "w.pt")
    monkeypatch.setattr("statqat_sim.cli.tensors.find_spec", lambda _: None)
    told(run("measure", "int8", "--data", "w.pt"), 'w.pt: reading it needs torch; pip install -e ".[torch]" in the')


def test_wrong_formats_and_scales(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", data(3))
    told(run("measure", "nf5", "--data", "w.npy"), "no format is named 'nf5'; did you mean 'nf4'?")
    told(run("measure", "nf4", "w.npy"), "error: w.npy is data, not a format; write --data before the files")
    told(run("measure", BAD_SPECS / "kind_unknown.yaml"), "kind_unknown.yaml:3:17: element.kind: unknown kind")
    for scale in ("0", "-1", "nan", "inf", "1e-60"):
        told(run("measure", "nf4", "--data", "w.npy", "--scale", scale), "error: a scale is ")


def test_measure_draws(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=data(40, 3), b=data(50))
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        assert run("measure", "int4", "int8", "nf4", "--data", "w.npz", "--plot", f"a{suffix}").code == 0
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(magic)
    told(run("measure", "int8", "--data", "w.npz", "--plot", "a.txt"), "a.txt: not a picture's name; allowed: .png")
    answer = run("measure", "int8", "--data", "w.npz", "--plot", "none/a.png", "--json", "-")
    assert answer.code == 1
    assert "error: none" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg", "w.npz"]


def test_a_folder_with_a_format_s_name_is_that_format(run: Run, tmp_path: Path) -> None:
    (tmp_path / "int8").mkdir()
    np.save(tmp_path / "int8" / "a.npy", np.float32([1, 2]))
    np.save(tmp_path / "one.npy", np.float32([1, 2, 3]))
    rows = run("measure", "nf4", "int8", "--data", "one.npy", "--json", "-").json
    assert {(row["format"], row["tensor"]) for row in rows} == {("nf4", "one"), ("int8", "one")}
    rows = run("measure", "nf4", "--data", "one.npy", "./int8", "--json", "-").json
    assert len({row["tensor"] for row in rows}) == 2


def test_a_tensor_of_another_kind_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "c": torch.ones(2, dtype=torch.complex64)}, tmp_path / "m.pt")
    answer = run("measure", "int8", "--data", "m.pt", "--json", "-")
    assert [row["tensor"] for row in answer.json] == ["w"]
    assert "m.pt: c: holds complex64" in answer.err
    assert "skipped" in answer.err


@pytest.mark.parametrize("option", ["--plot", "--json"])
def test_a_missing_folder_is_told_before_anything_is_measured(run: Run, option: str) -> None:
    answer = run("measure", "int8", option, "nowhere/out.png")
    assert (answer.code, answer.err) == (1, "error: nowhere: no such folder\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("schema", "-o", "none/s.json"),
        ("show", "int4", "--json", "none/rows.json"),
        ("diff", "int4", "int8", "--json", "none/rows.json"),
        ("formats", "--json", "none/rows.json"),
        ("backends", "--json", "none/rows.json"),
    ],
)
def test_a_missing_folder_is_named_and_not_a_file_of_ours(run: Run, arguments: tuple[str, ...]) -> None:
    told(run(*arguments), "error: none: no such folder\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("formats",),
        ("show", "mine.yaml"),
        ("show", "mine", "--search", "."),
        ("show", "child.yaml"),
        ("show", "unit.yaml"),
        ("accelerators", "unit.yaml"),
        ("diff", "int4", "mine.yaml"),
        ("encode", "mine.yaml", "1"),
        ("decode", "mine.yaml", "1"),
        ("theory", "mine.yaml"),
        ("measure", "mine.yaml", "--data", "w.npy"),
        ("rank", "mine.yaml", "--data", "w.npy"),
        ("identify", "w.npy", "--values", "w.npy", "--search", "."),
        ("verify", "mine.yaml"),
        ("matmul", "w.npy", "w.npy", "--accelerator", "unit.yaml", "--instruction", "m.f32.f32", "--compare", "ideal"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_json_takes_the_place_of_no_yaml_file(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    np.save(tmp_path / "w.npy", np.eye(4, dtype=np.float32))
    texts = {
        "mine.yaml": "name: mine\nextends: int4\n",
        "child.yaml": "name: child\nextends: mine\n",
        "unit.yaml": "name: unit\nextends: ideal\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for name, text in texts.items():
        answer = run(*arguments, "--json", name)
        told(answer, f"error: {name}: the result would replace a .yaml file, which may be a format or an accelerator")
        assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize("arguments", [(), ("--accelerator",)])
def test_a_schema_takes_the_place_of_no_yaml_file(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path, text = tmp_path / "mine.yaml", "name: mine\nextends: int4\n"
    path.write_text(text)
    told(run("schema", *arguments, "-o", path), f"error: {path}: the result would replace a .yaml file")
    assert path.read_text() == text


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "./mine"),
        ("show", "./unit"),
        ("accelerators", "./unit"),
        ("diff", "int4", "./mine"),
        ("encode", "./mine", "1"),
        ("decode", "./mine", "1"),
        ("theory", "./mine"),
        ("measure", "./mine", "--data", "w.npy"),
        ("rank", "./mine", "--data", "w.npy"),
        ("verify", "./mine"),
        ("matmul", "w.npy", "w.npy", "--accelerator", "./unit", "--instruction", "m.f32.f32", "--compare", "ideal"),
        ("matmul", "w.npy", "w.npy", "--accelerator", "ideal", "--instruction", "m.f32.f32", "--compare", "./unit"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_json_takes_the_place_of_no_input_that_is_named_by_its_path(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    np.save(tmp_path / "w.npy", np.eye(4, dtype=np.float32))
    (tmp_path / "folder").mkdir()
    (given,) = {"mine", "unit"} & {Path(each).name for each in arguments}
    text = {"mine": "name: mine\nextends: int4\n", "unit": "name: unit\nextends: ideal\n"}[given]
    (tmp_path / given).write_text(text)
    (tmp_path / "linked").hardlink_to(tmp_path / given)
    for target in (given, f"./{given}", f"folder/../{given}", "linked"):
        answer = run(*arguments, "--json", target)
        told(answer, f"error: {Path(target)}: the result would replace {given}, which is read; allowed: another file")
        assert (tmp_path / given).read_text() == text


@pytest.mark.parametrize(
    ("arguments", "option", "given"),
    [
        (("show", "./mine.svg"), "--plot", "mine.svg"),
        (("theory", "./mine.svg"), "--plot", "mine.svg"),
        (("measure", "./mine.svg", "--data", "w.npy"), "--plot", "mine.svg"),
        (("rank", "./mine.svg", "--data", "w.npy"), "--plot", "mine.svg"),
        (("encode", "./mine.npy", "1"), "-o", "mine.npy"),
        (("decode", "./mine.npy", "1"), "-o", "mine.npy"),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else each,
)
def test_no_result_takes_the_place_of_a_format_that_is_named_by_its_path(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], option: str, given: str
) -> None:
    np.save(tmp_path / "w.npy", np.linspace(-1, 1, 20, dtype=np.float32))
    (tmp_path / given).write_text("name: mine\nextends: int4\n")
    told(run(*arguments, option, given), f"error: {given}: the result would replace {given}, which is read")
    assert (tmp_path / given).read_text() == "name: mine\nextends: int4\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "int4", "--json"),
        ("show", "int4", "--plot"),
        ("encode", "int4", "1", "-o"),
        ("verify", "--all", "--json"),
    ],
)
def test_no_result_takes_the_place_of_a_folder(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folder = {"--json": "r.json", "--plot": "r.svg", "-o": "r.npy"}[arguments[-1]]
    (tmp_path / folder).mkdir()
    told(run(*arguments, folder), f"error: {folder}: a folder, to which no result can be written")


def test_a_file_that_has_the_name_of_a_format_is_no_input(run: Run, tmp_path: Path) -> None:
    (tmp_path / "int4").write_text("an older result")
    assert run("show", "int4", "--json", "int4").code == 0
    assert json.loads((tmp_path / "int4").read_text())[0]["name"] == "int4"


@pytest.mark.parametrize(
    ("arguments", "option", "file"),
    [
        (("show", "int4"), "--plot", "r.svg"),
        (("theory", "int4"), "--plot", "r.svg"),
        (("measure", "int4", "--data", "w.npy"), "--plot", "r.svg"),
        (("rank", "int4", "--data", "w.npy"), "--plot", "r.svg"),
        (("encode", "int4", "1"), "-o", "r.npy"),
        (("decode", "int4", "1"), "-o", "r.npy"),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else each,
)
def test_two_results_go_to_two_files(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], option: str, file: str
) -> None:
    np.save(tmp_path / "w.npy", np.linspace(-1, 1, 20, dtype=np.float32))
    (tmp_path / "folder").mkdir()
    for target in (file, f"folder/../{file}"):
        answer = run(*arguments, option, file, "--json", target)
        told(answer, f"error: {target}: two results would be written to it; allowed: a file for each")
    assert not (tmp_path / file).exists()
    assert run(*arguments, option, file, "--json", "-").code == 0
