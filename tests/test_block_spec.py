"""Good specs of block formats: the examples of the language, defaults, inheritance, derived facts; and the catalog."""

from __future__ import annotations

import json
import math
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from strategies import number_specs

from statqat_sim.errors import SpecError
from statqat_sim.spec.block import BlockFormat, OffsetKind
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.files import builtin_directory
from statqat_sim.spec.members import holds, power_range
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.pack import Layout
from statqat_sim.spec.scale import AllZero, Candidates, Combine, Nonfinite, Rule, Whole

GOLDEN: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "golden" / "block_formats.json").read_text("utf-8")
)["formats"]
FILES = {path.stem: path for path in sorted((builtin_directory() / "block").glob("*.yaml"))}
TEXTS: dict[str, dict[str, Any]] = {stem: yaml.safe_load(path.read_text("utf-8")) for stem, path in FILES.items()}

MXFP4 = """
name: mine
element: float4_e2m1fn
scales: [{format: float8_e8m0fnu, block: 32, rule: floor, target: emax, all_zero: min}]
"""
NVFP4 = """
name: mine
element: float4_e2m1fn
scales:
  - {format: float32, block: tensor, target: 2688}
  - {format: float8_e4m3fn, block: 16, target: 6}
"""
MX9 = """
name: mine
element: {kind: int, bits: 8, encoding: sign_magnitude, fraction_bits: 6}
scales:
  - {format: float8_e8m0fnu, block: 16, rule: floor, target: 1}
  - {format: uint1, block: 2, rule: floor, combine: exponent_subtract}
"""
Q4_0 = """
name: mine
element: {kind: int, bits: 4, encoding: offset_binary, offset: 8}
encode: {rounding: nearest_up}
scales: [{format: float16, block: 32, rule: signed_absmax, target: -8, all_zero: zero}]
pack: {layout: interleaved, fields: [scale, elements], nibbles: half_split}
"""
NESTED = "{element: uint6, scales: [{format: float16, block: 8}]}"
Q4_K = f"""
name: mine
element: uint4
scales: [{{format: {NESTED}, block: 32, rule: minmax}}]
offset: {{kind: minimum, sign: -1, scales: [{{format: {NESTED}, block: 32}}]}}
pack: {{layout: ggml_q4_k}}
"""


def block_format(text: str) -> BlockFormat:
    format = parse_format(text)
    assert isinstance(format, BlockFormat)
    return format


def one_level(keys: str, element: str = "float4_e2m1fn") -> BlockFormat:
    return block_format(f"name: mine\nelement: {element}\nscales: [{{{keys}}}]\n")


def builtin(name: str) -> BlockFormat:
    format = load_format(name)
    assert isinstance(format, BlockFormat)
    return format


# --- examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "name"), [(MXFP4, "mxfp4"), (NVFP4, "nvfp4"), (MX9, "mx9"), (Q4_0, "gguf_q4_0")])
def test_an_example_of_the_language_is_the_built_in_format(text: str, name: str) -> None:
    example, format = block_format(text), builtin(name)
    assert example.element.element == format.element.element
    assert example.element.encode == format.element.encode
    assert [level.format for level in example.scales] == [level.format for level in format.scales]
    assert [(level.block, level.rule) for level in example.scales] == [(lv.block, lv.rule) for lv in format.scales]


@pytest.mark.parametrize(
    ("text", "bits", "names"),
    [
        (MXFP4, 4.25, "scale elements"),
        (NVFP4, 4.5, "scale0 scale1 elements"),
        (MX9, 9, "scale0 scale1 elements"),
        (Q4_0, 4.5, "scale elements"),
        (Q4_K, 4.5, "scale0 scale1 offset0 offset1 elements"),
    ],
)
def test_bits_and_arrays(text: str, bits: float, names: str) -> None:
    format = block_format(text)
    assert format.bits_per_element == bits
    assert [stored.name for stored in format.stored] == names.split()
    assert format.bits == format.element.bits == format.stored[-1].format.bits


def test_scales_of_a_block_format_are_counted_in_elements() -> None:
    assert [(stored.format.bits, stored.block) for stored in block_format(Q4_K).stored] == [
        (16, 256), (6, 32), (16, 256), (6, 32), (4, 1)
    ]  # fmt: skip
    channel = NESTED.replace("block: 8", "block: channel")
    stored = one_level(f"format: {channel}, block: 32").stored
    assert [array.block for array in stored] == [Whole.CHANNEL, 32, 1]


