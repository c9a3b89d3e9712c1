"""Impossible combinations of words, as conditions of a JSON Schema, derived from the reader's own rules.

Every combination of a kind's words is tried on samples of that kind. So each rule is stated once, in the element's
`problems` or the policy's `refusals`, and the schema repeats what they imply for words. Rules on numbers are checked
only by the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import combinations, permutations, product
from typing import Any, Final, TypeAlias

from statqat_sim.spec.base import MAX_BITS, Spec
from statqat_sim.spec.encode import Element, Rounding, refusals
from statqat_sim.spec.level_rules import RULES_OF_NESTED, USELESS_FOR_MICRO_EXPONENTS, USELESS_FOR_NESTED, useless_keys
from statqat_sim.spec.pack import Pack
from statqat_sim.spec.parts import KINDS
from statqat_sim.spec.scale import AllZero, Combine, Nonfinite, Rule
from statqat_sim.spec.schema_models import Schema
from statqat_sim.spec.tapered import MAX_EXPONENT_BITS
from statqat_sim.spec.validate import words_of


class Presence(Enum):
    """Whether a key is written, for keys whose values are not words."""

    ABSENT = "absent"
    PRESENT = "present"


Label: TypeAlias = str | bool | Presence
"""How a key is written: as a word, as any number, or not at all."""

Labels: TypeAlias = Mapping[str, Label]
Choices: TypeAlias = Mapping[str, Sequence[tuple[Label, Any]]]
"""For each key its labels, each with a value to try."""

SAMPLES: Final[Mapping[str, tuple[Schema, ...]]] = {
    "float": ({"exponent_bits": 4, "mantissa_bits": 3},),
    "int": ({"bits": 8},),
    "codebook": tuple({"bits": 2, "values": values} for values in ((-1.0, 1.0), (1.0,), (-1.0, 0.0, 1.0, 2.0))),
    "posit": ({"bits": 8, "es": 2},),
    "takum": ({"bits": 8},),
    "lns": ({"bits": 8, "fraction_bits": 3},),
    "tapered": (
        {
            "bits": 5,
            "regimes": (
                {"prefix": "0", "mantissa_bits": 3, "subnormal_exponent": -9},
                {"prefix": "1", "mantissa_bits": 2, "exponent_bits": 1},
            ),
        },
    ),
}
"""Sample elements by kind, complete except for words."""

NUMBERS: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {"int": {"offset": (0, 128), "min": (-4, 0), "max": (4,)}}
"""Keys whose presence affects some word, with values that differ in the words they allow."""


ZERO: Final[Schema] = {"required": ["subnormal_exponent"]}
"""True for the regime of a tapered format's zero."""

KEYS: Final[Mapping[tuple[str, str], Schema]] = {
    ("IntElement", "offset"): {"minimum": 0},
    ("IntElement", "min"): {"maximum": 0},
    ("IntElement", "max"): {"minimum": 0},
    ("CodebookElement", "values"): {"contains": {"not": {"const": 0}}},
    ("OffsetKeys", "kind"): {"description": "what is added: a minimum with scales of its own, or steps of the scale"},
    ("OffsetKeys", "sign"): {"enum": [1, -1]},
    ("ScaleKeys", "target"): {"not": {"const": 0}},
    ("ScaleKeys", "candidates"): {
        "if": {"type": "array"},
        "then": {"contains": {"const": 0}},
        "else": {"oneOf": [{"required": ["offsets"]}, {"required": ["targets"]}]},
    },
    ("Candidates", "offsets"): {"contains": {"const": 0}},
    ("Candidates", "targets"): {"minItems": 1, "items": {"type": "number", "exclusiveMinimum": 0}},
    ("ScaleKeys", "rounding"): {"enum": [mode.value for mode in Rounding if not mode.is_stochastic]},
    ("TaperedElement", "regimes"): {
        "uniqueItems": True,
        "contains": ZERO,
        "maxContains": 1,
        "allOf": [
            {"contains": {"required": ["exponent_bits"], "properties": {"exponent_bits": {"const": width}}}}
            | {"minContains": 0, "maxContains": 1}
            for width in range(MAX_EXPONENT_BITS + 1)
        ],
    },
}
"""The rules of `problems` on single keys."""

