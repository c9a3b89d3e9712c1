"""The text of a new format file: every key, with its meaning and allowed values."""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from statqat_sim.spec.base import Spec
from statqat_sim.spec.meaning import MEANING
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.parts import KINDS
from statqat_sim.spec.tapered import Regime

WIDTH = 100
INDENT = "  "
VALUES_PER_LINE = 4

CODE_TOO = {"nan_input"}
"""Keys that take words or a code."""


def template(name: str, model: NumberFormat) -> str:
    """A format file named `name` with the keys of `model`, defaults included."""
    return "\n".join(_lines(name, model)) + "\n"


def heading(what: str, name: str, model: str, defaults: str) -> Iterator[str]:
    """The first lines of a file: usage, and the keys of identification."""
    yield from comment(
        f"{what}. `statqat-sim check {name}.yaml` tells what is wrong with this file, `statqat-sim show "
        f"{name}.yaml` what the format is. Each key has the value that it has in {model}, or its default. {defaults}"
    )
    yield ""
    yield from (*comment("the file's stem"), f'name: "{name}"')
    yield from (*comment("further names, such as [short, other_name]"), "aliases: []")
    yield from (*comment("what it is, on one line"), f'title: "{name}, made from {model}"')
    yield from (*comment("the document and section that its numbers come from"), 'source: ""')
    yield from (*comment("independent implementations, such as [ml_dtypes:float8_e4m3fn]"), "oracle: []")


def _lines(name: str, model: NumberFormat) -> Iterator[str]:
    yield from heading(
        "A number format", name, model.name, "In element, encode and pack, a key with its default may be left out."
    )
    yield from ("", *comment("What codes mean."), "element:", *mapping(model.element))
    yield from ("", *comment("How reals become codes."), "encode:", *mapping(model.encode))
    yield from ("", *comment("How codes lie in bytes where they are packed."), "pack:", *mapping(model.pack))


def mapping(spec: Spec) -> Iterator[str]:
    """Each key of a part below its meaning; keys without a value are comments."""
    fields = type(spec).model_fields
    for key in sorted(fields, key=lambda key: key != "kind"):
        value, field = getattr(spec, key), fields[key]
        yield from comment(f"{MEANING[key]}: {allowed(key, field)}", INDENT)
        if isinstance(value, tuple):
            yield from (f"{INDENT}{key}: [", *_list(value), f"{INDENT}]")
        elif value is None:
            yield f"{INDENT}# {key}: 0"
        else:
            yield f"{INDENT}{key}: {_word(value)}"


def _list(values: tuple[Any, ...]) -> Iterator[str]:
    """The lines of a list: several numbers per line, or one mapping."""
    texts = [_flow(value) if isinstance(value, Spec) else number(value) for value in values]
    across = 1 if any(isinstance(value, Spec) for value in values) else VALUES_PER_LINE
    for start in range(0, len(texts), across):
        yield f"{INDENT}{INDENT}{', '.join(texts[start : start + across])},"


def _flow(spec: Spec) -> str:
    """A mapping on one line, without keys that have no value; strings such as "01" are quoted."""
    entries = ((key, getattr(spec, key)) for key in type(spec).model_fields)
    texts = (
        f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {value}"
        for key, value in entries
        if value is not None
    )
    return "{" + ", ".join(texts) + "}"


def comment(text: str, indent: str = "") -> list[str]:
    """The text as wrapped comment lines."""
    return folded(text, f"{indent}# ", f"{indent}# ")


def folded(text: str, first: str, rest: str) -> list[str]:
    """Lines of whole words: `first` begins the first one, `rest` all others."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, Enum) else value)


def number(value: float) -> str:
    """A float with a fraction, and with a sign in its exponent: YAML reads nothing else as a float."""
    mantissa, e, exponent = repr(value).partition("e")
    mantissa += "" if "." in mantissa else ".0"
    return f"{mantissa}{e}{int(exponent):+d}" if e else mantissa


def allowed(key: str, field: FieldInfo) -> str:
    """The allowed values of a key, in words."""
    if key == "kind":
        return " | ".join(KINDS)
    words = [member.value for kind in _kinds(field.annotation) if issubclass(kind, Enum) for member in kind]
    if words:
        return " | ".join([*words, *["a code"] * (key in CODE_TOO)])
    bounds = {type(bound): bound for bound in field.metadata}
    if Ge in bounds and Le in bounds:
        return f"{bounds[Ge].ge} to {bounds[Le].le}"
    kinds = set(_kinds(field.annotation))
    texts = {bool: "true | false", int: "an integer", Regime: "a list of mappings, one for each prefix"}
    return next((text for kind, text in texts.items() if kind in kinds), "numbers")


def _kinds(annotation: Any) -> Iterator[type]:
    """The types within an annotation."""
    parts = get_args(annotation)
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        yield annotation
    for part in parts:
        yield from _kinds(part)
