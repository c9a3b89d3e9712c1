"""`extends`, and formats by name: a file's keys laid over those of the files that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from statqat_sim.errors import Problem, SpecError, shown
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.located import UNREADABLE, Located

INHERITED = {
    "extends": ("title", "source", "element", "encode", "scales", "offset", "pack"),
    "element": ("element", "encode"),
}
"""The parts inherited from the format named by each key."""

MAX_GENERATIONS = 16

Resolve: TypeAlias = Callable[[str], Located]
"""A function that returns the located text of a format by name; raises LookupError or SpecError."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A file merged with its parents. `whole` is false if a parent is broken, so that keys may be missing."""

    node: Located
    own: Located
    whole: bool
    line: tuple[Located, ...] = ()
    """The files that led here, child first, up to this one."""

    element_name: str | None = None
    """The format that `element` and `encode` are taken from unchanged, if any."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A file named by another one."""

    merged: Merged
    format: Format


Check: TypeAlias = "Callable[[Merged, Heritage, list[Problem]], Format]"
"""A function that validates a file by itself and returns its format; raises SpecError."""


@dataclass(frozen=True, slots=True)
class Heritage:
    """All files that one file names; each is read and checked once."""

    resolve: Resolve
    check: Check
    parents: dict[str, Parent | None] = field(default_factory=dict)

    def merge(self, own: Located, problems: list[Problem], line: tuple[Located, ...] = ()) -> Merged:
        """`own` laid over its parents. `line`: the files that led here, child first."""
        if not isinstance(own.value, dict):
            if own.value is not UNREADABLE:
                problems.append(own.problem(f"expected a mapping of keys, got {shown(own.value)}"))
            return Merged(Located({}, own.file, own.line, own.column), own, whole=False)
        line = (*line, own)
        node, whole, element_name = own, True, None
        if "extends" in own.value:
            parent = self._named("extends", own, problems, line)
            node = _overlay(subset(parent.merged.node, INHERITED["extends"]), own) if parent else own
            whole = parent is not None
            element_name = (
                parent.merged.element_name if parent and not own.value.keys() & INHERITED["element"] else None
            )
        merged = self.with_element(node, problems, line, own=own)
        return Merged(merged.node, own, whole and merged.whole, line, merged.element_name or element_name)

    def with_element(
        self, node: Located, problems: list[Problem], line: tuple[Located, ...], *, own: Located | None = None
    ) -> Merged:
        """A mapping laid over the number format named by its `element`; `own`: its keys that are not inherited."""
        own = own or node
        if "element" not in own.value or not isinstance(own.value["element"].value, str):
            return Merged(node, own, whole=True, line=line)
        parent = self._named("element", own, problems, line)
        heir = without(node, "element")
        if parent is None:
            return Merged(heir, own, whole=False, line=line)
        name = None if "encode" in heir.value else parent.format.name
        return Merged(_overlay(subset(parent.merged.node, INHERITED["element"]), heir), own, True, line, name)

    def parent(self, named: Located, problems: list[Problem], line: tuple[Located, ...]) -> Parent | None:
        """The file of this name; None if it is broken, which is reported once."""
        if named.value not in self.parents:
            try:
                self.parents[named.value] = self._read(named, line)
            except SpecError as error:
                self.parents[named.value] = None
                problems.extend(error.problems)
        return self.parents[named.value]

    def _named(self, key: str, own: Located, problems: list[Problem], line: tuple[Located, ...]) -> Parent | None:
        """The format named by a key; an element's must be a number format."""
        named = own.value[key]
        parent = self.parent(named, problems, line) if isinstance(named.value, str) else None
        if parent and key == "element" and isinstance(parent.format, BlockFormat):
            problems.append(named.problem(f"{shown(named.value)} is a block format; allowed: a number format"))
            return None
        return parent

    def _read(self, named: Located, line: tuple[Located, ...]) -> Parent:
        try:
            parent = self.resolve(named.value)
        except LookupError as error:
            raise SpecError([named.problem(str(error.args[0]))]) from None
        except OSError as error:
            raise SpecError([named.problem(f"the file of {shown(named.value)} cannot be read: {error}")]) from None
        if parent.file in (node.file for node in line):
            circle = " -> ".join((*map(_label, line), _label(parent)))
            does = "be its own scale" if named.path[-1:] == ("format",) else "extend itself"
            raise SpecError([named.problem(f"a format cannot {does}: {circle}")])
        if len(line) > MAX_GENERATIONS:
            raise SpecError([named.problem(f"extends too many files in a row; allowed: {MAX_GENERATIONS}")])
        problems: list[Problem] = []
        merged = self.merge(parent, problems, line)
        return Parent(merged, self.check(merged, self, problems))


def subset(node: Located, keys: Collection[str]) -> Located:
    """The mapping with these keys only."""
    entries = {key: entry for key, entry in node.value.items() if key in keys}
    return Located(entries, node.file, node.line, node.column, node.path, node.keys)


def without(node: Located, *keys: str) -> Located:
    """The mapping without these keys."""
    return subset(node, node.value.keys() - set(keys))


def _overlay(parent: Located, child: Located) -> Located:
    """Merge key by key, the child's keys first; an element of another `kind` replaces the parent's as a whole."""
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
    """A file's name, for error messages."""
    name = node.value["name"].value if "name" in node.value else None
    return name if isinstance(name, str) else node.file
