"""The keys in which formats differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

from statqat_sim.spec.format import Format

Nodes: TypeAlias = Sequence[Any]
"""The entries of several formats at one path; None for a format without one."""

PARTS = ("element", "encode", "scales", "offset", "pack")


def differing_keys(formats: Sequence[Format]) -> Iterator[tuple[str, list[Any]]]:
    """The keys whose values differ, with the value of each format; None for a format without the key.

    Nested formats with different names are compared by name only.
    """
    dumped = [format.model_dump(mode="json") for format in formats]
    for part in PARTS:
        yield from _below(part, [each.get(part) for each in dumped])


def _below(path: str, nodes: Nodes) -> Iterator[tuple[str, list[Any]]]:
    if all(node == nodes[0] for node in nodes):
        return
    if all(isinstance(node, dict) for node in nodes):
        if "name" in nodes[0] and len({node.get("name") for node in nodes}) > 1:
            yield path, [node.get("name") for node in nodes]
            return
        for key in dict.fromkeys(key for node in nodes for key in node):
            yield from _below(f"{path}.{key}", [node.get(key) for node in nodes])
    elif all(isinstance(node, list) and node and isinstance(node[0], dict) for node in nodes):
        for index, entries in enumerate(zip_longest(*nodes)):
            yield from _below(f"{path}[{index}]", entries)
    else:
        yield path, [_short(node) if isinstance(node, dict) else node for node in nodes]


def _short(node: Mapping[str, Any]) -> str:
    """A short text of a part that other formats lack: a scale level, or an offset."""
    if "rule" not in node:
        return str(node.get("kind", "given"))
    return f"{node['format']['name']}, block {node['block']}, rule {node['rule']}"
