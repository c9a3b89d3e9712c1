"""The JSON Schema: what the reader takes, it takes; what it lets pass wrongly is listed here, with the reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator
from strategies import ROUNDINGS, STOCHASTIC, number_mappings
from typer import Typer
from typer.testing import CliRunner

from statqat_sim.cli.schema import schema as command
from statqat_sim.errors import SpecError
from statqat_sim.spec.block import Offset
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.files import builtin_directory
from statqat_sim.spec.meaning import MEANING, TOP
from statqat_sim.spec.pack import BlockPack, Pack
from statqat_sim.spec.parts import KINDS
from statqat_sim.spec.reader import TOP_KEYS
from statqat_sim.spec.scale import Candidates, ScaleLevel
from statqat_sim.spec.schema import json_schema
from statqat_sim.spec.tapered import Regime

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
BUILT_IN = sorted(builtin_directory().glob("[bn]*/*.yaml"))
BAD = {path.stem: path for path in sorted((Path(__file__).parent / "bad_specs").glob("*.yaml"))}

READER_ALONE: Mapping[str, set[str]] = {
    "numbers that do not go with other numbers or words: a schema does not compute": {
        "codebook_more_values_than_codes",
        "float_beyond_float64",
        "float_bias_default_too_low",
        "float_finer_than_float64",
        "float_only_zero_left",
        "float_only_zero_left_by_flush",
        "float_wider_than_32_bits",
        "float_wider_than_float64_exponents",
        "int_max_above_range",
        "int_min_and_max_leave_zero",
        "int_min_below_range",
        "int_offset_out_of_range",
        "int_one_bit_sign_magnitude",
        "lns_beyond_float64",
        "lns_fraction_too_wide",
        "nan_ieee_without_mantissa",
        "nan_input_code_too_wide",
        "pack_half_split_of_odd_block",
        "posit_beyond_float64",
        "scale_clamp_leaves_mse_nothing",
        "scale_clamp_upside_down",
        "scale_rule_even_without_positive",
        "scale_rule_rceil_without_positive",
        "scale_target_beyond_float32",
        "scale_target_of_element_without_positive",
        "tapered_prefix_contained",
        "tapered_prefixes_incomplete",
        "tapered_subnormals_among_normals",
        "tapered_subnormals_too_many",
        "tapered_widths",
    },
    "what other files say, or this one's stem: a schema sees no files": {
        "combine_of_float",
        "element_by_name_with_inherited_policy",
        "element_is_block_format",
        "element_unknown_format",
        "extends_block_format_with_impossible_element",
        "extends_block_format_with_impossible_pack",
        "extends_broken_stem",
        "extends_broken_syntax",
        "extends_broken_value",
        "extends_circle",
        "extends_itself",
        "extends_makes_element_impossible",
        "extends_makes_policy_impossible",
        "extends_unknown",
        "extends_with_another_kind",
        "extends_with_impossible_policy",
        "mse_of_float16",
        "name_differs_from_file",
        "offset_added_of_another_rounding",
        "offset_added_to_fractions",
        "offset_minimum_unsigned",
        "offset_zero_point_is_block",
        "offset_zero_point_is_float",
        "pack_fields_incomplete",
        "pack_fields_of_another_format",
        "pack_ggml_nvfp4_of_signed_scales",
        "pack_ggml_q4_k_of_one_scale",
        "pack_ggml_q5_0_of_4_bits",
        "pack_ggml_tq1_0_of_two_axes",
        "pack_half_split_of_8_bits",
        "pack_inherited_does_not_fit",
        "pack_swizzle_of_16_bits",
        "scale_all_zero_without_zero",
        "scale_clamp_not_a_value",
        "scale_even_of_codebook",
        "scale_floor_above_raw_subnormals",
        "scale_floor_of_codebook",
        "scale_format_itself",
        "scale_format_unknown",
        "scale_nan_block_without_nan",
        "scale_signed_absmax_unsigned",
        "scale_target_negative_unsigned",
    },
    "what one level of scales asks of another: a schema does not look from one item of a list to the next": {
        "apply_differs",
        "blocks_do_not_divide",
        "blocks_innermost_first",
        "blocks_of_one_axis_and_two",
        "blocks_of_two_axes_do_not_divide",
        "channel_inside_of_a_block",
        "combine_before_multiply",
        "given_twice",
        "mse_of_outer_level",
        "nan_block_of_outer_level",
        "nested_outer",
        "offset_minimum_of_another_block",
        "order_encode_below_floor",
        "pack_interleaved_tensor",
        "scale_order_of_one_level",
    },
    "spelling: a schema sees what a YAML parser has made of it": {
        "key_written_twice",
        "key_written_twice_at_top",
        "merge_key",
        "scalar_binary",
        "scalar_leading_zero",
        "scalar_leading_zero_float",
        "scalar_negative_zero_integer",
        "scalar_sexagesimal",
        "scalar_single_letter_boolean",
        "scalar_underscore",
        "scalar_underscore_float",
        "scalar_yes_and_no",
        "tag_on_quoted_scalar",
        "tag_on_scalar",
    },
    "JSON has no NaN, and 4.0 is an integer there": {
        "codebook_value_nan",
        "exponent_bits_is_float",
        "nan_input_is_float",
    },
}


def errors(text: str) -> list[str]:
    """What an editor would mark; a text that PyYAML cannot read is marked by the editor's own parser."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        return [str(error)]
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in VALIDATOR.iter_errors(value)]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_the_catalog_passes(path: Path) -> None:
    assert errors(path.read_text("utf-8")) == []


