"""YAML text -> plain values that remember where they were written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from statqat_sim.errors import SHOWN, Problem, SpecError, shown
from statqat_sim.spec.scalar import UnreadableScalar, read_scalar, tag_name

MAX_BYTES = 4 << 20
MAX_NODES = 100_000
MAX_DEPTH = 32
MAX_KEYS = 100
"""The most keys of one mapping; no part of the language has more than twenty."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
_FORBIDDEN = re.compile(
    "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)  # YAML 1.1, section 5.1
_PLAIN_KEY = re.compile(r"[\w+-]+")

UNREADABLE: Final = object()
"""The value of a rejected scalar; its problem is in the document already, and is not reported again."""


@dataclass(frozen=True, slots=True)
class Located:
    """One YAML node: its value (a dict or list of `Located`, or a plain scalar), its place and its key path."""

    value: Any
    file: str
    line: int
    column: int
    path: tuple[str, ...] = ()
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)  # line and column of each key of a mapping

    @classmethod
    def of(cls, value: Any, path: tuple[str, ...] = (), file: str = "<dict>") -> Located:
        """A Python value and everything in it, as if read from a file; `file`: the name of its origin in errors."""
        if isinstance(value, Mapping):
            value = {str(key): cls.of(child, (*path, str(key)), file) for key, child in value.items()}
        elif isinstance(value, list | tuple):
            value = [cls.of(child, (*path, str(index)), file) for index, child in enumerate(value)]
        return cls(value, file, 0, 0, path)

    def problem(self, message: str) -> Problem:
        return Problem(self.file, self.line, self.column, dotted(self.path), message)

    def key_problem(self, key: str, message: str) -> Problem:
        """A problem with the key itself rather than with its value."""
        line, column = self.keys.get(key, (self.line, self.column))
        return Problem(self.file, line, column, dotted((*self.path, key)), message)

    def find(self, path: Iterable[str | int]) -> Located:
        """The deepest node on `path` that exists in the file."""
        node = self
        for step in path:
            child = node._child(step)
            if child is None:
                break
            node = child
        return node

    def _child(self, step: str | int) -> Located | None:
        if isinstance(self.value, dict):
            return self.value.get(step)
        is_item = isinstance(self.value, list) and isinstance(step, int) and 0 <= step < len(self.value)
        return self.value[step] if is_item else None

    def plain(self) -> Any:
        """The value as plain Python, without locations."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def dotted(path: Iterable[str]) -> str:
    """A key path as shown in errors; keys that are not plain words are quoted."""
    return ".".join(step if _PLAIN_KEY.fullmatch(step) and len(step) <= SHOWN else shown(step) for step in path)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values, and problems of its spelling: duplicate keys, ambiguous scalars, tags."""

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


