"""The JSON Schema of accelerator files, for editors, derived from the types that the reader validates with.

It covers each key, its words and bounds, and combinations of words that are impossible. Formats, and relations between
numbers, are checked only by the reader.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from statqat_sim.spec.accelerator import ConversionKeys, Evidence, GemmPlan, RoundKeys, ScaleKeys, ShapeKeys
from statqat_sim.spec.accelerator_dot import (
    PARTS_OF_STEP,
    Aligned,
    Beyond,
    DotKeys,
    Enter,
    Flush,
    Merge,
    Order,
    Precision,
    Special,
)
from statqat_sim.spec.accelerator_dot import Sum as S
from statqat_sim.spec.accelerator_entries import CONVERSION, PARTS
from statqat_sim.spec.accelerator_idle import OF_INTEGERS
from statqat_sim.spec.accelerator_meaning import ACCELERATOR_MEANING, ACCELERATOR_TOP, INSTRUCTION, accelerator_meaning
from statqat_sim.spec.accelerator_operands import MAX_OPERANDS, OPERANDS
from statqat_sim.spec.accelerator_reader import TOP_KEYS, Header
from statqat_sim.spec.accelerator_recipe import ADD, MAX_STEPS, SELECTION, AddKeys, FusedKeys
from statqat_sim.spec.accelerator_rules import ENTERS
from statqat_sim.spec.base import Spec
from statqat_sim.spec.encode import EncodePolicy, Rounding
from statqat_sim.spec.meaning import MEANING
from statqat_sim.spec.reader import NAME
from statqat_sim.spec.schema_models import DIALECT, Schema, definitions_of

MODELS: Final[tuple[type[Spec], ...]] = (
    *(Header, Evidence, ShapeKeys, ScaleKeys, DotKeys, Aligned, Merge, RoundKeys, Precision, Special),
    *(FusedKeys, AddKeys, ConversionKeys, GemmPlan, EncodePolicy),
)
NAMED: Final[Schema] = {"type": "string", "pattern": f"^{NAME.pattern}$"}
THREE_WORDS: Final = r"^[^.]*\.[^.]*\.[^.]*$"
"""Names of instructions that include their operands' formats."""

STEADY: Final[Schema] = {"enum": [mode.value for mode in Rounding if not mode.is_stochastic]}
KEYS: Final[dict[tuple[str, str], Schema]] = {
    ("DotKeys", "split"): {"type": ["integer", "string"], "if": {"type": "string"}, "then": {"enum": [*PARTS_OF_STEP]}},
    ("DotKeys", "order"): {"uniqueItems": True},
    ("Aligned", "round"): STEADY,
    ("Merge", "round"): STEADY,
    ("RoundKeys", "mode"): STEADY,
    ("FusedKeys", "k"): {"pattern": f"^(?:{SELECTION.pattern})$"},
    ("AddKeys", "instruction"): {"pattern": f"^{ADD}"},
    ("Header", "aliases"): {"items": NAMED},
    ("AddKeys", "with"): {"const": "c"},
}
"""Rules on single keys."""


def accelerator_schema() -> Schema:
    """The JSON Schema of an accelerator's file."""
    definitions = definitions_of(MODELS, _meaning, KEYS)
    header = definitions.pop(Header.__name__)
    properties = header["properties"] | dict.fromkeys(("name", "extends"), NAMED)
    properties |= {"evidence": _named("Evidence"), "gemm": _named("GemmPlan")}
    properties |= {
        "instructions": {
            "type": "object",
            "propertyNames": NAMED,
            "patternProperties": {THREE_WORDS: _named("Instruction")},
            "additionalProperties": {"allOf": [_named("Instruction"), {"required": ["operands"]}, NAMES_NOTHING]},
        },
        "conversions": {"type": "object", "propertyNames": NAMED, "additionalProperties": _named("Conversion")},
    }
    _add_parts(definitions)
    return {
        "$schema": DIALECT,
        "title": "Accelerator of statqat-sim",
        "type": "object",
        "properties": {key: {"description": ACCELERATOR_TOP[key]} | properties[key] for key in TOP_KEYS},
        "required": header["required"],
        "additionalProperties": False,
        "anyOf": [{"required": [key]} for key in ("instructions", "conversions", "extends")],
        "$defs": definitions,
    }


ONLY_NAN: Final[Schema] = {"propertyNames": {"const": "nan"}}
"""The rule of recipes on `special`."""

NAMES_NOTHING: Final[Schema] = {"properties": {"operands": {"required": ["a", "d"]}}}


def _meaning(model: str, key: str) -> str:
    return MEANING[key] if model == EncodePolicy.__name__ else accelerator_meaning(model, key)


