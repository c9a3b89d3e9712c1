"""Formats -> self-contained text: the full meaning, so that no catalog is needed to read it back."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any

import yaml

from statqat_sim.spec.base import Spec
from statqat_sim.spec.block import Offset
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scalar import UnreadableScalar, read_scalar
from statqat_sim.spec.scale import ScaleLevel

WIDTH = 120


@lru_cache(maxsize=1024)
def format_text(format: Format) -> str:
    """YAML text of a format, the same wherever and whenever it is written.

    Formats that it uses are written inline instead of named, and defaults are included. Keys that only describe a
    format (aliases, title, source, oracle) are left out: `parse_format` gives a format with the same codes and the same
    text.
    """
    return yaml_text(format_keys(format))


def format_hash(format: Format) -> str:
    """SHA-256 of the text, in hex: equal for formats with the same name and meaning."""
    return sha256(format_text(format).encode()).hexdigest()


def format_keys(format: Format) -> dict[str, Any]:
    """The keys and plain values of the text."""
    pack = _written(format.pack)
    keys = {"name": format.name, **_meaning(format)}
    return {**keys, "pack": pack} if pack else keys


def yaml_text(value: Any) -> str:
    """Plain values as YAML that this library reads back: ambiguous texts are quoted."""
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=None, sort_keys=False, width=WIDTH)
    return text


def _meaning(format: Format) -> dict[str, Any]:
    """The keys of a format written inline, where another one could name it."""
    if isinstance(format, NumberFormat):
        return {
            "element": format.element.model_dump(mode="json", exclude_none=True),
            "encode": format.encode.model_dump(mode="json"),
        }
    keys = {**_meaning(format.element), "scales": _levels(format.scales)}
    return {**keys, "offset": _offset(format.offset)} if format.offset else keys


def _levels(levels: tuple[ScaleLevel, ...]) -> list[dict[str, Any]]:
    return [{"format": _meaning(level.format), **_written(level)} for level in levels]


def _offset(offset: Offset) -> dict[str, Any]:
    keys = _written(offset)
    if offset.scales:
        keys["scales"] = _levels(offset.scales)
    return {**keys, "format": _meaning(offset.format)} if offset.format else keys


def _written(part: Spec) -> dict[str, Any]:
    """The keys of a part that differ from their defaults; others might be invalid if written."""
    fields = type(part).model_fields
    said = {key for key in part.model_fields_set if getattr(part, key) != fields[key].get_default()}
    return part.model_dump(mode="json", include=said - {"format", "scales"}, exclude_none=True, exclude_defaults=True)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 and 1.2 read differently, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _is_plain(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_plain(text: str) -> bool:
    """Whether every YAML reader takes the text for text without quotes."""
    try:
        read_scalar(yaml.ScalarNode("tag:yaml.org,2002:str", text))
    except UnreadableScalar:
        return False
    return True


_Dumper.add_representer(str, _represented)