def read_document(text: str | bytes, file: str, *, words: Collection[str] = ()) -> Document:
    """Parse one YAML document. `words` are always texts, although other YAML readers take them for values, such as N.

    Raises:
        SpecError: if nothing can be read: bad syntax, bytes that are not UTF-8 or characters that YAML forbids,
            several documents or none, too many bytes or values, an alias that blows up.
    """
    decoded = _decode(text, file)
    try:
        _bound_events(decoded, file)
        root = yaml.compose(decoded, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = "; indent with spaces, not tabs" if _character(decoded, *place) == "\t" else ""
        raise _refused(file, place, f"not valid YAML: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        raise _refused(file, (1, 1), f"not valid YAML: {str(error).partition(chr(10))[0]}") from None
    if root is None:
        raise _refused(file, (1, 1), "the file is empty; expected a mapping of keys")
    reader = _Reader(file, words)
    located = reader.locate(root, ())
    return Document(located, tuple(reader.problems))


def _refused(file: str, place: tuple[int, int], message: str) -> SpecError:
    return SpecError([Problem(file, *place, "", message)])


def _character(text: str, line: int, column: int) -> str:
    """The character at a place, both counted from 1; none beyond the end."""
    return "".join(text.split("\n")[line - 1 : line])[column - 1 : column]


def _decode(text: str | bytes, file: str) -> str:
    """The text, without a byte order mark, checked for characters that YAML forbids."""
    if len(text) > MAX_BYTES:
        raise _refused(file, (1, 1), f"the file is too large: {len(text)} bytes; allowed: {MAX_BYTES}")
    if isinstance(text, bytes):
        if text.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _refused(file, (1, 1), "the file is UTF-16; save it as UTF-8")
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode("utf-8")
            byte = f"byte 0x{error.object[error.start]:02x}"
            raise _refused(file, _end(before), f"{byte} is not UTF-8; save the file as UTF-8") from None
    text = text.removeprefix("\ufeff")
    if forbidden := _FORBIDDEN.search(text):
        place = _end(text[: forbidden.start()])
        raise _refused(file, place, f"character U+{ord(forbidden[0]):04X} is not allowed in YAML; remove it")
    return text


def _end(text: str) -> tuple[int, int]:
    """Line and column after the end of `text`."""
    lines = _LINE_BREAK.split(text.removeprefix("\ufeff"))
    return len(lines), len(lines[-1]) + 1


def _bound_events(text: str, file: str) -> None:
    """Reject a second document, nesting that would exhaust PyYAML's recursion, and excessive size."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        refused = (
            (documents > 1 and "a second document starts here; allowed: one per file")
            or (depth > MAX_DEPTH and f"nested too deeply; allowed: {MAX_DEPTH} levels")
            or (count > 2 * MAX_NODES and f"too many values; allowed: {MAX_NODES}")
        )
        if refused:
            raise _refused(file, _start(event), refused)


def _start(node: Any) -> tuple[int, int]:
    """Line and column of a node or an event."""
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Reader:
    """Turns PyYAML's node graph into `Located` values and collects every problem."""

    def __init__(self, file: str, words: Collection[str] = ()) -> None:
        self.file = file
        self.words = words
        self.problems: list[Problem] = []
        self.nodes = 0
        self.open: set[int] = set()  # nodes being expanded: an alias to one of them is a cycle

    def locate(self, node: yaml.Node, path: tuple[str, ...]) -> Located:
        place = Located(None, self.file, *_start(node), path)
        self._bound(node, place)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node, place)
            return self._sequence(node, place)
        finally:
            self.open.discard(id(node))

    def _bound(self, node: yaml.Node, place: Located) -> None:
        """Check an expanded alias: it may not be cyclic, nor exceed the limits of a file in size or depth."""
        self.nodes += 1
        refused = (
            (id(node) in self.open and "an alias that contains itself")
            or (len(self.open) > MAX_DEPTH and f"nested too deeply, by aliases; allowed: {MAX_DEPTH} levels")
            or (self.nodes > MAX_NODES and f"too many values (aliases count each time); allowed: {MAX_NODES}")
        )
        if refused:
            raise SpecError([*self.problems, place.problem(refused)])

    def _scalar(self, node: yaml.ScalarNode, place: Located) -> Located:
        try:
            value = node.value if node.value in self.words else read_scalar(node)
        except UnreadableScalar as why:
            self.problems.append(place.problem(str(why)))
            value = UNREADABLE
        return Located(value, self.file, place.line, place.column, place.path)

    def _sequence(self, node: yaml.Node, place: Located) -> Located:
        children = [self.locate(child, (*place.path, str(index))) for index, child in enumerate(node.value)]
        value = children if self._has_tag(node, place, "tag:yaml.org,2002:seq") else UNREADABLE
        return Located(value, self.file, place.line, place.column, place.path)

    def _mapping(self, node: yaml.MappingNode, place: Located) -> Located:
        if len(node.value) > MAX_KEYS:
            raise SpecError([*self.problems, place.problem(f"{len(node.value)} keys; allowed: {MAX_KEYS}")])
        entries: dict[str, Located] = {}
        keys: dict[str, tuple[int, int]] = {}
        for key, at, child in self._keyed(node, place):
            if key in entries:
                first = ":".join(map(str, keys[key]))
                path = dotted((*place.path, key))
                self.problems.append(Problem(self.file, *at, path, f"key written twice; first at {first}"))
                continue
            keys[key] = at
            entries[key] = self.locate(child, (*place.path, key))
        value = entries if self._has_tag(node, place, "tag:yaml.org,2002:map") else UNREADABLE
        return Located(value, self.file, place.line, place.column, place.path, keys)

    def _keyed(self, node: yaml.MappingNode, place: Located) -> Iterator[tuple[str, tuple[int, int], yaml.Node]]:
        """The pairs whose key is a plain word; every other key is a problem."""
        for key, child in node.value:
            is_merge = key.tag == "tag:yaml.org,2002:merge"
            is_plain = isinstance(key, yaml.ScalarNode) and key.tag.startswith("tag:yaml.org,2002:")
            if is_plain and key.value and not is_merge:
                yield key.value, _start(key), child
                continue
            why = "a key must be a plain word, not empty, a list, a mapping or tagged"
            why = "merge keys are not allowed; write the keys out, or use extends" if is_merge else why
            self.problems.append(Problem(self.file, *_start(key), dotted(place.path), why))

    def _has_tag(self, node: yaml.Node, place: Located, expected: str) -> bool:
        if node.tag != expected:
            self.problems.append(place.problem(f"tag {tag_name(node.tag)} is not allowed; write the plain value"))
        return bool(node.tag == expected)
