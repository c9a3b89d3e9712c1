"""`extends`, and an element by name: a file's own keys laid over those of the files that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from statqat_sim.errors import Problem, SpecError, shown
from statqat_sim.spec.located import UNREADABLE, Located

INHERITED = {"extends": ("title", "source", "element", "encode", "pack"), "element": ("element", "encode")}
"""What the format that a key names bequeaths."""

MAX_GENERATIONS = 16

Resolve: TypeAlias = Callable[[str], Located]
"""The located text of the format of this name; raises LookupError, or SpecError."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A file with what it inherits. Not `whole`: a parent is broken, so that keys may seem to be missing."""

    node: Located
    own: Located
    whole: bool


Check: TypeAlias = Callable[[Merged, list[Problem]], object]
"""Raises SpecError unless a file is a format, all by itself."""


@dataclass(frozen=True, slots=True)
class Heritage:
    """All that one file inherits; each parent is read and checked once."""

    resolve: Resolve
    check: Check
    parents: dict[str, Located | None] = field(default_factory=dict)

    def merge(self, own: Located, problems: list[Problem], line: tuple[Located, ...] = ()) -> Merged:
        """`own` over its parents. `line`: the files that led here, youngest first."""
        if not isinstance(own.value, dict):
            if own.value is not UNREADABLE:
                problems.append(own.problem(f"expected a mapping of keys, got {shown(own.value)}"))
            return Merged(Located({}, own.file, own.line, own.column), own, whole=False)
        node, whole = own, True
        for key in ("extends", "element"):
            named = own.value.get(key)
            if named is None or (key == "element" and not isinstance(named.value, str)):
                continue
            parent = self._parent(named, problems, (*line, own)) if isinstance(named.value, str) else None
            heir = node if key == "extends" else without(node, "element")
            node = _overlay(subset(parent, INHERITED[key]), heir) if parent else heir
            whole = whole and parent is not None
        return Merged(node, own, whole)

    def _parent(self, named: Located, problems: list[Problem], line: tuple[Located, ...]) -> Located | None:
        """What the file of this name bequeaths; None if it is broken, which is told once."""
        if named.value not in self.parents:
            try:
                self.parents[named.value] = self._read(named, line)
            except SpecError as error:
                self.parents[named.value] = None
                problems.extend(error.problems)
        return self.parents[named.value]

    def _read(self, named: Located, line: tuple[Located, ...]) -> Located:
        try:
            parent = self.resolve(named.value)
        except LookupError as error:
            raise SpecError([named.problem(str(error.args[0]))]) from None
        except OSError as error:
            raise SpecError([named.problem(f"the file of {shown(named.value)} cannot be read: {error}")]) from None
        if parent.file in (node.file for node in line):
            circle = " -> ".join((*map(_label, line), _label(parent)))
            raise SpecError([named.problem(f"a format cannot extend itself: {circle}")])
        if len(line) > MAX_GENERATIONS:
            raise SpecError([named.problem(f"extends too many files in a row; allowed: {MAX_GENERATIONS}")])
        problems: list[Problem] = []
        merged = self.merge(parent, problems, line)
        self.check(merged, problems)
        return subset(merged.node, INHERITED["extends"])


def subset(node: Located, keys: Collection[str]) -> Located:
    """The mapping with these keys only."""
    entries = {key: entry for key, entry in node.value.items() if key in keys}
    return Located(entries, node.file, node.line, node.column, node.path, node.keys)


def without(node: Located, *keys: str) -> Located:
    """The mapping without these keys."""
    return subset(node, node.value.keys() - set(keys))


def _overlay(parent: Located, child: Located) -> Located:
    """Key by key, the child's first; another `kind` of element replaces the parent's element as a whole."""
    if not (isinstance(parent.value, dict) and isinstance(child.value, dict)) or _changes_kind(parent, child):
        return child
    entries = {key: entry for key, entry in parent.value.items() if key not in child.value}
    for key, entry in child.value.items():
        entries[key] = _overlay(parent.value[key], entry) if key in parent.value else entry
    return Located(entries, child.file, child.line, child.column, child.path, child.keys)


def _changes_kind(parent: Located, child: Located) -> bool:
    if "kind" not in parent.value or "kind" not in child.value:
        return False
    changed: bool = parent.value["kind"].value != child.value["kind"].value
    return changed


def _label(node: Located) -> str:
    """How a file calls itself."""
    name = node.value["name"].value if "name" in node.value else None
    return name if isinstance(name, str) else node.file