def test_a_zero_point_is_stored_once_for_each_block() -> None:
    text = "name: mine\nelement: uint4\nscales: [{format: float16, block: 64, rule: minmax}]\n"
    format = block_format(text + "offset: {kind: zero_point, format: uint4}\n")
    assert format.offset is not None
    assert format.offset.kind is OffsetKind.ZERO_POINT
    assert [(stored.name, stored.block) for stored in format.stored] == [("scale", 64), ("offset", 64), ("elements", 1)]
    assert format.bits_per_element == 4 + 20 / 64


@pytest.mark.parametrize(
    ("block", "bits"), [("1", 20), ("16", 5), ("[4, 8]", 4.5), ("channel", 4), ("tensor", 4), ("1048576", 4 + 2**-16)]
)
def test_bits_per_element_of_blocks(block: str, bits: float) -> None:
    assert one_level(f"format: float16, block: {block}").bits_per_element == bits


# --- defaults --------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    (level,) = one_level("format: float16, block: 32").scales
    assert (level.rule, level.all_zero, level.rounding) == (Rule.ABSMAX, AllZero.ONE, Rounding.NEAREST_EVEN)
    assert (level.combine, level.clamp, level.candidates) == (Combine.MULTIPLY, None, Candidates())
    assert level.underflow == "min"


@pytest.mark.parametrize(
    ("scale", "nonfinite"), [("float16", "nan_block"), ("float8_e8m0fnu", "nan_block"), ("uint8", "saturate")]
)
def test_nonfinite_is_nan_where_the_scale_has_one(scale: str, nonfinite: str) -> None:
    assert one_level(f"format: {scale}, block: 32").scales[0].nonfinite == nonfinite


def test_only_the_innermost_factor_is_nan() -> None:
    assert [level.nonfinite for level in block_format(NVFP4).scales] == [Nonfinite.SATURATE, Nonfinite.NAN_BLOCK]
    assert [level.nonfinite for level in block_format(MX9).scales] == [Nonfinite.NAN_BLOCK, Nonfinite.SATURATE]
    assert (block_format(MX9).anchor.block, block_format(NVFP4).anchor.block) == (16, 16)


def test_a_scale_of_0_is_a_scale_of_a_block_format() -> None:
    (level,) = one_level(f"format: {NESTED}, block: 32").scales
    assert (level.all_zero, level.nonfinite) == (AllZero.ZERO, Nonfinite.SATURATE)


@pytest.mark.parametrize(
    ("scale", "element", "offsets"),
    [
        ("float8_e8m0fnu", "float4_e2m1fn", (0, 1)),
        ("float8_e8m0fnu", "int8", (-1, 0, 1)),
        ("float8_e4m3fn", "int8", tuple(range(-2, 6))),
    ],
)
def test_default_candidates(scale: str, element: str, offsets: tuple[int, ...]) -> None:
    (level,) = one_level(f"format: {scale}, block: 32, rule: mse", element).scales
    assert level.candidates == Candidates(offsets=offsets)


def test_candidates_are_offsets_or_targets() -> None:
    level = "format: float8_e4m3fn, block: 16, rule: mse, candidates:"
    assert one_level(f"{level} [0, 3]").scales[0].candidates == Candidates(offsets=(0, 3))
    assert one_level(f"{level} {{offsets: [0, 3]}}") == one_level(f"{level} [0, 3]")
    assert one_level(f"{level} {{targets: [6, 4]}}").scales[0].candidates == Candidates(targets=(6.0, 4.0))


@pytest.mark.parametrize(("rule", "needs"), [("given", True), ("absmax", False)])
def test_whether_the_caller_must_give_a_scale(rule: str, needs: bool) -> None:
    assert one_level(f"format: float32, block: tensor, rule: {rule}").needs_scale == needs


# --- names and inheritance -------------------------------------------------------------------------------------


def test_an_element_keeps_its_name_until_something_is_laid_over_it() -> None:
    assert block_format(MXFP4).element.name == "float4_e2m1fn"
    assert block_format(MXFP4).element.encode == load_format("float4_e2m1fn").encode
    changed = block_format(MXFP4 + "encode: {rounding: to_odd}\n").element
    assert (changed.name, changed.encode.rounding) == ("mine.element", Rounding.TO_ODD)
    assert changed.element == block_format(MXFP4).element.element
    assert block_format(MX9).element.name == "mine.element"


