"""YAML text -> plain values that remember where they were written.

A plain scalar is taken only where YAML 1.1 (which PyYAML reads) and YAML 1.2 (which editors and other
languages read) agree on it; `1e-3`, `no`, `010`, `0b11`, `1_000`, `1:30` and their kind are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from statqat_sim.errors import Problem, SpecError

MAX_BYTES = 4 << 20
MAX_NODES = 200_000
MAX_DEPTH = 32

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE_SCHEMA = (  # YAML 1.2.2, section 10.3.2
    ("null", re.compile(r"null|Null|NULL|~|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    ("float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+(\.|[eE]|$)")


UNREADABLE: Final = object()
"""The value of a scalar that is refused; its problem is in the document, so that no one reports it again."""


@dataclass(frozen=True, slots=True)
class Located:
    """One YAML node: its value (a dict or list of `Located`, or a plain scalar), its place and its key path."""

    value: Any
    file: str
    line: int
    column: int
    path: tuple[str, ...] = ()
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)  # where each key of a mapping stands

    def problem(self, message: str) -> Problem:
        return Problem(self.file, self.line, self.column, ".".join(self.path), message)

    def key_problem(self, key: str, message: str) -> Problem:
        """A problem with the key itself rather than with its value."""
        line, column = self.keys[key]
        return Problem(self.file, line, column, ".".join((*self.path, key)), message)

    def find(self, path: tuple[str | int, ...]) -> Located:
        """The deepest node on `path` that the file holds."""
        node = self
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                node = node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                break
        return node

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values, and what is wrong with its spelling: duplicate keys, ambiguous scalars, tags."""

    root: Located
    problems: tuple[Problem, ...]

    def sound(self) -> Located:
        """The root.

        Raises:
            SpecError: if there are problems.
        """
        if self.problems:
            raise SpecError(self.problems)
        return self.root


