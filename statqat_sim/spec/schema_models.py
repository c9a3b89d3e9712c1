"""JSON Schema definitions from the models that readers validate with, with a description of each key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pydantic.json_schema import models_json_schema

from statqat_sim.spec.base import Spec

Schema: TypeAlias = dict[str, Any]
Meaning: TypeAlias = Callable[[str, str], str]
"""A function from the names of a model and a key to the key's description."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
INTEGERS: Final[Schema] = {"minimum": 1 - (1 << 63), "maximum": (1 << 64) - 1}
FINITE: Final[Schema] = {"minimum": -sys.float_info.max, "maximum": sys.float_info.max}


def definitions_of(
    models: Sequence[type[Spec]], meaning: Meaning, keys: Mapping[tuple[str, str], Schema]
) -> dict[str, Schema]:
    """The definition of each model, and of each enum of words.

    Args:
        models: the models to define.
        meaning: the descriptions of keys.
        keys: further rules, by model and key.
    """
    generated = models_json_schema([(model, "validation") for model in models])[1]
    return {name: _tidied(name, entry, meaning, keys) for name, entry in generated["$defs"].items()}


def _tidied(name: str, schema: Schema, meaning: Meaning, keys: Mapping[tuple[str, str], Schema]) -> Schema:
    """A definition without generated titles."""
    tidied = {key: entry for key, entry in schema.items() if key != "title"}
    if "properties" in schema:
        tidied["properties"] = {
            key: {"description": meaning(name, key)} | _bounded(entry) | keys.get((name, key), {})
            for key, entry in schema["properties"].items()
        }
    return tidied


def _is_nothing(key: str, entry: object) -> bool:
    """Whether an entry is a default that no file would write."""
    return key == "default" and (entry is None or isinstance(entry, dict))


def _bounded(schema: Schema) -> Schema:
    """The schema of one key: optional keys do not take null, and numbers have the reader's limits."""
    bounded = {key: entry for key, entry in schema.items() if key != "title" and not _is_nothing(key, entry)}
    options = [_bounded(option) for option in bounded.pop("anyOf", ()) if option != {"type": "null"}]
    if options:
        bounded |= options[0] if len(options) == 1 else {"anyOf": options}
    if "prefixItems" in bounded:
        bounded["prefixItems"] = [_bounded(item) for item in bounded["prefixItems"]]
    if "items" in bounded:
        bounded["items"] = _bounded(bounded["items"])
    return {"integer": INTEGERS, "number": FINITE}.get(str(bounded.get("type")), {}) | bounded