def test_an_alias_of_an_element_gives_its_canonical_name() -> None:
    assert block_format(MXFP4.replace("float4_e2m1fn", "e2m1")).element.name == "float4_e2m1fn"


def test_formats_of_scales_have_names() -> None:
    (level,) = block_format(Q4_K).scales
    assert isinstance(level.format, BlockFormat)
    assert (level.format.name, level.format.element.name) == ("mine.scale0", "uint6")
    (level,) = one_level("format: {element: {kind: int, bits: 5}, encode: {rounding: to_odd}}, block: 4").scales
    assert isinstance(level.format, NumberFormat)
    assert (level.format.name, level.format.encode.rounding) == ("mine.scale0", Rounding.TO_ODD)
    offset = block_format(Q4_K).offset
    assert offset is not None
    assert offset.scales[0].format.name == "mine.offset0"


def test_a_block_format_may_be_named_as_the_format_of_scales() -> None:
    assert one_level("format: gguf_q8_0, block: 4").scales[0].format == load_format("gguf_q8_0")


def test_scales_are_inherited_and_replaced_as_a_whole() -> None:
    parent, child = builtin("mxfp4"), block_format("name: mine\nextends: mxfp4\n")
    assert (child.element, child.scales, child.pack) == (parent.element, parent.scales, parent.pack)
    assert (child.title, child.aliases) == (parent.title, ())
    other = block_format("name: mine\nextends: mxfp4\nscales: [{format: float16, block: 8}]\n")
    assert [(level.rule, level.block) for level in other.scales] == [(Rule.ABSMAX, 8)]


def test_an_element_of_a_parent_is_changed_key_by_key() -> None:
    child = block_format("name: mine\nextends: mxint8\nelement: {min: -127}\n")
    assert (child.element.name, child.element.min) == ("mine.element", -127 / 64)
    assert block_format("name: mine\nextends: mxfp4\nelement: int4\n").element.name == "int4"


def test_offset_and_pack_are_inherited_key_by_key() -> None:
    child = block_format("name: mine\nextends: gguf_q4_1\npack: {nibbles: low_first}\n")
    assert child.offset == builtin("gguf_q4_1").offset
    assert (child.pack.layout, child.pack.nibbles) == (Layout.INTERLEAVED, "low_first")


def test_a_number_format_may_become_a_block_format() -> None:
    child = block_format("name: mine\nextends: int4\nscales: [{format: float16, block: 8}]\n")
    assert child.element.element == load_format("int4").element


def test_levels_nest() -> None:
    for outer, inner in [
        ("tensor", "channel"),
        ("channel", "32"),
        ("32", "32"),
        ("tensor", "[2, 2]"),
        ("[8, 4]", "[4, 4]"),
    ]:
        levels = f"[{{format: float32, block: {outer}}}, {{format: float16, block: {inner}}}]"
        assert len(block_format(f"name: mine\nelement: int4\nscales: {levels}\n").scales) == 2


def test_equal_formats_hash_equal_and_survive_pickling() -> None:
    for text in (MXFP4, NVFP4, MX9, Q4_0, Q4_K):
        format = block_format(text)
        assert format == block_format(text) == pickle.loads(pickle.dumps(format))
        assert hash(format) == hash(block_format(text))


# --- which values a scale format has ---------------------------------------------------------------------------


@given(text=number_specs(["float", "int"], max_bits=8))
def test_powers_of_two_are_those_of_the_grid(text: str) -> None:
    format = parse_format(text)
    powers = {math.frexp(value)[1] - 1 for value in format.grid() if value > 0 and math.frexp(value)[0] == 0.5}
    in_a_row = bool(powers) and len(powers) == max(powers) - min(powers) + 1
    found = power_range(format.element)
    if found is not None:
        assert found == (min(powers), max(powers))
        assert in_a_row
    elif in_a_row:
        assert getattr(format.element, "subnormals", "") == "raw"


