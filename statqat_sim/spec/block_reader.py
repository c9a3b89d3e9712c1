"""Reads the parts of a block format: its element, its scales and their formats, and its offset."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from statqat_sim.errors import Problem, shown
from statqat_sim.spec.block import BlockFormat, Offset, OffsetKeys
from statqat_sim.spec.block_rules import MAX_LEVELS, offset_problems, resolved, scale_problems
from statqat_sim.spec.format import Format
from statqat_sim.spec.inherit import Heritage, Merged, without
from statqat_sim.spec.located import UNREADABLE, Located
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.parts import impossible, is_mapping, read_element, read_policy
from statqat_sim.spec.scale import ScaleKeys, ScaleLevel
from statqat_sim.spec.validate import meant, unknown_keys, validate

INLINE_KEYS = ("element", "encode", "scales")
"""The keys of a format that is written inline instead of named."""


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads a file's keys on blocks. `line`: the files that led here; problems are appended to `problems`."""

    heritage: Heritage
    line: tuple[Located, ...]
    problems: list[Problem]

    def read(self, merged: Merged, name: str) -> BlockFormat | None:
        """The format without its pack part and header; None if something is wrong."""
        element = self._number(merged, merged.element_name or f"{name}.element")
        scales = self._scales(merged.node, "scales", name, "scale")
        offset, has_offset = self._offset(merged.node, name), "offset" in merged.node.value
        if element is None or scales is None:
            return None
        scales = resolved(element, scales)
        found = impossible(merged, "scales", scale_problems(element, scales, has_offset=has_offset))
        if offset is not None:
            found += impossible(merged, "offset", offset_problems(element, offset, scales))
        self.problems.extend(found)
        if found or (has_offset and offset is None):
            return None
        return BlockFormat(name=name, element=element, scales=scales, offset=offset)

    def _number(self, merged: Merged, name: str) -> NumberFormat | None:
        element = read_element(merged, self.problems)
        policy = read_policy(merged, element, self.problems)
        if element is None or policy is None:
            return None
        return NumberFormat(name=name, element=element, encode=policy)

    # --- scales ------------------------------------------------------------------------------------------------

    def _scales(self, node: Located, key: str, name: str, prefix: str) -> tuple[ScaleLevel, ...] | None:
        """All levels of a list; None if one of them is wrong."""
        entries = node.value.get(key)
        if entries is None:
            self.problems.append(node.problem(f"required key {key!r} is missing"))
            return None
        if not isinstance(entries.value, list):
            if entries.value is not UNREADABLE:
                self.problems.append(entries.problem(f"expected a list of mappings, got {shown(entries.value)}"))
            return None
        if not 1 <= len(entries.value) <= MAX_LEVELS:
            what = f"{len(entries.value)} levels of scales; allowed: 1 to {MAX_LEVELS}"
            self.problems.append(entries.problem(what))
            return None
        levels = [self._level(entry, f"{name}.{prefix}{index}") for index, entry in enumerate(entries.value)]
        whole = tuple(level for level in levels if level is not None)
        return whole if len(whole) == len(levels) else None

    def _level(self, node: Located, name: str) -> ScaleLevel | None:
        if not is_mapping(node, self.problems):
            return None
        keys = validate(ScaleKeys, without(node, "format"), self.problems, allowed=ScaleLevel.model_fields)
        format = self._format(node, name, ScaleLevel.model_fields)
        if keys is None or format is None:
            return None
        return ScaleLevel(format=format, **{key: getattr(keys, key) for key in keys.model_fields_set})

    def _format(self, node: Located, name: str, allowed: Collection[str]) -> Format | None:
        """The format that `format` names or describes."""
        named = node.value.get("format")
        if named is None:
            if "format" not in meant(node, allowed):
                self.problems.append(node.problem("required key 'format' is missing"))
            return None
        if isinstance(named.value, str):
            parent = self.heritage.parent(named, self.problems, self.line)
            return parent.format if parent else None
        if isinstance(named.value, dict):
            return self._inline(named, name)
        if named.value is not UNREADABLE:
            self.problems.append(named.problem(f"expected a mapping or the name of a format, got {shown(named.value)}"))
        return None

    def _inline(self, node: Located, name: str) -> Format | None:
        unknown = [*unknown_keys(node, INLINE_KEYS)]
        self.problems.extend(unknown)
        if "element" not in node.value and "element" not in meant(node, INLINE_KEYS):
            self.problems.append(node.problem("required key 'element' is missing"))
        merged = self.heritage.with_element(node, self.problems, self.line)
        format = self.read(merged, name) if "scales" in node.value else self._number(merged, name)
        return None if unknown else format

    # --- offset ------------------------------------------------------------------------------------------------

    def _offset(self, node: Located, name: str) -> Offset | None:
        """The offset; None if there is none or something is wrong."""
        part = node.value.get("offset")
        if part is None or not is_mapping(part, self.problems):
            return None
        parts = [key for key in ("scales", "format") if key in part.value]
        keys = validate(OffsetKeys, without(part, *parts), self.problems, allowed=Offset.model_fields)
        read: dict[str, Any] = {}
        if "scales" in parts:
            read["scales"] = self._scales(part, "scales", name, "offset")
        if "format" in parts:
            read["format"] = self._number_format(part, f"{name}.offset")
        if keys is None or None in read.values():
            return None
        return Offset(**{key: getattr(keys, key) for key in keys.model_fields_set}, **read)

    def _number_format(self, node: Located, name: str) -> NumberFormat | None:
        format = self._format(node, name, Offset.model_fields)
        if isinstance(format, BlockFormat):
            what = f"{shown(format.name)} is a block format; allowed: kind int"
            self.problems.append(node.value["format"].problem(what))
            return None
        return format
