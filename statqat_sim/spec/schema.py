"""The language as a JSON Schema, from the same types that the reader validates with: for editors.

It knows each key, its words and its bounds, and which words do not go together. What holds between numbers stays with
the reader, which also sees what a file inherits and how its scalars are spelt.
"""

from __future__ import annotations

import sys
from typing import Final

from pydantic.json_schema import models_json_schema

from statqat_sim.spec.base import Spec
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.meaning import MEANING, TOP
from statqat_sim.spec.pack import Pack
from statqat_sim.spec.reader import KINDS, NAME, Header
from statqat_sim.spec.schema_rules import KEYS, MODELS, Schema, element_rules, encode_rules, pack_rules, pack_widths

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

PLAIN_NAME: Final[Schema] = {"type": "string", "pattern": f"^{NAME.pattern}$"}
INTEGERS: Final[Schema] = {"minimum": 1 - (1 << 63), "maximum": (1 << 63) - 1}
FINITE: Final[Schema] = {"minimum": -sys.float_info.max, "maximum": sys.float_info.max}


def json_schema() -> Schema:
    """The JSON Schema of a format file."""
    models: list[type[Spec]] = [*KINDS.values(), EncodePolicy, Pack, Header]
    generated = models_json_schema([(model, "validation") for model in models])[1]
    definitions: dict[str, Schema] = {name: _tidied(name, entry) for name, entry in generated["$defs"].items()}
    header = definitions.pop(Header.__name__)
    required = {model.__name__: definitions[model.__name__].pop("required") for model in KINDS.values()}
    definitions[Pack.__name__]["allOf"] = pack_rules()
    named = dict.fromkeys(("name", "extends"), PLAIN_NAME) | {"aliases": {"type": "array", "items": PLAIN_NAME}}
    properties: Schema = header["properties"] | named
    properties |= {"element": {}, "encode": _reference(EncodePolicy), "pack": _reference(Pack)}
    return {
        "$schema": DIALECT,
        "title": "Number format of statqat-sim",
        "type": "object",
        "properties": {key: {"description": meaning} | properties[key] for key, meaning in TOP.items()},
        "required": header["required"],
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {"element": _element({})}},
        "else": {
            "properties": {"element": _element(required)},
            "required": ["element"],
            "allOf": [*(rule for kind in KINDS for rule in encode_rules(kind)), *pack_widths()],
        },
        "$defs": definitions,
    }


def _reference(model: type[Spec]) -> Schema:
    return {"$ref": f"#/$defs/{model.__name__}"}


def _element(required: dict[str, list[str]]) -> Schema:
    """A name, or a mapping that is read by its kind; one that inherits may lack every key, kind included."""
    keys = {key: True for model in KINDS.values() for key in model.model_fields}
    mapping: Schema = {
        "type": "object",
        "properties": keys | {"kind": {"description": MEANING["kind"], "enum": list(KINDS)}},
        "additionalProperties": False,
        "allOf": [_of_kind(kind, required.get(model.__name__)) for kind, model in KINDS.items()],
    }
    any_kind: Schema = {"anyOf": [*map(_reference, KINDS.values())]}
    mapping |= {"required": ["kind"]} if required else {"if": {"not": {"required": ["kind"]}}, "then": any_kind}
    return {"if": {"type": "string"}, "then": PLAIN_NAME, "else": mapping}


def _of_kind(kind: str, required: list[str] | None) -> Schema:
    """The keys of a kind; those of a whole element with what its words ask of each other."""
    keys = _reference(KINDS[kind])
    rules = [] if required is None else [{"required": required}, *element_rules(kind)]
    return {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"allOf": [keys, *rules]}}


def _tidied(name: str, schema: Schema) -> Schema:
    """A definition without generated titles, and with the meaning of each key."""
    tidied = {key: entry for key, entry in schema.items() if key != "title"} | MODELS.get(name, {})
    if "properties" in schema:
        meanings = {**TOP, **MEANING}
        tidied["properties"] = {
            key: {"description": meanings[key]} | _bounded(entry) | KEYS.get((name, key), {})
            for key, entry in schema["properties"].items()
        }
    return tidied


def _bounded(schema: Schema) -> Schema:
    """What one key takes: no null where the key may be left out, and numbers that the reader can hold."""
    bounded = {key: entry for key, entry in schema.items() if key != "title" and (key, entry) != ("default", None)}
    options = [_bounded(option) for option in bounded.pop("anyOf", ()) if option != {"type": "null"}]
    if options:
        bounded |= options[0] if len(options) == 1 else {"anyOf": options}
    if "items" in bounded:
        bounded["items"] = _bounded(bounded["items"])
    return {"integer": INTEGERS, "number": FINITE}.get(str(bounded.get("type")), {}) | bounded