def read_document(text: str | bytes, file: str) -> Document:
    """Parse one YAML document.

    Raises:
        SpecError: if nothing can be read: bad syntax or bytes that are not UTF-8, several documents or none,
            too many bytes or values, an alias that blows up.
    """
    decoded = _decode(text, file)
    try:
        _bound_events(decoded, file)
        root = yaml.compose(decoded, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise SpecError([Problem(file, line, column, "", f"not valid YAML: {error.problem or error.context}")]) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise SpecError([Problem(file, 1, 1, "", f"not valid YAML: {first}")]) from None
    if root is None:
        raise SpecError([Problem(file, 1, 1, "", "the file is empty; expected a mapping of keys")])
    reader = _Reader(file)
    located = reader.locate(root, ())
    return Document(located, tuple(reader.problems))


def _decode(text: str | bytes, file: str) -> str:
    size = len(text)
    if size > MAX_BYTES:
        raise SpecError([Problem(file, 1, 1, "", f"the file is too large: {size} bytes; allowed: {MAX_BYTES}")])
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - (text.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"byte 0x{text[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise SpecError([Problem(file, line, column, "", message)]) from None


def _bound_events(text: str, file: str) -> None:
    """Refuse what would make PyYAML recurse or the reader blow up, and a second document."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        mark = event.start_mark
        here = Problem(file, mark.line + 1, mark.column + 1, "", "")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if documents > 1:
            raise SpecError([_at(here, "a second document starts here; allowed: one per file")])
        if depth > MAX_DEPTH:
            raise SpecError([_at(here, f"nested too deeply; allowed: {MAX_DEPTH} levels")])
        if count > 2 * MAX_NODES:
            raise SpecError([_at(here, f"too many values; allowed: {MAX_NODES}")])


def _at(place: Problem, message: str) -> Problem:
    return Problem(place.file, place.line, place.column, place.path, message)


class _Reader:
    """Turns PyYAML's node graph into `Located` values and collects every problem on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.nodes = 0
        self.open: set[int] = set()  # nodes being expanded: an alias to one of them never ends

    def locate(self, node: yaml.Node, path: tuple[str, ...]) -> Located:
        self.nodes += 1
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        place = Located(None, self.file, line, column, path)
        if self.nodes > MAX_NODES or id(node) in self.open:
            why = "an alias that contains itself" if id(node) in self.open else f"too many values (aliases count each time); allowed: {MAX_NODES}"
            raise SpecError([*self.problems, place.problem(why)])
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, place, "tag:yaml.org,2002:seq")
                children = [self.locate(child, (*path, str(i))) for i, child in enumerate(node.value)]
                return Located(children, self.file, line, column, path)
            return Located(self._scalar(node, place), self.file, line, column, path)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: Located) -> Located:
        self._check_tag(node, place, "tag:yaml.org,2002:map")
        entries: dict[str, Located] = {}
        keys: dict[str, tuple[int, int]] = {}
        for key_node, child in self._keyed(node, place):
            key = key_node.value
            at = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in entries:
                first = ":".join(map(str, keys[key]))
                self.problems.append(Problem(self.file, *at, ".".join((*place.path, key)), f"key written twice; first at {first}"))
                continue
            keys[key] = at
            entries[key] = self.locate(child, (*place.path, key))
        return Located(entries, self.file, place.line, place.column, place.path, keys)

    def _keyed(self, node: yaml.MappingNode, place: Located) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                at = Problem(self.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1, ".".join(place.path), "")
                self.problems.append(_at(at, "a key must be a plain word (no merge keys, lists or mappings)"))
                continue
            yield key_node, child

    def _check_tag(self, node: yaml.Node, place: Located, expected: str) -> None:
        if node.tag != expected:
            self.problems.append(place.problem(f"tag {_tag_name(node.tag)!r} is not allowed; write the plain value"))

    def _scalar(self, node: yaml.ScalarNode, place: Located) -> Any:
        text, kind = node.value, node.tag.removeprefix("tag:yaml.org,2002:")
        if node.style:  # quoted or a block: a string, whatever it looks like
            self._check_tag(node, place, "tag:yaml.org,2002:str")
            return text
        core = next((name for name, pattern in _CORE_SCHEMA if pattern.fullmatch(text)), "str")
        if node.tag.startswith("!") or "python" in node.tag or "binary" in node.tag:
            self._check_tag(node, place, "")
        elif kind != core or _LEADING_ZERO.match(text) or text in {"-0", "+0", "y", "n", "Y", "N"}:
            self.problems.append(place.problem(f"{text!r} reads differently in YAML 1.1 and YAML 1.2; {_unambiguous(text)}"))
        elif kind == "int":
            return int(text, 0)
        elif kind == "float":
            return _float(text)
        elif kind == "bool":
            return text.lower() == "true"
        elif kind == "null":
            return None
        else:
            return text
        return UNREADABLE


def _float(text: str) -> float:
    if text.lower().endswith((".inf", ".nan")):
        return float(text.replace(".", "", 1))
    return float(text)


def _tag_name(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _unambiguous(text: str) -> str:
    """The spelling that leaves no doubt."""
    if text.lower() in {"yes", "no", "on", "off", "y", "n"}:
        return f"write true or false, or quote it: '{text}'"
    if text in {"-0", "+0"}:
        return "write 0 or -0.0"
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        return f"write a plain decimal number, or quote it: '{text}'"
    if "e" in text.lower() and math.isfinite(number):
        mantissa, exponent = f"{number!r}e0".split("e")[:2] if "e" in repr(number) else _scientific(number)
        dot = "" if "." in mantissa else ".0"
        return f"write {mantissa}{dot}e{int(exponent):+d}"
    return f"write {int(number) if number.is_integer() else number}, or quote it: '{text}'"


def _scientific(number: float) -> tuple[str, str]:
    """Shortest mantissa and exponent that read back as `number`."""
    for digits in range(17):
        text = f"{number:.{digits}e}"
        if float(text) == number:
            break
    mantissa, exponent = text.split("e")
    return mantissa, exponent