@given(text=number_specs(max_bits=8))
def test_a_format_holds_its_grid_and_nothing_between(text: str) -> None:
    format = parse_format(text)
    grid = format.grid()
    assert all(holds(format.element, float(value)) for value in grid)
    between = [float(Fraction(low) / 2 + Fraction(high) / 2) for low, high in zip(grid[:-1], grid[1:], strict=True)]
    assert not any(holds(format.element, value) for value in set(between) - set(grid.tolist()))


# --- the catalog -----------------------------------------------------------------------------------------------


def test_names_are_listed_by_kind() -> None:
    numbers, blocks = formats(kind="number"), formats(kind="block")
    assert set(blocks) == set(FILES)
    assert sorted((*numbers, *blocks)) == list(formats())
    with pytest.raises(ValueError, match="kind is 'blok'; did you mean 'block'"):
        formats(kind="blok")  # type: ignore[arg-type]


def test_the_kind_of_a_users_file_is_that_of_what_it_extends(tmp_path: Path) -> None:
    for stem, text in {"a": "extends: b", "b": "extends: mxfp4", "c": "extends: int4", "d": "["}.items():
        (tmp_path / f"{stem}.yaml").write_text(f"name: {stem}\n{text}\n")
    assert set(formats(tmp_path, kind="block")) - set(FILES) == {"a", "b"}
    assert "c" in formats(tmp_path, kind="number")


@pytest.mark.parametrize("stem", FILES)
def test_a_file_loads_under_its_stem_and_says_where_its_numbers_come_from(stem: str) -> None:
    format = builtin(stem)
    assert TEXTS[stem]["name"] == format.name == stem
    assert TEXTS[stem].get("source"), "a built-in file has its own source"
    assert format.title
    assert parse_format(yaml.safe_dump(TEXTS[stem], sort_keys=False)) == format


@pytest.mark.parametrize("stem", FILES)
def test_every_alias_leads_to_its_file(stem: str) -> None:
    assert {load_format(alias).name for alias in TEXTS[stem].get("aliases", ())} <= {stem}


def test_no_two_formats_share_a_name_or_alias() -> None:
    texts = [yaml.safe_load(path.read_text("utf-8")) for path in builtin_directory().glob("[bn]*/*.yaml")]
    names = [name.lower() for text in texts for name in (text["name"], *text.get("aliases", ()))]
    assert len(names) == len(set(names))


LEVEL_KEYS = [
    (stem, index, key)
    for stem, text in TEXTS.items()
    for index, level in enumerate(text.get("scales", ()))
    for key in level
    if key not in ("format", "block")
]


@pytest.mark.parametrize(("stem", "index", "key"), LEVEL_KEYS)
def test_no_key_says_what_holds_without_it(stem: str, index: int, key: str) -> None:
    text = yaml.safe_load(FILES[stem].read_text("utf-8"))
    del text["scales"][index][key]
    try:
        without = parse_format(yaml.safe_dump(text))
    except SpecError:
        return  # the key is needed
    assert without != builtin(stem)


@pytest.mark.parametrize("stem", [stem for stem in FILES if "." in stem])
def test_a_profile_extends_the_format_that_it_is_named_after(stem: str) -> None:
    assert TEXTS[stem]["extends"] == stem.partition(".")[0]
    assert all("==" in entry for entry in builtin(stem).oracle) or "oracle" not in TEXTS[stem]


@pytest.mark.parametrize("key", GOLDEN)
def test_facts_of_the_survey(key: str) -> None:
    facts, format = GOLDEN[key], builtin(key)
    block = facts["block"]
    assert format.anchor.block == (tuple(block) if isinstance(block, list) else block)
    assert format.bits_per_element == pytest.approx(facts["bits_per_element"], abs=0.01)


SAME_VALUES = {"gguf_mxfp4": "float4_e2m1fn", "bfp16_amd": None}
"""Elements of the survey that are written in another way: as a codebook, and with a binary point."""


@pytest.mark.parametrize("key", GOLDEN)
def test_elements_are_those_of_the_survey(key: str) -> None:
    name = SAME_VALUES.get(key, GOLDEN[key]["element"])
    if name is not None:
        surveyed = load_format(name)
        assert isinstance(surveyed, NumberFormat)
        assert np.array_equal(builtin(key).element.table(), surveyed.table(), equal_nan=True)
    else:
        assert np.array_equal(builtin(key).element.table() * 64, load_format("int8").table())
