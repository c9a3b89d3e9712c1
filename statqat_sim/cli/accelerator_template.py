"""The text of a new accelerator file: its model's instructions, below what their keys mean."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from statqat_sim.cli.block_template import braces, inline, wrapped
from statqat_sim.cli.template import INDENT, comment, folded
from statqat_sim.spec.accelerator import AcceleratorSpec, Add, Fused, Instruction, OperandFormat, Selection
from statqat_sim.spec.accelerator_dot import DEFAULT_ENTER, Dot, Special
from statqat_sim.spec.accelerator_operands import OPERANDS
from statqat_sim.spec.accelerator_schema import accelerator_schema
from statqat_sim.spec.base import Spec
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.files import Search
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.schema_models import Schema

TOLD_ELSEWHERE = ("EncodePolicy", "Evidence")
"""Definitions of the schema whose keys are not told inside of others: formats', and those of the file's evidence."""

UNBOUNDED = 1 << 62
"""Bounds of the schema from here on are none of the language."""


def accelerator_template(name: str, model: AcceleratorSpec, search: Search = ()) -> str:
    """An accelerator file named `name` with the instructions and conversions of `model`.

    Its evidence is a guess: what is known about the model does not hold for what the file becomes.
    """
    return "\n".join(_lines(name, model, search)) + "\n"


def _lines(name: str, model: AcceleratorSpec, search: Search) -> Iterator[str]:
    schema = accelerator_schema()
    meaning = Meaning(schema["properties"], schema["$defs"])
    yield from comment(
        f"An accelerator. `statqat-sim check {name}.yaml` tells what is wrong with this file, `statqat-sim "
        f"accelerators {name}.yaml` what it computes. It has the instructions of {model.name}. Keys that are left out "
        "have their defaults; formats/ACCELERATORS.md defines them all."
    )
    header = {"name": name, "aliases": (), "title": f"{name}, made from {model.name}", "source": ""}
    for key, value in header.items():
        yield from ("", *meaning.of(key), f"{key}: {inline(value)}")
    yield from ("", *meaning.of("evidence", "Evidence"), "evidence:", f"{INDENT}status: guess")
    yield from ("", *meaning.of("gemm", "GemmPlan"))
    if model.gemm:
        yield from wrapped(f"gemm: {braces(_said(model.gemm))}", "")
    yield from ("", *meaning.of("conversions", "Conversion"), *["conversions:"] * bool(model.conversions))
    for each in model.conversions:
        keys = _format(each.format, search) | _said(each, ("nan",))
        yield from wrapped(f"{INDENT}{inline(each.name)}: {braces(keys)}", INDENT)
    yield from ("", *meaning.of("instructions", "Instruction"), *["instructions:"] * bool(model.instructions))
    for instruction in model.instructions:
        yield f"{INDENT}{inline(instruction.name)}:"
        for part, text in _parts(instruction, search):
            yield from wrapped(f"{INDENT * 2}{part}: {text}", INDENT * 2)


# --- what keys mean ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meaning:
    """Comments on the keys of accelerator files, from the properties and definitions of their JSON Schema."""

    properties: Mapping[str, Schema]
    definitions: Mapping[str, Schema]

    def of(self, key: str, definition: str = "") -> Iterator[str]:
        """What a key of the file means, and the keys of its entries, which have this definition."""
        yield from comment(f"{key}: {self.properties[key]['description']}")
        if definition:
            yield from self._keys(self.definitions[definition]["properties"], INDENT)

    def _keys(self, properties: Mapping[str, Schema], indent: str) -> Iterator[str]:
        for key, schema in properties.items():
            default = f"default {schema['default']}" if schema.get("default") else ""
            told = "; ".join(filter(None, (f"{key}: {schema['description']}", self._allowed(schema), default)))
            start = f"# {indent}"
            yield from folded(told, start, start + INDENT * 2)
            yield from self._keys(self._inside(schema), indent + INDENT)

    def _inside(self, schema: Schema) -> Mapping[str, Schema]:
        """The keys of the mapping, or of the mappings in the list, that a schema describes."""
        entries = schema.get("items", {})
        described = (self._definition(each) for each in (schema, entries.get("then", {}), entries.get("else", {})))
        return {key: each for definition in described for key, each in definition.get("properties", {}).items()}

    def _definition(self, schema: Schema) -> Schema:
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        return {} if name in ("", *TOLD_ELSEWHERE) else self.definitions[name]

    def _allowed(self, schema: Schema) -> str:
        """The words and bounds of a value."""
        texts: list[str] = []
        for each in schema.get("anyOf", [schema]):
            texts += map(str, each.get("enum") or self._definition(each).get("enum", ()))
            texts += [str(each["const"])] if "const" in each else []
            texts += [f"{each['minimum']} to {each['maximum']}"] if each.get("maximum", UNBOUNDED) < UNBOUNDED else []
        return " | ".join(texts)


# --- what the model says -----------------------------------------------------------------------------------------


def _said(spec: Spec, keys: Collection[str] | None = None) -> dict[str, str]:
    """The texts of the keys, or of these of them, whose values are not their defaults."""
    values = {key: getattr(spec, key) for key in type(spec).model_fields if keys is None or key in keys}
    return {key: _text(key, each) for key, each in values.items() if each != type(spec).model_fields[key].default}


def _text(key: str, value: Any) -> str:
    if key == "nan":
        return hex(value)
    return braces(_said(value)) if isinstance(value, Spec) else inline(value)


def _parts(instruction: Instruction, search: Search) -> Iterator[tuple[str, str]]:
    """The parts of an instruction, but for its evidence."""
    operands = {key: _operand(getattr(instruction, key), search) for key in OPERANDS if getattr(instruction, key)}
    yield "operands", braces(operands)
    if scaling := instruction.scale:
        yield "scale", braces({"format": _named(scaling.format, search)} | _said(scaling, ("block", "apply")))
    if instruction.dot:
        yield "dot", braces(_dot(instruction.dot))
    if rounding := _said(instruction, ("to", "mode")):
        yield "round", braces(rounding)
    if instruction.special != Special():
        yield "special", _text("special", instruction.special)
    if instruction.recipe:
        yield "recipe", f"[{', '.join(map(_step, instruction.recipe))}]"


def _operand(value: Any, search: Search) -> str:
    """A format, a list of several, or the shape."""
    if isinstance(value, Spec):
        value = (value,)
    if not isinstance(value[0], Spec):
        return inline(value)
    texts = [_named(each, search) for each in value]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _named(format: OperandFormat, search: Search) -> str:
    """A format's name, with its `encode` policies where they are its own."""
    keys = _format(format, search) if isinstance(format, NumberFormat) else {}
    return braces(keys) if "encode" in keys else inline(format.name)


def _format(format: NumberFormat, search: Search) -> dict[str, str]:
    """A format's name, and the `encode` policies that the catalog's format of this name does not have."""
    keys = {"format": inline(format.name)}
    try:
        known = load_format(format.name, search)
    except LookupError:  # int32, which has no file, or a format beside the model's file
        return keys
    policy = known.encode if isinstance(known, NumberFormat) else None
    own = [key for key, value in format.encode if value != getattr(policy, key, None)]
    return keys | ({"encode": braces(_said(format.encode, own))} if own else {})


def _dot(dot: Dot) -> dict[str, str]:
    said = _said(dot)
    return {key: text for key, text in said.items() if key != "c" or dot.c != DEFAULT_ENTER[dot.sum]}


def _step(step: Fused | Add) -> str:
    """A step of a recipe."""
    if isinstance(step, Add):
        return braces({"instruction": inline(step.instruction), "with": step.added})
    selection = {} if step.k is None else {"k": inline(_selection(step.k))}
    return braces(_said(step, ("instruction", "c")) | selection)


def _selection(selection: Selection) -> str:
    residues = selection.residues
    return f"k % {selection.modulus} " + (f"in {residues}" if len(residues) > 1 else f"== {residues[0]}")
