"""The JSON Schema of accelerators: what the reader takes, it takes; what only the reader refuses is listed here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator
from mma_random import accelerators
from typer import Typer
from typer.testing import CliRunner

from statqat_sim.cli.schema import schema as command
from statqat_sim.spec.accelerator_meaning import ACCELERATOR_MEANING, ACCELERATOR_TOP, INSTRUCTION
from statqat_sim.spec.accelerator_schema import MODELS, accelerator_schema
from statqat_sim.spec.files import builtin_directory

SCHEMA = accelerator_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
BUILT_IN = sorted((builtin_directory() / "accelerator").glob("*.yaml"))
BAD = {path.stem: path for path in sorted((Path(__file__).parent / "bad_accelerators").glob("*.yaml"))}
READER_ALONE = {
    "block_operand": "other files",
    "extends_itself": "other files",
    "scale_is_no_power_of_two": "other files",
    "results_without_inf": "other files",
    "unknown_format": "other files",
    "integers_are_summed_exactly": "other files",
    "float64_is_plain": "other files",
    "nan_is_a_number": "other files",
    "operands_are_random": "other files",
    "gemm_names_nothing": "names of instructions",
    "recipe_names_nothing": "names of instructions",
    **dict.fromkeys(
        (
            *("recipe_accumulates_on_more", "recipe_adds_something_else", "recipe_adds_wider_c", "recipe_gives_less"),
            *("recipe_of_a_recipe", "recipe_of_scales", "recipe_of_what_takes_no_c", "recipe_of_wider_operands"),
            "recipe_runs_what_takes_no_c",
            *("recipe_of_any_k", "recipe_of_several_k"),
        ),
        "what the instructions of a recipe are",
    ),
    **dict.fromkeys(("recipe_drops_a_result", "recipe_without_c"), "steps that do not go with others"),
    **dict.fromkeys(
        ("nan_too_wide", "recipe_nan_too_wide", "conversion_nan_too_wide"), "numbers that do not go with others"
    ),
    "order_without_step": "numbers that do not go with others",
    **dict.fromkeys(("gemm_cuts_a_block", "gemm_of_more_than_without_c"), "numbers that do not go with others"),
    "round_to_wider": "numbers that do not go with others",
    "step_does_not_divide": "numbers that do not go with others",
    "steps_without_c": "numbers that do not go with others",
}
"""What a schema does not see."""


def errors(text: str) -> list[str]:
    found = VALIDATOR.iter_errors(yaml.safe_load(text))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in found]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert "null" not in json.dumps(SCHEMA)


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_the_built_in_files_pass(path: Path) -> None:
    assert errors(path.read_text("utf-8")) == []


@pytest.mark.parametrize("stem", BAD)
def test_a_bad_file_fails_where_a_schema_can_tell(stem: str) -> None:
    assert bool(errors(BAD[stem].read_text("utf-8"))) != (stem in READER_ALONE)


def test_what_only_the_reader_knows_is_there() -> None:
    assert READER_ALONE.keys() <= BAD.keys()


@given(accelerators())
def test_whatever_the_reader_takes_passes(text: str) -> None:
    assert errors(text) == []


def test_every_key_is_there_with_its_meaning() -> None:
    def entries(node: Any) -> list[dict[str, Any]]:
        inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node] if isinstance(node, dict) and node.get("additionalProperties") is False else []
        return [*own, *(found for each in inside for found in entries(each))]

    everything = entries(SCHEMA)
    assert all(key["description"] for each in everything for key in each["properties"].values())
    assert SCHEMA["properties"].keys() == ACCELERATOR_TOP.keys()
    assert SCHEMA["$defs"]["Instruction"]["properties"].keys() == INSTRUCTION.keys()
    told = {key for each in everything for key in each["properties"]}
    assert {key.rpartition(".")[2] for key in ACCELERATOR_MEANING} <= told
    assert len(everything) > len(MODELS)


@pytest.mark.parametrize(
    ("dot", "marked"),
    [
        ("{sum: chain, c: term}", ".dot.c: 'term' is not one of ['first', 'last', 'none']"),
        ("{sum: aligned}", ".dot: 'aligned' is a required property"),
        ("{sum: exact, split: even_odd}", ".dot.split: 'even_odd' is not one of [1, 'none']"),
        ("{sum: exact, group: 4}", ".dot.group: 1 was expected"),
        ("{sum: exact, order: descending}", ".dot.order: 'ascending' was expected"),
        ("{sum: integer}, round: {mode: to_odd}", ": False schema does not allow {'mode': 'to_odd'}"),
        ("{sum: integer}, special: {flush: both}", ".special: 'flush' is not one of ['overflow']"),
        ("{sum: exact}, special: {flushed: positive}", ".special: 'flush' is a required property"),
    ],
)
def test_errors_are_marked_where_they_are(dot: str, marked: str) -> None:
    assert f"instructions.m.f16.f32{marked}" in errors(f"name: x\ninstructions: {{m.f16.f32: {{dot: {dot}}}}}\n")


def test_the_command_prints_it_and_writes_it(tmp_path: Path) -> None:
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, ["--accelerator"])
    assert (result.exit_code, json.loads(result.output)) == (0, SCHEMA)
    path = tmp_path / "accelerator.json"
    assert CliRunner().invoke(app, ["--accelerator", "-o", str(path)]).exit_code == 0
    assert json.loads(path.read_text("utf-8")) == SCHEMA
