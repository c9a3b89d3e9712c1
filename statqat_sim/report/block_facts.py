"""The facts of a block format: values for JSON, and text to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from statqat_sim.report.facts import facts, listed, number
from statqat_sim.spec.block import BlockFormat, Offset, Stored
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.pack import BlockPack
from statqat_sim.spec.scale import Block, ScaleLevel, Target, Whole

KIND = "block"
TOLD = {"format", "block", "rule", "target", "combine"}
"""Keys of a level that its text has words for."""

VARYING = {"nonfinite", "all_zero"}
"""Keys whose default depends on the formats: shown even if the file does not have them."""


def block_facts(fmt: BlockFormat) -> dict[str, Any]:
    """All facts of a block format, for JSON; None for those it lacks."""
    return {
        "name": fmt.name,
        "title": fmt.title,
        "kind": KIND,
        "bits": fmt.bits,
        "bits_per_element": fmt.bits_per_element,
        "element": facts(fmt.element),
        "scales": [_level_facts(level) for level in fmt.scales],
        "offset": _offset_facts(fmt.offset) if fmt.offset else None,
        "fields": [_field_facts(stored) for stored in fmt.stored],
        "pack": fmt.pack.model_dump(mode="json"),
        "aliases": list(fmt.aliases),
        "source": fmt.source,
        "oracle": list(fmt.oracle),
    }


def _level_facts(level: ScaleLevel) -> dict[str, Any]:
    """All keys of a level; its format by name if it is a number format, else in full."""
    inner = level.format
    told = inner.name if isinstance(inner, NumberFormat) else block_facts(inner)
    return {"format": told, **level.model_dump(mode="json", exclude={"format"})}


def _offset_facts(offset: Offset) -> dict[str, Any]:
    keys = offset.model_dump(mode="json", exclude={"scales", "format"})
    scales = [_level_facts(level) for level in offset.scales]
    return {**keys, "scales": scales, "format": offset.format.name if offset.format else None}


def _field_facts(stored: Stored) -> dict[str, Any]:
    block = stored.model_dump(mode="json")["block"]
    return {
        "name": stored.name,
        "format": stored.format.name,
        "bits": stored.format.bits,
        "block": block,
        "bits_per_element": stored.bits_per_element,
    }


# --- for people --------------------------------------------------------------------------------------------------


def block_texts(fmt: BlockFormat) -> Iterator[tuple[str, str]]:
    """The facts of a block format as pairs of label and text."""
    yield "name", fmt.name
    yield "title", fmt.title or "none"
    yield "aliases", ", ".join(fmt.aliases) or "none"
    yield "kind", KIND
    yield "bits per element", f"{fmt.bits_per_element:g}"
    yield "element", _element(fmt.element)
    unused = set() if fmt.element.encode.drawn_bits else {"random_bits"}
    yield "encode", listed(fmt.element.encode.model_dump(mode="json", exclude=unused))
    yield from _levels("scale", fmt.scales)
    if fmt.offset:
        yield from _offset(fmt.offset)
    for stored in fmt.stored:
        yield f"field {stored.name}", _field(stored)
    yield "pack", _pack(fmt)
    yield "source", fmt.source or "none"
    yield "oracle", ", ".join(fmt.oracle) or "none"


def _element(element: NumberFormat) -> str:
    name = "" if element.name.endswith(".element") else f"{element.name}: "
    keys = element.element.model_dump(mode="json", exclude={"kind", "regimes"})
    return f"{name}{element.element.kind} of {element.bits} bits, {element.min:g} to {element.max:g}; {listed(keys)}"


def _levels(name: str, levels: Sequence[ScaleLevel]) -> Iterator[tuple[str, str]]:
    """Each level, outermost first; a level in a block format is followed by that format's levels."""
    for index, level in enumerate(levels):
        label = name if len(levels) == 1 else f"{name}{index}"
        yield label, _level(level)
        if isinstance(level.format, BlockFormat):
            yield from _levels(f"{label}.scale", level.format.scales)


def _level(level: ScaleLevel) -> str:
    inner = level.format
    format = inner.name if isinstance(inner, NumberFormat) else f"{inner.element.name}, scaled themselves,"
    said = [f"{format} for {_elements(level.block)}", f"rule {level.rule.value}"]
    if "target" in level.model_fields_set:
        said.append(f"target {level.target.value if isinstance(level.target, Target) else number(level.target)}")
    if not level.multiplies:
        said.append(f"{level.combine.value} of the scale outside")
    keys = level.model_dump(mode="json", exclude=TOLD)
    options = {key: keys[key] for key in keys if key in level.model_fields_set or key in VARYING}
    return "; ".join([", ".join(said), *([listed(options)] if options else [])])


def _offset(offset: Offset) -> Iterator[tuple[str, str]]:
    told = f"{offset.kind.value}, sign {offset.sign}" if offset.scales else offset.kind.value
    yield "offset", f"{told}, {offset.format.name}" if offset.format else told
    yield from _levels("offset.scale", offset.scales)


def _elements(block: Block) -> str:
    """The elements of a block, in words."""
    match block:
        case Whole.TENSOR:
            return "the whole tensor"
        case Whole.CHANNEL:
            return "the whole axis"
        case (rows, columns):
            return f"{rows} × {columns} elements"
    return f"{block} elements"


def _field(stored: Stored) -> str:
    bits = f"{stored.format.bits} bit{'s' * (stored.format.bits > 1)}"
    if stored.block == 1:
        return f"{bits} per element"
    more = f" = {stored.bits_per_element:g} per element" if stored.bits_per_element else ""
    return f"{bits} for {_elements(stored.block)}{more}"


def _pack(fmt: BlockFormat) -> str:
    """The layout, its keys that are not defaults, and the order of the fields."""
    pack, plain = fmt.pack.model_dump(mode="json", exclude={"fields"}), BlockPack().model_dump(mode="json")
    order = ", ".join(fmt.pack.fields or (stored.name for stored in fmt.stored))
    keys = {key: value for key, value in pack.items() if key == "layout" or value != plain[key]}
    return f"{listed(keys)}; fields: {order}"