def _named(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


def _mapping(keys: Iterable[str], entries: Schema, required: Iterable[str] = ()) -> Schema:
    """The schema of a mapping with these keys."""
    meanings = {**INSTRUCTION, **ACCELERATOR_MEANING}
    described = {key: {"description": meanings[key]} | entries[key] for key in keys}
    return {"type": "object", "properties": described, "required": [*required], "additionalProperties": False}


def _add_parts(definitions: dict[str, Schema]) -> None:
    """Add the parts that hold formats or other parts, and the rules between their words."""
    overridden = {"format": NAMED, "encode": _named("EncodePolicy")}
    definitions["Operand"] = _named_or_mapping(overridden)
    several = {"type": "array", "items": _named("Operand"), "minItems": 1, "maxItems": MAX_OPERANDS}
    either = {"if": {"type": "array"}, "then": several, "else": _named("Operand")}
    shape = definitions.pop(ShapeKeys.__name__)["properties"]["shape"]
    results = {"c": _named("Operand"), "d": _named_or_mapping({"format": NAMED})}
    operands = dict.fromkeys("ab", either) | results | {"shape": shape}
    definitions["Operands"] = _mapping(OPERANDS, operands)
    nan = definitions.pop(ConversionKeys.__name__)["properties"]["nan"]
    conversion = overridden | {"nan": nan, "evidence": _named("Evidence")}
    definitions["Conversion"] = _mapping(CONVERSION, conversion, ["format"])
    _extend(definitions["ScaleKeys"], {"format": _named("Operand")}, required=["format"])
    _extend(definitions["DotKeys"], {"aligned": _named("Aligned"), "merge": _named("Merge")})
    definitions["DotKeys"]["allOf"] = [*_dot_rules()]
    named_or_widths = {"if": {"type": "string"}, "then": NAMED, "else": _named("Precision")}
    _extend(definitions["RoundKeys"], {"to": named_or_widths})
    definitions["Instruction"] = _instruction()


def _named_or_mapping(entries: Schema) -> Schema:
    """The schema of a format's name, or of a mapping with these keys."""
    return {"if": {"type": "string"}, "then": NAMED, "else": _mapping(entries, entries, ["format"])}


def _extend(definition: Schema, entries: Schema, required: Iterable[str] = ()) -> None:
    """Give a definition further keys."""
    for key, entry in entries.items():
        definition["properties"][key] = {"description": ACCELERATOR_MEANING[key]} | entry
    definition["required"] = [*definition.get("required", ()), *required]


def _instruction() -> Schema:
    is_addition: Schema = {"properties": {"instruction": {"pattern": f"^{ADD}"}}}
    step = {"if": is_addition, "then": _named("AddKeys"), "else": _named("FusedKeys")}
    parts = {"evidence": "Evidence", "operands": "Operands", "scale": "ScaleKeys", "dot": "DotKeys"}
    parts |= {"round": "RoundKeys", "special": "Special"}
    entries = {part: _named(definition) for part, definition in parts.items()}
    entries["recipe"] = {"type": "array", "items": step, "minItems": 1, "maxItems": MAX_STEPS}
    return {
        "type": "object",
        "properties": {part: {"description": INSTRUCTION[part]} | entries[part] for part in PARTS},
        "additionalProperties": False,
        "if": {"required": ["recipe"]},
        "then": {"properties": dict.fromkeys(("dot", "scale", "round"), False) | {"special": ONLY_NAN}},
        "else": {"required": ["dot"], "allOf": [*_scale_rules(), *_special_rules()]},
    }


# --- which words do not go together ------------------------------------------------------------------------------


def _is(key: str, *words: str) -> Schema:
    """A schema that is true if a key has one of these words."""
    return {"properties": {key: {"enum": [*words]}}, "required": [key]}


def _dot_rules() -> Iterable[Schema]:
    """Rules of the part `dot`."""
    for sum_, enters in ENTERS.items():
        yield {"if": _is("sum", sum_), "then": {"properties": {"c": {"enum": [enter.value for enter in enters]}}}}
    aligned, joins = _is("sum", S.ALIGNED), _is("c", Enter.JOIN)
    for condition, key in ((aligned, "aligned"), (joins, "merge")):
        yield {"if": condition, "then": {"required": [key]}, "else": {"properties": {key: False}}}
    chains: Schema = {"allOf": [_is("sum", S.CHAIN), _is("c", Enter.LAST, Enter.NONE)]}
    yield {"if": {"not": {"anyOf": [chains, joins]}}, "then": {"properties": {"split": {"enum": [1, "none"]}}}}
    yield {"if": _is("sum", S.PAIRWISE), "then": {"required": ["step"]}}
    ordered = _is("sum", S.CHAIN, S.PAIRWISE)
    yield {"if": {"not": ordered}, "then": {"properties": {"order": {"const": Order.ASCENDING.value}}}}


def _scale_rules() -> Iterable[Schema]:
    """Rules between the parts `scale` and `dot`."""
    scaled: Schema = {"required": ["scale"]}
    dot: Schema = {"properties": {"sum": {"const": S.ALIGNED}, "c": {"const": Enter.TERM}}, "required": ["step"]}
    yield {"if": scaled, "then": {"properties": {"dot": dot}}}
    grouped: Schema = {"required": ["scale"], "properties": {"scale": _is("apply", "group")}}
    some: Schema = {"required": ["group"], "properties": {"group": {"minimum": 2}}}
    none: Schema = {"properties": {"group": {"const": 1}}}
    yield {"if": grouped, "then": {"properties": {"dot": some}}, "else": {"properties": {"dot": none}}}


def _special_rules() -> Iterable[Schema]:
    """Integers are not rounded and have no Inf, nothing else wraps, and `flushed` is about inputs that are flushed."""
    integers: Schema = {"properties": {"dot": _is("sum", S.INTEGER)}}
    for condition, word in ((integers, Beyond.INF), ({"not": integers}, Beyond.WRAP)):
        refused: Schema = {"properties": {"overflow": {"not": {"const": word}}}}
        yield {"if": condition, "then": {"properties": {"special": refused}}}
    alone: Schema = {"propertyNames": {"enum": sorted(OF_INTEGERS)}}
    yield {"if": integers, "then": {"properties": {"round": False, "special": alone}}}
    flushed: Schema = {"if": {"required": ["flushed"]}, "then": _is("flush", Flush.INPUTS, Flush.BOTH)}
    yield {"properties": {"special": flushed}}
