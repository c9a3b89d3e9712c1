"""Definitions of a JSON Schema from the models that readers validate with: tidy, and with the meaning of each key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pydantic.json_schema import models_json_schema

from statqat_sim.spec.base import Spec

Schema: TypeAlias = dict[str, Any]
Meaning: TypeAlias = Callable[[str, str], str]
"""What a key of a model is about."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
INTEGERS: Final[Schema] = {"minimum": 1 - (1 << 63), "maximum": (1 << 63) - 1}
FINITE: Final[Schema] = {"minimum": -sys.float_info.max, "maximum": sys.float_info.max}


def definitions_of(
    models: Sequence[type[Spec]], meaning: Meaning, keys: Mapping[tuple[str, str], Schema]
) -> dict[str, Schema]:
    """The definition of each model, and of each enum of words.

    Args:
        models: all whose definitions are wanted.
        meaning: the descriptions.
        keys: what else holds of a key of a model.
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
    """Whether it is a default that no file writes."""
    return key == "default" and (entry is None or isinstance(entry, dict))


def _bounded(schema: Schema) -> Schema:
    """What one key takes: no null where the key may be left out, and numbers that the reader can hold."""
    bounded = {key: entry for key, entry in schema.items() if key != "title" and not _is_nothing(key, entry)}
    options = [_bounded(option) for option in bounded.pop("anyOf", ()) if option != {"type": "null"}]
    if options:
        bounded |= options[0] if len(options) == 1 else {"anyOf": options}
    if "prefixItems" in bounded:
        bounded["prefixItems"] = [_bounded(item) for item in bounded["prefixItems"]]
    if "items" in bounded:
        bounded["items"] = _bounded(bounded["items"])
    return {"integer": INTEGERS, "number": FINITE}.get(str(bounded.get("type")), {}) | bounded