MODELS: Final[Mapping[str, Schema]] = {
    "BlockPack": {
        "allOf": [
            {
                "if": {"properties": {"layout": {"pattern": "^ggml_"}}, "required": ["layout"]},
                "then": {"properties": {"fields": False, "nibbles": False, "bit_order": False}},
            },
            {
                "if": {"properties": {"swizzle": {"const": "sm100_128x4"}}, "required": ["swizzle"]},
                "then": {"properties": {"layout": {"const": "separate"}}},
            },
            {
                "if": {"properties": {"bit_order": {"const": "msb"}}, "required": ["bit_order"]},
                "then": {"properties": {"nibbles": {"const": "low_first"}}},
            },
        ]
    },
    "Regime": {"oneOf": [{"required": ["exponent_bits"]}, ZERO]},
    "TaperedElement": {
        "if": {"required": ["nan"], "properties": {"nan": {"const": "negative_zero"}}},
        "then": {"properties": {"regimes": {"contains": ZERO | {"properties": {"prefix": {"pattern": "^0+$"}}}}}},
    },
}
"""The rules of `problems` on several keys, and on lists of mappings."""


SCALED: Final[Schema] = {"type": "object", "required": ["scales"]}
"""True for an inline block format."""

ROW: Final[Schema] = {"properties": {"block": {"anyOf": [{"type": "integer"}, {"const": "channel"}]}}}
NESTED: Final[Schema] = {
    "block": {"type": "integer"},
    "rule": {"enum": [rule.value for rule in RULES_OF_NESTED]},
    "all_zero": {"const": AllZero.ZERO.value},
    "nonfinite": {"const": Nonfinite.SATURATE.value},
    "format": {
        "properties": {
            "scales": {
                "items": {
                    "allOf": [ROW, {"properties": {"format": {"not": SCALED}, "rule": {"not": {"const": "given"}}}}]
                }
            }
        }
    },
} | dict.fromkeys(sorted(USELESS_FOR_NESTED), False)
"""The keys of scales in an inline block format."""


# --- what is allowed -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """One combination of a kind's words, and the sample elements written so."""

    labels: Labels
    elements: tuple[Element, ...]

    def refuses(self, key: str, word: StrEnum) -> bool:
        """Whether none of these elements allows this word of the encode part."""
        return all(refusals(element)[key].get(word) for element in self.elements)


def _choices(model: type[Spec], numbers: Mapping[str, Iterable[int]]) -> Choices:
    written: dict[str, list[tuple[Label, Any]]] = {}
    for key, field in model.model_fields.items():
        words = (True, False) if field.annotation is bool else words_of(model, key)
        written[key] = [(word, word) for word in words] + [
            (Presence.PRESENT, number) for number in numbers.get(key, ())
        ]
    return {key: [(Presence.ABSENT, None), *ways] for key, ways in written.items() if ways}


def _written(choices: Choices) -> Iterator[tuple[Labels, Schema]]:
    for chosen in product(*choices.values()):
        labels = {key: label for key, (label, _) in zip(choices, chosen, strict=True)}
        yield labels, {key: value for key, (_, value) in zip(choices, chosen, strict=True) if value is not None}


def _ways(kind: str) -> list[Way]:
    """The combinations that are valid for some sample."""
    found: dict[tuple[tuple[str, Label], ...], list[Element]] = {}
    for labels, keys in _written(_choices(KINDS[kind], NUMBERS.get(kind, {}))):
        elements = [KINDS[kind].model_validate({"kind": kind, **sample, **keys}) for sample in SAMPLES[kind]]
        found.setdefault(tuple(labels.items()), []).extend(
            element for element in elements if not any(element.problems())
        )
    return [Way(dict(labels), tuple(elements)) for labels, elements in found.items() if elements]


# --- conditions ------------------------------------------------------------------------------------------------

Condition: TypeAlias = tuple[tuple[str, frozenset[Label]], ...]
"""Keys, each with the set of labels that it may have."""


def _holds(condition: Condition) -> Schema:
    """The schema that is true for mappings that meet the condition."""
    properties: Schema = {}
    for key, labels in condition:
        words = sorted((label for label in labels if not isinstance(label, Presence)), key=str)
        properties[key] = True if Presence.PRESENT in labels else {"enum": words} if words else False
    required = [key for key, labels in condition if Presence.ABSENT not in labels]
    return {"properties": properties} | ({"required": required} if required else {})


def _agreements(ways: Sequence[Labels], choices: Choices) -> Iterator[Schema]:
    """For each label of a key: the labels that other keys may have, if not all of them."""
    for key, other in permutations(choices, 2):
        every = {label for label, _ in choices[other]}
        for word in dict.fromkeys(label for label, _ in choices[key] if label is not Presence.ABSENT):
            allowed = frozenset(way[other] for way in ways if way[key] == word)
            if allowed and allowed != every:
                yield {"if": _holds(((key, frozenset({word})),)), "then": _holds(((other, allowed),))}