@pytest.mark.parametrize("stem", sorted(BAD.keys() - set().union(*READER_ALONE.values())))
def test_a_bad_spec_fails(stem: str) -> None:
    assert errors(BAD[stem].read_text("utf-8"))


@pytest.mark.parametrize("stem", sorted(set().union(*READER_ALONE.values())))
def test_what_only_the_reader_knows_passes(stem: str) -> None:
    """Otherwise it does not belong into the list."""
    assert errors(BAD[stem].read_text("utf-8")) == []


@given(spec=number_mappings(roundings=(*ROUNDINGS, *STOCHASTIC)))
def test_whatever_the_reader_takes_passes(spec: dict[str, Any]) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(spec)] == []


@given(spec=number_mappings(max_bits=12))
def test_whatever_the_reader_takes_may_be_inherited_in_part(spec: dict[str, Any]) -> None:
    element = {key: value for key, value in spec["element"].items() if key not in ("bits", "exponent_bits", "es")}
    assert VALIDATOR.is_valid({**spec, "extends": "another", "element": element})
    element.pop("kind")
    assert VALIDATOR.is_valid({**spec, "extends": "another", "element": element})


ELEMENTS = {  # not the codebook: whether that has a NaN or a zero depends on its numbers
    "float": "{kind: float, exponent_bits: 4, mantissa_bits: 3}",
    "int": "{kind: int, bits: 8}",
    "posit": "{kind: posit, bits: 8, es: 2}",
    "takum": "{kind: takum, bits: 8}",
    "lns": "{kind: lns, bits: 8, fraction_bits: 3}",
}
MORE = {
    "float": (
        *("nan: ieee, inf: ieee", "nan: all_ones", "inf: max_code", "nan: negative_zero, zero: positive"),
        *("signed: false", "subnormals: raw", "subnormals: none", "subnormals: none, zero: none", "zero: signed"),
        *("signed: false, nan: all_ones", "nan: ieee", "signed: false, zero: signed"),
    ),
    "int": ("encoding: unsigned", "encoding: sign_magnitude", "min: 0", "encoding: offset_binary, offset: 0"),
}


def specs_with_words(kind: str) -> Iterator[str]:
    """Specs with one word of the encode part, and none, one or two of the element's."""
    for more in ("", *MORE.get(kind, ())):
        element = ELEMENTS[kind].replace("}", f", {more}}}") if more else ELEMENTS[kind]
        for key, definition in SCHEMA["$defs"]["EncodePolicy"]["properties"].items():
            for word in words_of(definition):
                yield f"name: x\nelement: {element}\nencode: {{{key}: {word}}}\n"


def words_of(definition: Mapping[str, Any]) -> list[str]:
    options = [definition, *definition.get("anyOf", ())]
    names = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
    return [word for name in names for word in SCHEMA["$defs"][name]["enum"]]


@pytest.mark.parametrize("kind", ELEMENTS)
def test_words_go_together_where_the_reader_says_so(kind: str) -> None:
    texts = list(specs_with_words(kind))
    assert len(texts) > 30
    assert [text for text in texts if is_refused(text) != bool(errors(text))] == []


