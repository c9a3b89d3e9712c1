"""The text of a new block format file: its model's keys, with those at their defaults in comments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from statqat_sim.cli.template import INDENT, allowed, comment, folded, heading, mapping, number
from statqat_sim.errors import SpecError
from statqat_sim.spec.base import Spec
from statqat_sim.spec.block import BlockFormat, Offset
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.format import Format
from statqat_sim.spec.meaning import MEANING, TOP
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import ScaleLevel

ENTRY = INDENT + "- "
INSIDE = INDENT + "  "
EXPLAINED = ("target", "clamp", "candidates")
"""Keys whose description already lists the allowed values."""

EXAMPLES = {"clamp": "[0.5, 2.0]", "candidates": "[0, 1]"}
"""Example values of keys without a default."""


def block_template(name: str, model: BlockFormat) -> str:
    """A block format file named `name` with the keys of `model`; keys left at their defaults are comments."""
    return "\n".join(_lines(name, model)) + "\n"


def _lines(name: str, model: BlockFormat) -> Iterator[str]:
    yield from heading("A block format", name, model.name, "Keys of scales in comments have their defaults.")
    yield from ("", *comment(f"What elements are: {TOP['element']}."))
    if _is_named(model.element, elements_alone=True):
        yield f'element: "{model.element.name}"'
    else:
        yield from ("element:", *mapping(model.element.element))
    yield from ("", *comment("How reals become their codes."), "encode:", *mapping(model.element.encode))
    yield from ("", *comment("What elements are multiplied by: every level, outermost first."), "scales:")
    yield from _levels(model.scales, "")
    if model.offset:
        yield from ("", *comment("What is added to them."), "offset:", *_offset(model.offset))
    yield from ("", *comment("How codes lie in bytes where they are packed."), "pack:", *_pack(model))


def _levels(levels: Sequence[ScaleLevel], indent: str) -> Iterator[str]:
    """The entries of a list of scales; comments explain the keys of the first."""
    for index, level in enumerate(levels):
        if index == 0:
            yield from _comment("format", indent + INDENT)
        yield from wrapped(f"{indent}{ENTRY}format: {inline(level.format)}", indent + INSIDE)
        for key, field in ScaleLevel.model_fields.items():
            if key == "format":
                continue
            if index == 0:
                yield from _comment(
                    key, indent + INSIDE, None if key in EXPLAINED else field.title or allowed(key, field)
                )
            mark = "" if key in level.model_fields_set else "# "
            value = EXAMPLES.get(key) if mark and key in EXAMPLES else inline(getattr(level, key))
            yield from wrapped(f"{indent}{INSIDE}{mark}{key}: {value}", indent + INSIDE)


def _offset(offset: Offset) -> Iterator[str]:
    for key in type(offset).model_fields:
        if key != "scales" and key in offset.model_fields_set and getattr(offset, key) is not None:
            yield from wrapped(f"{INDENT}{key}: {inline(getattr(offset, key))}", INSIDE)
    if offset.scales:
        yield from (f"{INDENT}scales:", *_levels(offset.scales, INDENT))


def _pack(model: BlockFormat) -> Iterator[str]:
    """Every key of `pack`; defaults, except the layout, are comments, since some layouts do not accept them."""
    for key, field in type(model.pack).model_fields.items():
        value = getattr(model.pack, key)
        yield from _comment(key, INDENT, None if key == "fields" else allowed(key, field))
        mark = "# " if key != "layout" and value == field.default else ""
        names = [stored.name for stored in model.stored]
        yield f"{INDENT}{mark}{key}: " + (f"[{', '.join(value or names)}]" if key == "fields" else inline(value))


def _comment(key: str, indent: str, told: str | None = None) -> list[str]:
    return comment(MEANING[key] + (f": {told}" if told else ""), indent)


def wrapped(line: str, indent: str) -> list[str]:
    """A line in flow style, folded between its entries."""
    mark = f"{indent}# " if line.lstrip().startswith("#") else f"{indent}  "
    return folded(line, "", mark)


# --- values in flow style ----------------------------------------------------------------------------------------


def inline(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, NumberFormat | BlockFormat):
        return f'"{value.name}"' if _is_named(value) else _described(value)
    if isinstance(value, Spec):
        written = (key for key in type(value).model_fields if getattr(value, key) not in (None, ()))
        return braces({key: inline(getattr(value, key)) for key in written})
    if isinstance(value, tuple):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return f'"{value}"'
    return number(value) if isinstance(value, float) else str(value).lower()


def _described(format: Format) -> str:
    """An inline description of a format without a name of its own."""
    element = format.element if isinstance(format, BlockFormat) else format
    parts = {"element": inline(element.element), "encode": inline(element.encode)}
    if isinstance(format, BlockFormat):
        parts["scales"] = f"[{', '.join(map(_level, format.scales))}]"
    return braces(parts)


def _level(level: ScaleLevel) -> str:
    """A level on one line: its format and the keys that were set."""
    written = ["format", *(key for key in ScaleLevel.model_fields if key in level.model_fields_set - {"format"})]
    return braces({key: inline(getattr(level, key)) for key in written})


def braces(entries: dict[str, str]) -> str:
    """A mapping on one line."""
    return "{" + ", ".join(f"{key}: {text}" for key, text in entries.items()) + "}"


def _is_named(format: Format, *, elements_alone: bool = False) -> bool:
    """Whether the catalog's format of this name is equal; `elements_alone`: whether its element is."""
    try:
        known = load_format(format.name)
    except (LookupError, SpecError, OSError):
        return False
    if elements_alone and isinstance(format, NumberFormat) and isinstance(known, NumberFormat):
        return known.element == format.element
    return known == format
