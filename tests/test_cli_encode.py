"""`encode` and `decode`: numbers as people type them, and files, are what the library makes of them."""

from __future__ import annotations

import json
import math
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from command import Run, commands, told
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import statqat_sim as sqs
from statqat_sim.cli.numbers import read_code, read_number
from statqat_sim.cli.outputs import member_name

E4M3 = "float8_e4m3fn"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


def cells(text: str) -> list[list[str]]:
    """The rows of a table, without its head."""
    return [line.split() for line in text.splitlines()[2:] if line and not line.startswith("packed")]


def loaded(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file."""
    with np.load(path) as archive:
        return dict(archive)


def codec(name: str) -> sqs.Codec:
    return sqs.Codec(sqs.load_format(name))


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-1.5", -1.5),
        ("1e-3", 0.001),
        ("-1E+3", -1000.0),
        ("1/3", 1 / 3),
        ("-7/2", -3.5),
        ("+1/10", 0.1),
        ("0x1.8p3", 12.0),
        ("-0x1.8P-3", -0.1875),
        ("0x10", 16.0),
        (".5", 0.5),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("9007199254740993/1", 2.0**53),  # half way between two float64: to even
        ("9007199254740993/3", 9007199254740993 / 3),
    ],
)
def test_a_number_as_typed(text: str, number: float) -> None:
    assert read_number(text) == number


def test_zeros_and_nan_keep_their_signs() -> None:
    assert math.copysign(1, read_number("-0")) == -1
    assert math.copysign(1, read_number("-nan")) == -1
    assert math.isnan(read_number("NaN"))


@given(st.floats(allow_nan=False))
def test_every_float64_reads_back(number: float) -> None:
    assert read_number(repr(number)) == read_number(number.hex()) == number


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**30))
def test_a_fraction_is_rounded_once(above: int, below: int) -> None:
    assert read_number(f"{above}/{below}") == above / below


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,5", "'1,5' is not a number; allowed: 1.5, -2e-3, 1/3, 0x1.8p-3, inf, nan"),
        ("", "'' is not a number"),
        ("1/2/3", "'1/2/3' is not a number"),
        ("1.5/3", "'1.5/3' is not a number"),
        ("0x", "'0x' is not a number"),
        ("1/0", "'1/0' has a zero below the line"),
        ("1e999", "'1e999' is beyond float64, which ends at 1.7976931348623157e+308; allowed: inf"),
        ("-0x1p9999", "'-0x1p9999' is beyond float64"),
        (f"{10**400}/3", "is beyond float64"),
    ],
)
def test_what_is_no_number(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.").replace("+", r"\+")):
        read_number(text)


@pytest.mark.parametrize("text", ["126", "0x7e", "0X7E", "0b1111110", "0o176"])
def test_a_code_as_typed(text: str) -> None:
    assert read_code(text, 7) == 126


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7e", "'7e' is not a code; allowed: whole numbers such as 126, 0x7e, 0b1111110"),
        ("1.0", "'1.0' is not a code"),
        ("128", r"code 128 does not have 7 bits; allowed: 0 to 127 \(0x7f\)"),
        ("-1", "code -1 does not have 7 bits"),
    ],
)
def test_what_is_no_code(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_code(text, 7)


# --- encode ------------------------------------------------------------------------------------------------------


def test_encode_a_table(run: Run) -> None:
    answer = run("encode", E4M3, "0.1", "-1.5", "1/3", "inf", "-nan", "-0.0", "-1e-9", "464")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[0].split() == ["input", "code", "binary", "value", "error", "relative"]
    assert cells(answer.out) == [
        ["0.1", "0x1d", "00011101", "0.1015625", "0.0015625", "1.56", "%"],
        ["-1.5", "0xbc", "10111100", "-1.5", "0", "0", "%"],
        ["0.3333333333333333", "0x2b", "00101011", "0.34375", "0.0104167", "3.13", "%"],
        ["inf", "0x7e", "01111110", "448", "-", "-"],
        ["nan", "0xff", "11111111", "nan", "0", "0", "%"],
        ["-0", "0x80", "10000000", "-0", "0", "0", "%"],
        ["-1e-09", "0x80", "10000000", "-0", "1e-09", "100", "%"],
        ["464", "0x7e", "01111110", "448", "-16", "-3.45", "%"],
    ]


def test_options_may_stand_anywhere(run: Run) -> None:
    expected = run("encode", "int4", "--json", "-", "--", "-1.5", "-2").json
    for arguments in (
        ("encode", "--json", "-", "int4", "-1.5", "-2"),
        ("encode", "int4", "-1.5", "--json", "-", "-2"),
        ("encode", "int4", "-1.5", "-2", "--json", "-"),
    ):
        assert run(*arguments).json == expected
    assert [row["value"] for row in expected] == [-2, -2]


def test_what_is_typed_is_rounded_once(run: Run) -> None:
    (row,) = run("encode", E4M3, "0x1.1000000001p0", "--json", "-").json  # just above a tie, not a float32
    assert row == {
        "input": float.fromhex("0x1.1000000001p0"),
        "code": 0x39,
        "value": 1.125,
        "error": 1.125 - float.fromhex("0x1.1000000001p0"),
        "relative_error": pytest.approx(0.0588, rel=1e-3),
    }


def test_json_has_no_nan(run: Run) -> None:
    rows = run("encode", "float8_e8m0fnu", "nan", "-inf", "0", "--json", "-").json
    assert [(row["input"], row["value"]) for row in rows] == [("nan", "nan"), ("-inf", 2.0**-127), (0.0, 2.0**-127)]
    assert [(row["error"], row["relative_error"]) for row in rows] == [(0.0, 0.0), (None, None), (2.0**-127, None)]


def test_packed_bytes(run: Run, tmp_path: Path) -> None:
    answer = run("encode", "int4", "1", "-2", "7", "--packed", "--output", "x.bin")
    assert answer.out.splitlines()[-2:] == ["packed: 2 bytes: e1 07", "x.bin: written"]
    assert (tmp_path / "x.bin").read_bytes() == b"\xe1\x07"
    (item,) = run("encode", "int4", "1", "-2", "7", "--packed", "--json", "-").json
    assert item["packed"] == "e107"
    assert [row["code"] for row in item["codes"]] == [1, 14, 7]
    told(run("encode", "float16", "1", "--packed"), "error: float16: packed codes of 16 bits; allowed: up to 8 bits")


def test_a_seed_is_told_and_repeats(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sr.yaml").write_text("name: sr\nextends: int8\nencode: {rounding: stochastic_a}\n")
    numbers = ["0.5"] * 64
    answer = run("encode", "sr.yaml", *numbers, "--json", "-")
    note, option, seed = answer.err.split()
    assert (note, option) == ("note:", "--seed")
    assert run("encode", "sr.yaml", *numbers, "--seed", seed, "--json", "-").out == answer.out
    assert run("encode", "sr.yaml", *numbers, "--json", "-").out != answer.out
    assert {row["code"] for row in answer.json} == {0, 1}
    told(run("encode", "sr.yaml", "1", "--seed", "-1"), "error: seed is -1; allowed: 0 to 2^64 - 1")


def save_dtypes(folder: Path) -> dict[str, Any]:
    """One file of every kind with every dtype; the tensors."""
    x = {
        "h": torch.tensor([[1.5, -0.3], [1e-3, 7]], dtype=torch.float16),
        "b": torch.tensor([1.5, -0.3], dtype=torch.bfloat16),
        "d": torch.tensor([1.0625 + 2**-40, 0.1], dtype=torch.float64),
        "i": torch.tensor([3, -7, 2**40 + 1]),
        "u": torch.tensor([3, 255], dtype=torch.uint8),
    }
    save_file(x, folder / "w.safetensors")
    torch.save(x, folder / "w.pt")
    plain = {name: tensor.numpy() for name, tensor in x.items() if name != "b"}
    np.savez(folder / "w.npz", **plain)
    return x


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt", "w.npz"])
def test_files_go_in_as_they_are(run: Run, tmp_path: Path, file: str) -> None:
    x = save_dtypes(tmp_path)
    told_rows = run("encode", E4M3, "--data", file, "--output", "codes.npz", "--json", "-").json
    codes = loaded(tmp_path / "codes.npz")
    assert set(codes) == {"h", "b", "d", "i", "u"} - ({"b"} if file == "w.npz" else set())
    for name in codes:
        assert np.array_equal(codes[name], codec(E4M3).encode(x[name]).numpy())
        assert codes[name].shape == tuple(x[name].shape)
    assert codes["d"][0] == 0x39  # through float32 it would be 0x38
    row = next(row for row in told_rows if row["tensor"] == "h")
    assert (row["dtype"], row["shape"], row["result_dtype"], row["result_shape"]) == (
        "float16",
        [2, 2],
        "uint8",
        [2, 2],
    )


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_float8_goes_in_as_its_values_and_out_as_its_codes(run: Run, tmp_path: Path, file: str) -> None:
    tensor = torch.arange(256, dtype=torch.uint8).view(torch.float8_e5m2)
    save_file({"w": tensor}, tmp_path / "w.safetensors")
    torch.save({"w": tensor}, tmp_path / "w.pt")
    assert run("encode", E4M3, "--data", file, "-o", "codes.npy").code == 0
    assert np.array_equal(np.load(tmp_path / "codes.npy"), codec(E4M3).encode(tensor.float().numpy()))
    assert run("decode", "float8_e5m2", "--data", file, "-o", "values.npy").code == 0
    assert np.array_equal(np.load(tmp_path / "values.npy"), tensor.double().numpy(), equal_nan=True)


def test_one_tensor(run: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(3).standard_normal((5, 7))
    np.save(tmp_path / "x.npy", x)
    answer = run("encode", "float6_e3m2fn", "--data", "x.npy", "-o", "codes.npy", "--packed")
    assert answer.out.splitlines()[-1] == "codes.npy: written"
    assert cells(answer.out)[1][:6] == ["x", "float64", "5×7", "uint8", "5×6"]
    assert np.array_equal(np.load(tmp_path / "codes.npy"), codec("float6_e3m2fn").encode(x, packed=True))
    assert run("encode", "bfloat16", "--data", "x.npy", "-o", "codes.bin").code == 0
    assert (tmp_path / "codes.bin").read_bytes() == x.astype(ml_dtypes.bfloat16).tobytes()
    np.save(tmp_path / "scalar.npy", np.float32(0.5))
    assert run("encode", "int8", "--data", "scalar.npy", "-o", "codes.npy").code == 0
    assert np.load(tmp_path / "codes.npy").shape == ()


def test_random_bits_go_on_from_tensor_to_tensor(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sr.yaml").write_text("name: sr\nextends: int8\nencode: {rounding: stochastic_a}\n")
    x = np.full(300, 0.5, np.float32)
    np.savez(tmp_path / "x.npz", a=x[:100], b=x[100:])
    run("encode", "sr.yaml", "--data", "x.npz", "--seed", "5", "-o", "codes.npz")
    whole = sqs.Codec(sqs.load_format(tmp_path / "sr.yaml")).encode(x, seed=5)
    codes = loaded(tmp_path / "codes.npz")
    assert np.array_equal(np.concatenate((codes["a"], codes["b"])), whole)


def test_tensors_of_other_kinds_are_left_out(run: Run, tmp_path: Path) -> None:
    torch.save(
        {"w": torch.ones(2), "m": torch.tensor([True]), "c": torch.ones(1, dtype=torch.complex64)}, tmp_path / "w.pt"
    )
    answer = run("encode", "int8", "--data", "w.pt", "-o", "codes.npz", "--json", "-")
    assert [row["tensor"] for row in answer.json] == ["w"]
    assert answer.err.splitlines() == [
        "note: m: x is bool; allowed: an array of float16, bfloat16, float32, float64, integers; skipped",
        "note: w.pt: c: holds complex64; allowed: float16, bfloat16, float32, float64, float8_e4m3fn, "
        "float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu, integers; decode other formats first; skipped",
    ]
    np.save(tmp_path / "m.npy", np.array([True]))
    told(
        run("encode", "int8", "--data", "m.npy", "-o", "codes.npy"), "error: m: x is bool; allowed: an array of float16"
    )


def test_all_reasons_are_told_where_nothing_is_left(run: Run, tmp_path: Path) -> None:
    torch.save({"m": torch.tensor([True]), "c": torch.ones(1, dtype=torch.complex64)}, tmp_path / "w.pt")
    answer = run("encode", "int8", "--data", "w.pt", "-o", "codes.npz")
    told(answer, "note: m: x is bool;", "note: w.pt: c: holds complex64;", "error: nothing to convert")
    assert not (tmp_path / "codes.npz").exists()


@pytest.mark.parametrize("suffix", [".npy", ".bin"])
def test_what_is_left_out_does_not_count(run: Run, tmp_path: Path, suffix: str) -> None:
    np.savez(tmp_path / "x.npz", mask=np.array([True]), w=np.ones(3), also=np.array([False]))
    answer = run("encode", "int8", "--data", "x.npz", "-o", f"codes{suffix}")
    assert (answer.code, answer.err.count("skipped")) == (0, 2)
    assert (tmp_path / f"codes{suffix}").read_bytes().endswith(b"\x01\x01\x01")


def member_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_names_in_an_archive_stay_below_its_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for name in ("a.npy", "here/b.npy"):
        np.save(tmp_path / name, np.ones(2))
    files = [tmp_path / "a.npy", "here/../here/b.npy"]
    arguments = [argument for file in files for argument in ("--data", file)]
    assert run("encode", "int8", *arguments, "-o", "codes.npz").code == 0
    names = member_names(tmp_path / "codes.npz")
    assert names == [f"{tmp_path.relative_to('/')}/a.npy.npy", "here/here/b.npy.npy"]
    assert len(loaded(tmp_path / "codes.npz")) == 2


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("w", "w"),
        ("a/b:c.d", "a/b:c.d"),
        ("/etc/x", "etc/x"),
        ("../../x", "x"),
        ("a/./../b", "a/b"),
        (r"C:\x\..\y", "x/y"),
        ("a\0b", "a/b"),
        ("..", "tensor"),
        ("", "tensor"),
    ],
)
def test_a_name_in_an_archive(name: str, member: str) -> None:
    assert member_name(name) == member


def test_no_two_tensors_have_one_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for file in ("x.npz", "here/x.npz"):
        np.savez(tmp_path / file, w=np.ones(2, np.uint8))
    told(
        run("encode", "int8", "--data", "x.npz", "--data", "x.npz", "-o", "codes.npz"),
        "error: codes.npz: two tensors would be called x.npz:w: x.npz:w; allowed: each name once",
    )
    for command in ("encode", "decode"):
        assert run(command, "int8", "--data", "x.npz", "--data", "here/x.npz", "-o", "codes.npz").code == 0
        assert list(loaded(tmp_path / "codes.npz")) == ["x.npz:w", "here/x.npz:w"]


def test_raw_files_of_one_stem_keep_apart(run: Run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "codes.bin").write_bytes(folder.encode())
    assert run("decode", "uint8", "--data", "a/codes.bin", "--data", "b/codes.bin", "-o", "y.npz").code == 0
    assert {name: values.tolist() for name, values in loaded(tmp_path / "y.npz").items()} == {
        "a/codes.bin": [codec("uint8").decode(np.uint8([97]))[0]],
        "b/codes.bin": [codec("uint8").decode(np.uint8([98]))[0]],
    }


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_where_json_cannot_go_nothing_is_written(run: Run, tmp_path: Path, command: str) -> None:
    told(run(command, "int8", "1", "-o", "x.npy", "--json", "none/rows.json"), "error: none: no such folder")
    np.save(tmp_path / "data.npy", np.ones(2, np.uint8))
    told(
        run(command, "int8", "--data", "data.npy", "-o", "x.npy", "--json", "none/rows.json"),
        "error: none: no such folder",
    )
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_json_is_made_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def failing(items: Any) -> str:
        raise ValueError("no JSON of this")

    monkeypatch.setattr(import_module(f"statqat_sim.cli.{command}"), "json_text", failing)
    told(run(command, "int8", "1", "-o", "x.npy", "--json", "-"), "error: no JSON of this")
    assert not (tmp_path / "x.npy").exists()


def test_nothing_is_half_written(run: Run, tmp_path: Path) -> None:
    refuses = "name: refuses\nelement: {kind: int, bits: 8}\nencode: {nan_input: error}\n"
    (tmp_path / "refuses.yaml").write_text(refuses)
    np.savez(tmp_path / "x.npz", a=np.ones(4), b=np.array([1, np.nan]))
    (tmp_path / "codes.npz").write_text("old")
    told(
        run("encode", "refuses.yaml", "--data", "x.npz", "-o", "codes.npz"),
        "error: b: x[1] is NaN, which refuses refuses (nan_input: error)",
    )
    assert (tmp_path / "codes.npz").read_text() == "old"
    assert run("encode", "int8", "--data", "x.npz", "-o", "codes.npz").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.npz", "refuses.yaml", "x.npz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((E4M3,), "error: nothing to do; allowed: numbers, or files with --data FILE"),
        ((E4M3, "1", "--data", "x.npy"), "error: 1 is given with --data; allowed: numbers or files"),
        ((E4M3, "--data", "x.npy"), "error: the result of --data goes to a file; write --output FILE"),
        ((E4M3, "--data", "x.npy", "-o", "a.txt"), "error: a.txt: not a file of results; allowed: .npy, .npz, .bin"),
        ((E4M3, "--data", "x.npy", "-o", "none/a.npy"), "error: none: no such folder"),
        ((E4M3, "--data", "none.npy", "-o", "a.npy"), "error: none.npy: No such file or directory"),
        (
            (E4M3, "--data", "two.npz", "-o", "a.npy"),
            "error: a.npy: holds one tensor, and there are a and b; allowed: .npz",
        ),
        ((E4M3, "x.npy"), "error: 'x.npy' is not a number"),
        (("e4m4", "1"), "error: no format is named 'e4m4'"),
    ],
)
def test_wrong_ways_to_encode(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    np.save(tmp_path / "x.npy", np.ones(2))
    np.savez(tmp_path / "two.npz", a=np.ones(2), b=np.ones(2))
    told(run("encode", *arguments), message)


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_misspelt_option_is_no_number(run: Run, command: str) -> None:
    answer = run(command, "int8", "1", "--sede", "3")
    assert answer.code == 2
    assert "No such option: --sede" in answer.err


# --- decode ------------------------------------------------------------------------------------------------------


def test_decode_a_table(run: Run) -> None:
    answer = run("decode", E4M3, "0x7e", "127", "0b10000001", "0x80")
    assert answer.out.splitlines()[0].split() == ["code", "binary", "value"]
    assert cells(answer.out) == [
        ["0x7e", "01111110", "448"],
        ["0x7f", "01111111", "nan"],
        ["0x81", "10000001", "-0.001953125"],
        ["0x80", "10000000", "-0"],
    ]
    rows = run("decode", "float8_e5m2", "0x7c", "0xfc", "0x7d", "1", "--json", "-").json
    assert [row["value"] for row in rows] == ["inf", "-inf", "nan", 2.0**-16]


def test_float64_holds_every_value(run: Run) -> None:
    (row,) = run("decode", "takum16", "0x7fff", "--json", "-").json
    assert row["value"] == sqs.load_format("takum16").max > 1e76
    (row,) = run("decode", "takum16", "0x7fff", "--dtype", "float32", "--json", "-").json
    assert row["value"] == "inf"


def test_decode_packed_bytes(run: Run, tmp_path: Path) -> None:
    rows = run("decode", "float6_e3m2fn", "0x41", "0x10", "--packed", "--shape", "2", "--json", "-").json
    assert [row["code"] for row in rows] == [0x01, 0x01]
    rows = run("decode", "int4", "0xe1", "0x07", "--packed", "--json", "-", "-o", "y.npy").json
    assert [(row["code"], row["value"]) for row in rows] == [(1, 1), (14, -2), (7, 7), (0, 0)]
    assert np.load(tmp_path / "y.npy").tolist() == [1, -2, 7, 0]
    rows = run("decode", "int3", "5", "1", "--packed", "--shape", "2,2", "--json", "-").json
    assert [row["code"] for row in rows] == [5, 0, 1, 0]
    rows = run("decode", "int8", "255", "--packed", "--json", "-").json
    assert rows == [{"code": 255, "value": -1.0}]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".bin"])
@pytest.mark.parametrize("name", ["int4", E4M3, "float6_e2m3fn", "bfloat16", "fp24_amd"])
def test_there_and_back(run: Run, tmp_path: Path, name: str, suffix: str) -> None:
    x = np.random.default_rng(4).standard_normal((3, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert run("encode", name, "--data", "x.npy", "-o", f"codes{suffix}").code == 0
    assert run("decode", name, "--data", f"codes{suffix}", "-o", "y.npy", "--dtype", "float32").code == 0
    y = np.load(tmp_path / "y.npy")
    assert y.dtype == np.float32
    assert np.array_equal(y.ravel(), codec(name).fake_quantize(x).ravel())


@pytest.mark.parametrize("suffix", [".npy", ".bin"])
def test_there_and_back_packed(run: Run, tmp_path: Path, suffix: str) -> None:
    x = np.random.default_rng(4).standard_normal((3, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert run("encode", "int3", "--data", "x.npy", "--packed", "-o", f"codes{suffix}").code == 0
    assert run("decode", "int3", "--data", f"codes{suffix}", "--packed", "--shape", "3,5", "-o", "y.npy").code == 0
    assert np.array_equal(np.load(tmp_path / "y.npy"), codec("int3").fake_quantize(x))


def test_codes_of_other_dtypes(run: Run, tmp_path: Path) -> None:
    expected = codec(E4M3).decode(np.uint8([1, 0x7E]), dtype="float64").tolist()
    np.save(tmp_path / "wide.npy", np.int64([1, 0x7E]))
    np.save(tmp_path / "bytes.npy", np.uint8([1, 0x7E]).view(ml_dtypes.float8_e4m3fn))  # numpy writes bare bytes
    tensor = torch.tensor([1, 0x7E], dtype=torch.uint8).view(torch.float8_e4m3fn)
    torch.save(tensor, tmp_path / "t.pt")
    save_file({"w": tensor}, tmp_path / "t.safetensors")
    for file in ("wide.npy", "bytes.npy", "t.pt", "t.safetensors"):
        answer = run("decode", E4M3, "--data", file, "-o", "y.npy")
        assert (answer.code, answer.err) == (0, "")
        assert np.load(tmp_path / "y.npy").tolist() == expected


def test_what_is_no_codes(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", np.ones(2))
    np.save(tmp_path / "large.npy", np.array([[1, 2], [300, 4]]))
    np.save(tmp_path / "negative.npy", np.array([-1]))
    np.save(tmp_path / "truth.npy", np.array([True]))
    (tmp_path / "odd.bin").write_bytes(b"abc")
    for name, file, message in (
        (E4M3, "floats.npy", "error: floats.npy: holds float64; allowed: codes, as integers"),
        (E4M3, "large.npy", "error: large: [1, 0]: code 300 does not have 8 bits; allowed: 0 to 255 (0xff)"),
        ("int4", "negative.npy", "error: negative: [0]: code -1 does not have 4 bits; allowed: 0 to 15 (0xf)"),
        (E4M3, "truth.npy", "error: truth: codes are bool; allowed: integers"),
        ("bfloat16", "odd.bin", "error: odd.bin: 3 bytes are not a whole number of codes of 2 bytes"),
        (E4M3, "none.bin", "error: none.bin: No such file or directory"),
    ):
        told(run("decode", name, "--data", file, "-o", "y.npy"), message)
    assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("int4", "16"), "error: code 16 does not have 4 bits; allowed: 0 to 15 (0xf)"),
        (("int4", "-1"), "error: code -1 does not have 4 bits"),
        (("int4", "256", "--packed"), "error: code 256 does not have 8 bits"),
        (("int4",), "error: nothing to do; allowed: codes, or files with --data FILE"),
        (("int4", "1", "--shape", "1"), "error: --shape says how packed codes lie; allowed: with --packed"),
        (("int4", "1", "--packed", "--shape", "1x2"), "error: --shape 1x2: not a shape; allowed: whole numbers"),
        (("int4", "1", "2", "--packed", "--shape", "2"), "error: codes has shape (2,); allowed: (1,), the bytes"),
        (("int3", "1", "--packed"), "error: rows of 8 bits are not a whole number of 3-bit codes; say their shape, w"),
        (("int3", "1", "2", "--packed"), "such as --shape 5"),
        (("float16", "1", "--packed"), "packed codes of 16 bits; allowed: up to 8 bits"),
    ],
)
def test_wrong_ways_to_decode(run: Run, arguments: tuple[str, ...], message: str) -> None:
    told(run("decode", *arguments), message)


def test_dense_rows_of_a_file_without_a_shape(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.zeros((4, 2), np.uint8))
    told(
        run("decode", "int3", "--data", "codes.npy", "--packed", "-o", "y.npy"),
        "error: codes: rows of 16 bits are not a whole number of 3-bit codes; say their shape, without the padding, "
        "such as --shape 4,5",
    )
    assert run("decode", "int3", "--data", "codes.npy", "--packed", "--shape", "4,5", "-o", "y.npy").code == 0


def test_json_goes_to_a_file_too(run: Run, tmp_path: Path) -> None:
    assert run("decode", "int4", "15", "--json", "rows.json").out == ""
    assert json.loads((tmp_path / "rows.json").read_text()) == [{"code": 15, "value": -1.0}]


@pytest.mark.parametrize("output", ["w.npy", "./w.npy", "soft.npy", "hard.npy", "folder/../w.npy"])
def test_no_result_takes_the_place_of_its_input(run: Run, tmp_path: Path, output: str) -> None:
    np.save(tmp_path / "w.npy", np.arange(3, dtype=np.uint8))
    (tmp_path / "folder").mkdir()
    (tmp_path / "soft.npy").symlink_to("w.npy")
    (tmp_path / "hard.npy").hardlink_to(tmp_path / "w.npy")
    before = (tmp_path / "w.npy").read_bytes()
    for command in ("encode", "decode"):
        for target in (("-o", output), ("-o", "new.npy", "--json", output)):
            answer = run(command, "nf4", "--data", "w.npy", *target)
            told(answer, f"{Path(output)}: the result would replace w.npy, which is read; allowed: another file")
        told(run(command, "nf4", "--data", ".", "-o", output), f"{Path(output)}: the result would replace ")
    assert (tmp_path / "w.npy").read_bytes() == before
    assert not (tmp_path / "new.npy").exists()
    assert run("encode", "nf4", "--data", "w.npy", "-o", "new.npy").code == 0
    assert run("encode", "nf4", "--data", "w.npy", "-o", "new.npy").code == 0  # an older result is replaced


def test_records_are_no_codes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "records.npy"
    np.save(path, np.zeros(3, [("x", "f4")]))
    told(run("decode", "float8_e4m3fn", "--data", path, "-o", tmp_path / "y.npy"), "records with the fields x")