def is_refused(text: str) -> bool:
    try:
        parse_format(text)
    except SpecError:
        return True
    return False


# --- what editors show -----------------------------------------------------------------------------------------


def keys_of(name: str) -> dict[str, Any]:
    properties: dict[str, Any] = SCHEMA["$defs"][name]["properties"]
    return properties


MODELS = (*KINDS.values(), EncodePolicy, Pack, BlockPack, Regime, Candidates)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_is_there_with_its_meaning(model: Any) -> None:
    assert keys_of(model.__name__).keys() == model.model_fields.keys()
    assert all(entry["description"] == MEANING[key] for key, entry in keys_of(model.__name__).items())
    assert SCHEMA["$defs"][model.__name__]["additionalProperties"] is False


@pytest.mark.parametrize(("model", "definition"), [(ScaleLevel, "ScaleKeys"), (Offset, "OffsetKeys")])
def test_every_key_with_a_format_is_there(model: Any, definition: str) -> None:
    assert keys_of(definition).keys() == model.model_fields.keys()
    assert all(entry["description"] for entry in keys_of(definition).values())
    assert SCHEMA["$defs"][definition]["additionalProperties"] is False


def test_the_keys_of_a_file_are_there_with_their_meaning() -> None:
    assert SCHEMA["properties"].keys() == set(TOP_KEYS) == TOP.keys()
    assert all(SCHEMA["properties"][key]["description"] == meaning for key, meaning in TOP.items())


def test_no_meaning_is_of_a_key_that_is_gone() -> None:
    assert MEANING.keys() == {key for model in (*MODELS, ScaleLevel, Offset) for key in model.model_fields}


def test_words_bounds_and_defaults_are_those_of_the_types() -> None:
    rounding = keys_of("EncodePolicy")["rounding"]
    assert rounding["default"] == "nearest_even"
    assert SCHEMA["$defs"]["Rounding"]["enum"][-1] == "stochastic_c"
    bits = keys_of("TakumElement")["bits"]
    assert (bits["type"], bits["minimum"], bits["maximum"]) == ("integer", 2, 16)
    assert keys_of("IntElement")["min"] == {
        "description": MEANING["min"], "type": "integer", "minimum": 1 - 2**63, "maximum": 0
    }  # fmt: skip


def test_no_key_takes_null() -> None:
    assert "null" not in json.dumps(SCHEMA)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("element: {kind: int, bits: 99}", "element.bits: 99 is greater than the maximum of 32"),
        ("element: {kind: int, bit: 8}", "element: Additional properties are not allowed ('bit' was unexpected)"),
        ("element: {kind: floot}", f"element.kind: 'floot' is not one of {[*KINDS]}"),
        (
            "element: {kind: posit, bits: 8, es: 2}\nencode: {overflow: nan}",
            "encode.overflow: 'nan' is not one of ['saturate']",
        ),
        (
            "element: {kind: float, exponent_bits: 4, mantissa_bits: 3, inf: max_code}\nencode: {inf_input: nan}",
            "encode.inf_input: 'nan' is not one of ['overflow', 'saturate', 'inf']",
        ),
        (
            "element: {kind: float, exponent_bits: 4, mantissa_bits: 3, zero: none}",
            "element: 'subnormals' is a required property",
        ),
    ],
)
def test_errors_are_marked_where_they_are(text: str, marked: str) -> None:
    assert marked in errors(f"name: x\n{text}\n")


# --- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Typer:
    app = Typer()
    app.command()(command)
    return app


def test_the_command_prints_it(app: Typer) -> None:
    result = CliRunner().invoke(app, [])
    assert (result.exit_code, json.loads(result.output)) == (0, SCHEMA)


def test_the_command_writes_it(app: Typer, tmp_path: Path) -> None:
    for option in ("-o", "--output"):
        path = tmp_path / f"{option.strip('-')}.json"
        assert CliRunner().invoke(app, [option, str(path)]).exit_code == 0
        assert json.loads(path.read_text("utf-8")) == SCHEMA


def test_its_text_is_the_same_in_every_process() -> None:
    """Sets are in another order where strings have other hashes."""
    text = "import json; from statqat_sim.spec.schema import json_schema; print(json.dumps(json_schema()))"
    run = partial(subprocess.run, [sys.executable, "-c", text], check=True, capture_output=True)
    first, second = (run(env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in ("0", "2"))
    assert first == second
