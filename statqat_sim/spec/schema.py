"""The JSON Schema of format files, for editors, derived from the types that the reader validates with.

It covers each key, its words and bounds, and combinations of words that are impossible. Relations between numbers,
inheritance, and the spelling of scalars are checked only by the reader.
"""

from __future__ import annotations

from typing import Final

from statqat_sim.spec.base import Spec
from statqat_sim.spec.block import OffsetKeys, OffsetKind
from statqat_sim.spec.block_rules import MAX_LEVELS
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.meaning import MEANING, TOP
from statqat_sim.spec.pack import BlockPack, Pack
from statqat_sim.spec.parts import KINDS
from statqat_sim.spec.reader import BLOCK_KEYS, NAME, Header
from statqat_sim.spec.scale import Rule, ScaleKeys
from statqat_sim.spec.schema_models import DIALECT, Schema, definitions_of
from statqat_sim.spec.schema_rules import (
    KEYS,
    MODELS,
    element_rules,
    encode_rules,
    level_rules,
    pack_rules,
    pack_widths,
)

PLAIN_NAME: Final[Schema] = {"type": "string", "pattern": f"^{NAME.pattern}$"}
MINMAX: Final[Schema] = {"properties": {"rule": {"const": Rule.MINMAX.value}}, "required": ["rule"]}


def json_schema() -> Schema:
    """The JSON Schema of a format file."""
    definitions, header = _definitions()
    named = dict.fromkeys(("name", "extends"), PLAIN_NAME) | {"aliases": {"type": "array", "items": PLAIN_NAME}}
    properties: Schema = header["properties"] | named
    properties |= {"element": {}, "encode": _reference(EncodePolicy), "pack": {}}
    properties |= {"scales": _named("Scales"), "offset": _reference(OffsetKeys)}
    of_blocks: Schema = {"anyOf": [{"required": [key]} for key in BLOCK_KEYS]}
    either_pack: Schema = {"anyOf": [_reference(Pack), _reference(BlockPack)]}
    return {
        "$schema": DIALECT,
        "title": "Format of statqat-sim",
        "type": "object",
        "properties": {key: {"description": meaning} | properties[key] for key, meaning in TOP.items()},
        "required": header["required"],
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {"element": _element({}), "pack": either_pack}},
        "else": {
            "required": ["element"],
            "allOf": [_named("Number")],
            "if": of_blocks,
            "then": {
                "required": ["scales"],
                "properties": {"pack": _reference(BlockPack)},
                "if": {"required": ["offset"]},
                "then": {"properties": {"scales": {"maxItems": 1, "items": MINMAX, "prefixItems": [MINMAX]}}},
                "else": {"properties": {"scales": {"not": {"contains": MINMAX}}}},
            },
            "else": {"properties": {"pack": _reference(Pack)}, "allOf": pack_widths()},
        },
        "$defs": definitions,
    }


def _definitions() -> tuple[dict[str, Schema], Schema]:
    """The definitions of the models, and that of the header."""
    models: list[type[Spec]] = [*KINDS.values(), EncodePolicy, Pack, BlockPack, ScaleKeys, OffsetKeys, Header]
    meanings = {**TOP, **MEANING}
    definitions = definitions_of(models, lambda _, key: meanings[key], KEYS)
    for name, rules in MODELS.items():
        definitions[name] |= rules
    required = {model.__name__: definitions[model.__name__].pop("required") for model in KINDS.values()}
    definitions[Pack.__name__]["allOf"] = pack_rules()
    _add_formats(definitions, required)
    return definitions, definitions.pop(Header.__name__)


def _add_formats(definitions: dict[str, Schema], required: dict[str, list[str]]) -> None:
    """Add the definitions of inline formats, and the keys that hold one."""
    number: Schema = {"properties": {"element": _element(required)}}
    definitions["Number"] = number | {"allOf": [rule for kind in KINDS for rule in encode_rules(kind)]}
    definitions["Scales"] = {
        "type": "array",
        "items": _reference(ScaleKeys),
        "prefixItems": [{"allOf": [_reference(ScaleKeys), {"properties": {"combine": {"const": "multiply"}}}]}],
        "minItems": 1,
        "maxItems": MAX_LEVELS,
    }
    inline = {"element": {}, "encode": _reference(EncodePolicy), "scales": _named("Scales")}
    definitions["Inline"] = {
        "type": "object",
        "properties": {key: {"description": TOP[key]} | entry for key, entry in inline.items()},
        "required": ["element"],
        "additionalProperties": False,
        "allOf": [_named("Number")],
    }
    named: Schema = {"if": {"type": "string"}, "then": PLAIN_NAME, "else": _named("Inline")}
    level, offset = definitions[ScaleKeys.__name__], definitions[OffsetKeys.__name__]
    level["properties"]["format"] = {"description": MEANING["format"]} | named
    level["required"] += ["format"]
    level["allOf"] = level_rules()
    entry: Schema = {"type": "object", "properties": {key: level["properties"][key] for key in ("format", "block")}}
    entry |= {"required": ["format", "block"], "additionalProperties": False}
    offset["properties"] |= {
        "scales": {"description": MEANING["scales"], "type": "array", "items": entry, "minItems": 1, "maxItems": 1},
        "format": {"description": MEANING["format"]} | named,
    }
    offset["if"] = {"properties": {"kind": {"const": OffsetKind.MINIMUM.value}}}
    offset["then"] = {"required": ["scales"], "properties": {"format": False, "added": False}}
    offset["else"] = {"required": ["format"], "properties": {"scales": False, "sign": False}}


def _named(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


def _reference(model: type[Spec]) -> Schema:
    return _named(model.__name__)


def _element(required: dict[str, list[str]]) -> Schema:
    """The schema of `element`: a name, or a mapping of some kind; with inheritance any key may be missing."""
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
    """The keys of a kind; with `required`, those of a complete element, with the rules between its words."""
    keys = _reference(KINDS[kind])
    rules = [] if required is None else [{"required": required}, *element_rules(kind)]
    return {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"allOf": [keys, *rules]}}
