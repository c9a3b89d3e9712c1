"""`diff`: every input that differs is found and counted, and the answer reads as one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Run, commands, told

import statqat_sim as sqs
from statqat_sim.report.difference import Difference, difference
from statqat_sim.report.pieces import pieces

PAIRS = [
    ("float8_e4m3fn", "float8_e4m3fn.ml_dtypes"),
    ("float8_e4m3fn", "float8_e5m2"),
    ("float8_e8m0fnu", "float8_e8m0fnu.torch"),
    ("posit8", "takum8"),
    ("lns8", "hif8"),
    ("int8", "uint8"),
    ("nf4", "int4"),
    ("binary1_pm1", "uint1"),
]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return commands(capsys)


def compared(a: str, b: str, shown: int = 10) -> Difference:
    return difference(sqs.load_format(a), sqs.load_format(b), shown)


def variant(of: str, policy: str) -> sqs.NumberFormat:
    return sqs.parse_format(f"name: variant\nextends: {of}\nencode: {policy}\n")


# --- the comparison ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_pieces_are_what_the_codecs_do(a: str, b: str) -> None:
    formats = sqs.load_format(a), sqs.load_format(b)
    found = pieces(formats, np.array([0, 1 << 31]))
    assert found.exact
    assert found.count.sum() == 1 << 32
    ends = np.concatenate((found.first, found.first + found.count - 1))
    bits = np.concatenate((ends, np.random.default_rng(2).integers(0, 1 << 32, 1 << 18)))
    place = found.first.searchsorted(bits, side="right") - 1
    x = bits.astype(np.uint32).view(np.float32)
    for fmt, codes, values in zip(formats, found.codes, found.values, strict=True):
        codec = sqs.Codec(fmt)
        assert np.array_equal(codec.encode(x), codes[place])
        assert np.array_equal(codec.fake_quantize(x), values[place].astype(np.float32), equal_nan=True)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_regions_share_out_what_differs(a: str, b: str) -> None:
    found = compared(a, b, shown=10**6)
    in_ranges = sum(each.count for each in found.ranges)
    assert sum(region.inputs for region in found.regions) == in_ranges
    assert in_ranges in (found.other_codes, found.other_values)
    assert len(found.ranges) == found.range_count
    assert {region.example.first for region in found.regions} <= {each.first for each in found.ranges}
    swapped = compared(b, a)
    assert (swapped.other_values, swapped.range_count) == (found.other_values, found.range_count)
    assert [(each.name, each.inputs) for each in swapped.regions] == [
        (each.name, each.inputs) for each in found.regions
    ]


def test_ties_are_counted_one_by_one() -> None:
    found = difference(sqs.load_format("float8_e4m3fn"), variant("float8_e4m3fn", "{rounding: nearest_away}"))
    assert [(region.name, region.inputs) for region in found.regions] == [("ties", 2 * 63)]
    assert found.other_codes == found.other_values == 126
    found = difference(sqs.load_format("posit8"), variant("posit8", "{tie_domain: arithmetic}"))
    assert "ties" not in {region.name for region in found.regions}


def test_every_region_by_itself() -> None:
    cases = {
        "NaN": ("float8_e4m3fn", "{nan_input: zero}", 2 * (2**23 - 1)),
        "Inf": ("float8_e5m2", "{inf_input: inf}", 2),
        "zero": ("float8_e8m0fnu", "{zero_input: nan}", 2),
        "negative": ("uint8", "{negative_input: abs}", 0x7F80_0000 - 0x3F00_0001),  # -0.5 is a tie to even, 0
        "subnormal": ("float8_e4m3fn", "{underflow: min}", 2 * 0x3A80_0000),  # up to 2^-10, a tie to even
    }
    for name, (of, policy, inputs) in cases.items():
        found = difference(sqs.load_format(of), variant(of, policy))
        regions = {region.name: region.inputs for region in found.regions}
        assert regions[name] == inputs
        assert set(regions) <= {name, "Inf"}


def test_minus_zero_is_another_value() -> None:
    found = compared("float8_e4m3fn", "float8_e4m3fnuz")
    assert found.zero_signs == 0x3A00_0000 + 1  # -0 to -2^-11, where the smallest value of the second begins
    assert {region.name for region in found.regions} >= {"zero"}


def test_another_nan_is_another_code_and_the_same_value() -> None:
    found = difference(sqs.load_format("float8_e5m2"), variant("float8_e5m2", "{nan_input: 125}"))
    assert (found.other_values, found.other_codes) == (0, 2 * (2**23 - 1))
    assert [region.name for region in found.regions] == ["NaN"]


def test_refused_inputs_differ() -> None:
    found = difference(sqs.load_format("int8"), variant("int8", "{nan_input: error}"))
    assert [(region.name, region.inputs) for region in found.regions] == [("NaN", 2 * (2**23 - 1))]
    assert found.ranges[0].codes == (127, -1)
    assert (found.other_codes, found.other_values, found.refused) == (0, 0, (0, 2 * (2**23 - 1)))


def test_inputs_that_both_refuse_do_not_differ() -> None:
    refusing = variant("int8", "{nan_input: error}")
    found = difference(refusing, variant("int8", "{nan_input: error, rounding: toward_zero}"))
    assert found.refused == (0, 0)
    assert "NaN" not in [region.name for region in found.regions]


@pytest.mark.parametrize("policy", ["{nan_input: error}", "{nan_input: error, overflow: wrap}"])
def test_refused_inputs_are_told_apart(run: Run, tmp_path: Path, policy: str) -> None:
    (tmp_path / "strict.yaml").write_text(f"name: strict\nextends: int8\nencode: {policy}\n")
    out = run("diff", str(tmp_path / "strict.yaml"), "int8").out
    ((count, share),) = re.findall(r"^(\d+) \((\S+) %\) are refused by strict alone\.$", out, re.MULTILINE)
    (item,) = run("diff", str(tmp_path / "strict.yaml"), "int8", "--json", "-").json
    assert item["refused"] == {"a": int(count), "b": 0}
    assert float(share) == pytest.approx(100 * int(count) / item["inputs"], rel=0.01)
    assert item["other_codes"] == (0 if "wrap" not in policy else item["regions"][1]["inputs"])
    assert ("none gets another code or value" in out) == ("wrap" not in policy)


@pytest.mark.parametrize("names", [("int8", "int8"), ("int8", "int4"), ("float8_e4m3fn", "float8_e4m3fn.ml_dtypes")])
def test_parts_are_separated_by_one_empty_line(run: Run, names: tuple[str, str]) -> None:
    out = run("diff", *names).out
    assert not out.startswith("\n")
    assert not out.endswith("\n\n")
    assert "\n\n\n" not in out


def test_codes_that_mean_other_values() -> None:
    found = compared("float8_e4m3fn", "float8_e5m2")
    assert found.decoded is not None
    tables = [fmt.table() for fmt in found.formats]
    same = (tables[0].view(np.int64) == tables[1].view(np.int64)) | (np.isnan(tables[0]) & np.isnan(tables[1]))
    assert [each.code for each in found.decoded] == np.flatnonzero(~same).tolist()
    assert compared("int4", "int8").decoded is None
    assert compared("nf4", "nf4").decoded == ()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (sqs.load_format("tf32"), sqs.load_format("float16")),
        (sqs.load_format("float8_e4m3fn"), variant("float8_e4m3fn", "{rounding: stochastic_a}")),
        (sqs.load_format("int4"), variant("int4", "{overflow: wrap}")),
        (sqs.load_format("pxr24"), variant("pxr24", "{nan_input: error}")),
    ],
    ids=lambda fmt: fmt.name,
)
def test_what_has_no_steps_is_sampled(a: sqs.NumberFormat, b: sqs.NumberFormat) -> None:
    found = difference(a, b)
    assert not found.exact
    assert found.inputs > 1 << 20
    assert 0 < found.other_values + sum(found.refused) < found.inputs
    assert repr(found) == repr(difference(a, b))  # NaN included
    assert "ties" not in {region.name for region in found.regions}


# --- the command -------------------------------------------------------------------------------------------------


def test_a_profile(run: Run) -> None:
    answer = run("diff", "float8_e4m3fn", "float8_e4m3fn.ml_dtypes")
    assert (answer.code, answer.err) == (0, "")
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["encode.overflow", "saturate", "nan"] in lines
    assert ["encode.via", "exact", "float32"] in lines
    text = "Of all 4294967296 float32 inputs, 1999634432 (46.6 %) get another code and another value."
    assert text in answer.out.splitlines()
    assert "All codes mean the same." in answer.out.splitlines()
    assert "via: float32 acts on float64 inputs alone, which are not compared." in answer.out.splitlines()
    assert ["overflow", "1999634430", "464.00003", "0x7e", "=", "448", "0x7f", "=", "nan"] in lines
    assert ["464.00003", "0x43e80001", "3.4028235e+38", "999817215", "0x7e", "=", "448", "0x7f", "=", "nan"] in lines


def test_other_formats(run: Run) -> None:
    answer = run("diff", "float8_e4m3fn", "float8_e5m2", "--first", "2")
    assert "get another code, 2275409796 (53 %) get another value." in answer.out
    assert "... and 356 more ranges of inputs (--first N)" in answer.out.splitlines()
    assert "250 of 256 codes mean another value" in answer.out.splitlines()
    assert ["element.inf", "none", "ieee"] in [line.split() for line in answer.out.splitlines()]
    answer = run("diff", "int4", "int8")
    assert "another code" not in answer.out
    answer = run("diff", "int4", "nf4", "--first", "0")
    assert ["element.values", "-", "16", "values"] in [line.split() for line in answer.out.splitlines()]


def test_no_difference(run: Run) -> None:
    answer = run("diff", "nf4", "nf4")
    assert "Of all 4294967296 float32 inputs, none gets another code or value." in answer.out.splitlines()
    assert "region" not in answer.out


def test_a_sample_is_called_one(run: Run) -> None:
    out = run("diff", "float16", "tf32").out
    assert "float32 inputs, not on all, since tf32 has 19 bits." in out
    assert "Of all" not in out


def test_as_json(run: Run) -> None:
    (item,) = run("diff", "int8", "int8_narrow", "--json", "-").json
    assert (item["a"], item["b"], item["exact"], item["inputs"]) == ("int8", "int8_narrow", True, 1 << 32)
    assert item["keys"] == [{"key": "element.min", "a": None, "b": -127}]
    assert item["decoded"] == []
    first: dict[str, Any] = item["ranges"][0]
    assert first == {
        "first": "-127.5",
        "first_bits": 0xC2FF_0000,
        "last": "-3.4028235e+38",
        "last_bits": 0xFF7F_FFFF,
        "inputs": 0xFF80_0000 - 0xC2FF_0000,
        "codes": {"a": 0x80, "b": 0x81},
        "values": {"a": -128.0, "b": -127.0},
    }
    assert [region["region"] for region in item["regions"]] == ["Inf", "overflow"]
    (item,) = run("diff", "float8_e5m2", "float8_e5m2.ml_dtypes", "--json", "-").json
    assert item["ranges"][0]["values"] == {"a": 57344.0, "b": "inf"}


def test_what_is_no_format(run: Run) -> None:
    told(run("diff", "int8", "int88"), "error: no format is named 'int88'; did you mean 'int8'?")
    assert run("diff", "int8").code == 2