def _refusing(ways: Sequence[Way], key: str, word: StrEnum) -> Iterator[Condition]:
    """The simplest conditions on the element under which this word of the encode part is refused."""
    accepted = [way.labels for way in ways if not way.refuses(key, word)]
    if not accepted:
        yield ()
        return
    told: dict[str, frozenset[Label]] = {}
    for name in ways[0].labels:
        told[name] = frozenset(way.labels[name] for way in ways) - {labels[name] for labels in accepted}
        if told[name]:
            yield ((name, told[name]),)
    for one, other in combinations(told, 2):
        allowed = {(labels[one], labels[other]) for labels in accepted}
        for label in dict.fromkeys(labels[one] for labels in accepted):
            met = {way.labels[other] for way in ways if way.labels[one] == label} - told[other]
            if refused := frozenset(met - {second for first, second in allowed if first == label}):
                yield ((one, frozenset({label})), (other, refused))


# --- schemas ---------------------------------------------------------------------------------------------------


def element_rules(kind: str) -> list[Schema]:
    """The rules between the words of a kind."""
    return list(_agreements([way.labels for way in _ways(kind)], _choices(KINDS[kind], NUMBERS.get(kind, {}))))


def pack_rules() -> list[Schema]:
    """The rules between the words of the pack part that hold for every width of codes."""
    choices = _choices(Pack, {})
    allowed = [labels for labels, keys in _written(choices) if not any(Pack(**keys).problems(bits=4))]
    return list(_agreements(allowed, choices))


def pack_widths() -> list[Schema]:
    """Rules on the whole file: words of the pack part that need codes of a certain width, if the element has `bits`."""
    rules = []
    for labels, keys in _written(_choices(Pack, {})):
        allowed = [bits for bits in range(1, MAX_BITS + 1) if not any(Pack(**keys).problems(bits))]
        if 0 < len(allowed) < MAX_BITS:
            pack = _holds(tuple((key, frozenset({label})) for key, label in labels.items()))
            then = {"properties": {"element": {"properties": {"bits": {"enum": allowed}}}}}
            rules.append({"if": {"required": ["pack"], "properties": {"pack": pack}}, "then": then})
    return rules


def level_rules() -> list[Schema]:
    """The rules on keys of a level without effect under its `rule` and `combine`."""
    multiplies: Schema = {"properties": {"combine": {"const": Combine.MULTIPLY.value}}}
    rules = [_without(rule, multiplies) for rule in Rule]
    micro: Schema = dict.fromkeys(sorted(USELESS_FOR_MICRO_EXPONENTS), False) | {"rule": {"const": "floor"}}
    micro["all_zero"] = {"enum": [AllZero.ONE.value, AllZero.MIN.value]}
    powers: Schema = {"properties": {"rule": {"enum": [rule.value for rule in Rule if rule.is_power_of_two]}}}
    positive: Schema = {"properties": {"target": {"if": {"type": "number"}, "then": {"exclusiveMinimum": 0}}}}
    by_target: Schema = {"type": "object", "required": ["targets"]}
    return [
        *rules,
        {"if": {"not": multiplies}, "then": {"required": ["rule"], "properties": micro}},
        {"if": powers | {"required": ["rule"]}, "then": positive},
        {
            "if": {"properties": {"candidates": by_target}, "required": ["candidates"]},
            "then": {"properties": {"target": False}},
        },
        {"if": {"properties": {"format": SCALED}}, "then": {"properties": NESTED}},
    ]


def _without(rule: Rule, multiplies: Schema) -> Schema:
    said: Schema = {"properties": {"rule": {"const": rule.value}}}
    said |= {} if rule is Rule.ABSMAX else {"required": ["rule"]}
    return {
        "if": {"allOf": [multiplies, said]},
        "then": {"properties": dict.fromkeys(sorted(useless_keys(rule)), False)},
    }


def encode_rules(kind: str) -> list[Schema]:
    """Rules on the whole file: words of the encode part that elements of this kind refuse."""
    ways = _ways(kind)
    refused: dict[Condition, dict[str, list[StrEnum]]] = {}
    for key, words in refusals(ways[0].elements[0]).items():
        for word in words:
            for condition in _refusing(ways, key, word):
                refused.setdefault(condition, {}).setdefault(key, []).append(word)
    return [_file_rule((("kind", frozenset({kind})), *condition), words) for condition, words in refused.items()]


def _file_rule(condition: Condition, refused: Mapping[str, Sequence[StrEnum]]) -> Schema:
    """The rule that an element that meets the condition allows only the words that are not refused."""
    allowed = {key: [word.value for word in type(words[0]) if word not in words] for key, words in refused.items()}
    keys = {key: {"if": {"type": "string"}, "then": {"enum": words}} for key, words in allowed.items()}
    element = {"type": "object"} | _holds(condition)
    return {
        "if": {"properties": {"element": element}, "required": ["element"]},
        "then": {"properties": {"encode": {"properties": keys}}},
    }
