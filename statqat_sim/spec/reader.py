"""Located YAML -> NumberFormat: inheritance, strict validation, and every problem of a file at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_args

from annotated_types import Ge, Le
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from statqat_sim.errors import Problem, SpecError, did_you_mean
from statqat_sim.spec.base import KeyProblem, Spec
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.located import UNREADABLE, Document, Located
from statqat_sim.spec.number import NumberFormat

Validated = TypeVar("Validated", bound=Spec)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
KINDS: Mapping[str, type[Element]] = {
    "float": FloatElement,
    "int": IntElement,
    "codebook": CodebookElement,
}

NOT_YET_KINDS = frozenset({"posit", "takum", "lns", "tapered"})
NOT_YET_KEYS = frozenset({"scales", "offset", "pack"})
NOT_YET_ENCODE = {
    "rounding": frozenset({"stochastic_a", "stochastic_b", "stochastic_c"}),
    "tie_domain": frozenset({"bitstring", "log"}),
}
NOT_YET_ENCODE_KEYS = frozenset({"random_bits"})
INHERITED = ("title", "source", "element", "encode")

Resolve = Callable[[str], Located]
"""The located text of the format of this name; raises LookupError."""


class _Header(Spec):
    """The descriptive keys of a file."""

    name: Annotated[str, Field(min_length=1)]
    aliases: Annotated[tuple[str, ...], Field(strict=False)] = ()
    title: str = ""
    source: str = ""
    oracle: Annotated[tuple[str, ...], Field(strict=False)] = ()
    extends: str | None = None


TOP_KEYS = (*_Header.model_fields, "element", "encode")


def read_format(document: Document, resolve: Resolve) -> NumberFormat:
    """Validate one file's text, with whatever it extends.

    Raises:
        SpecError: with every problem found.
    """
    problems = list(document.problems)
    merged = _inherit(document.root, resolve, problems, seen=())
    if len(problems) > len(document.problems):
        raise SpecError(problems)
    problems += _not_yet(merged)
    header = _validate(_Header, _subset(merged, _Header.model_fields), problems, allowed=TOP_KEYS)
    element = _element(merged, problems)
    policy = _encode(merged, problems)
    if header is not None:
        problems += _names(header, merged)
    if element is not None:
        problems += _placed(merged.find(("element",)), element.problems())
    if problems or header is None or element is None or policy is None:
        raise SpecError(_distinct(problems))
    policy = policy.resolved(element)
    impossible = list(_placed(merged.find(("encode",)), policy.problems(element)))
    if impossible:
        raise SpecError(impossible)
    described = header.model_dump(exclude={"extends"})
    return NumberFormat(element=element, encode=policy, **described)


# --- inheritance -----------------------------------------------------------------------------------------------


def _inherit(node: Located, resolve: Resolve, problems: list[Problem], seen: tuple[str, ...]) -> Located:
    """`node` with what its `extends` and a named `element` bring; the file's own keys win."""
    if not isinstance(node.value, dict):
        problems.append(node.problem(f"expected a mapping of keys, got {_shown(node.value)}"))
        return Located({}, node.file, node.line, node.column)
    own = node
    for key in ("extends", "element"):
        named = node.value.get(key)
        if named is None or not isinstance(named.value, str):
            continue
        parent = _parent(named, resolve, problems, seen)
        own = _merge(parent, own if key == "extends" else _without(own, "element"))
    return own


def _parent(named: Located, resolve: Resolve, problems: list[Problem], seen: tuple[str, ...]) -> Located:
    nothing = Located({}, named.file, named.line, named.column)
    if named.value in seen:
        problems.append(named.problem(f"extends itself: {' -> '.join((*seen, named.value))}"))
        return nothing
    try:
        parent = resolve(named.value)
    except LookupError as error:
        problems.append(named.problem(str(error.args[0])))
        return nothing
    except SpecError as error:
        problems.extend(error.problems)
        return nothing
    return _subset(_inherit(parent, resolve, problems, (*seen, named.value)), INHERITED)


def _merge(parent: Located, child: Located) -> Located:
    """Key by key, the child's first; another `kind` of element replaces the parent's element as a whole."""
    if not (isinstance(parent.value, dict) and isinstance(child.value, dict)) or _changes_kind(parent, child):
        return child
    entries = {key: entry for key, entry in parent.value.items() if key not in child.value}
    for key, entry in child.value.items():
        entries[key] = _merge(parent.value[key], entry) if key in parent.value else entry
    return Located(entries, child.file, child.line, child.column, child.path, {**parent.keys, **child.keys})


def _changes_kind(parent: Located, child: Located) -> bool:
    kinds = [node.value["kind"].value for node in (parent, child) if "kind" in node.value]
    return len(kinds) == 2 and kinds[0] != kinds[1]


def _subset(node: Located, keys: Any) -> Located:
    entries = {key: entry for key, entry in node.value.items() if key in keys}
    return Located(entries, node.file, node.line, node.column, node.path, node.keys)


def _without(node: Located, key: str) -> Located:
    return _subset(node, node.value.keys() - {key})


# --- validation ------------------------------------------------------------------------------------------------


def _not_yet(merged: Located) -> Iterator[Problem]:
    """What the language names and this version does not do, and keys that it does not know."""
    for key in merged.value:
        if key in NOT_YET_KEYS:
            yield merged.key_problem(key, "block formats are not supported yet")
        elif key not in TOP_KEYS:
            yield merged.key_problem(key, _unknown_key(key, TOP_KEYS))
    encode = merged.find(("encode",))
    if encode is merged or not isinstance(encode.value, dict):
        return
    for key, entry in encode.value.items():
        if isinstance(entry.value, str) and entry.value in NOT_YET_ENCODE.get(key, ()):
            yield entry.problem(f"{entry.value!r} is not supported yet")
        elif key in NOT_YET_ENCODE_KEYS:
            yield encode.key_problem(key, "stochastic rounding is not supported yet")


def _element(merged: Located, problems: list[Problem]) -> Element | None:
    if "element" not in merged.value:
        problems.append(merged.problem("required key 'element' is missing"))
        return None
    node = merged.value["element"]
    if not isinstance(node.value, dict):
        if not isinstance(node.value, str):
            problems.append(node.problem(f"expected a mapping or the name of a format, got {_shown(node.value)}"))
        return None
    kind = node.value.get("kind")
    if UNREADABLE in (node.value, kind and kind.value):
        return None
    if kind is None:
        problems.append(node.problem(f"required key 'kind' is missing; allowed: {', '.join(KINDS)}"))
        return None
    if kind.value in NOT_YET_KINDS:
        problems.append(kind.problem(f"kind {kind.value!r} is not supported yet; allowed: {', '.join(KINDS)}"))
        return None
    if kind.value not in KINDS:
        hint = did_you_mean(str(kind.value), KINDS)
        problems.append(kind.problem(f"unknown kind {_shown(kind.value)}{hint}; allowed: {', '.join(KINDS)}"))
        return None
    return _validate(KINDS[kind.value], node, problems)


def _encode(merged: Located, problems: list[Problem]) -> EncodePolicy | None:
    node = merged.value.get("encode")
    if node is None:
        return EncodePolicy()
    if not isinstance(node.value, dict):
        problems.append(node.problem(f"expected a mapping of keys, got {_shown(node.value)}"))
        return None
    known = {
        key: entry
        for key, entry in node.value.items()
        if key not in NOT_YET_ENCODE_KEYS and not (isinstance(entry.value, str) and entry.value in NOT_YET_ENCODE.get(key, ()))
    }
    return _validate(EncodePolicy, Located(known, node.file, node.line, node.column, node.path, node.keys), problems)


def _validate(model: type[Validated], node: Located, problems: list[Problem], allowed: Any = None) -> Validated | None:
    """The model's value, or None and its problems."""
    try:
        return TypeAdapter(model).validate_python(node.plain())
    except ValidationError as error:
        names = tuple(allowed or model.model_fields)
        told = [detail for detail in error.errors() if detail["type"] != "default_factory_not_called"]
        told = [detail for detail in told if node.find(detail["loc"]).value is not UNREADABLE]
        problems.extend(_distinct(_problem(model, node, detail, names) for detail in told))
        return None


def _problem(model: type[Spec], node: Located, detail: ErrorDetails, names: tuple[str, ...]) -> Problem:
    """One pydantic error, told in the language's own words at its place in the file."""
    path = detail["loc"]
    key = str(path[0])
    if detail["type"] == "missing":
        return node.problem(f"required key {key!r} is missing")
    if detail["type"] == "extra_forbidden":
        return node.key_problem(key, _unknown_key(key, names))
    culprit = node.find(path)
    in_list = len(path) > 1 and isinstance(path[1], int)
    words = _words(model, key)
    expected = "a number" if in_list and key == "values" else "text" if in_list else _expected(model, key, words)
    hint = did_you_mean(culprit.value, words) if isinstance(culprit.value, str) else ""
    return culprit.problem(f"expected {expected}, got {_shown(culprit.value)}{hint}")


def _words(model: type[Spec], key: str) -> tuple[str, ...]:
    """The words that a key takes."""
    stack, words = [model.model_fields[key].annotation], []
    while stack:
        kind: Any = stack.pop()
        stack.extend(get_args(kind))
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            words += [member.value for member in kind]
    return tuple(words)


def _expected(model: type[Spec], key: str, words: tuple[str, ...]) -> str:
    """What a key takes, in words."""
    if words:
        or_code = " or a code" if model is EncodePolicy and key == "nan_input" else ""
        return f"one of {', '.join(words)}{or_code}"
    field = model.model_fields[key]
    kind = str(field.annotation)
    low = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    high = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    if "tuple" in kind:
        return "a list of numbers" if "float" in kind else "a list of texts"
    if "int" in kind:
        return "an integer" if low is None else f"an integer from {low} to {high}"
    return "true or false" if "bool" in kind else "text"


def _unknown_key(key: str, allowed: Iterable[str]) -> str:
    return f"unknown key{did_you_mean(key, allowed)} (allowed: {', '.join(sorted(allowed))})"


def _names(header: _Header, merged: Located) -> Iterator[Problem]:
    """Names and aliases are what people type: plain words."""
    if not NAME.fullmatch(header.name):
        yield merged.find(("name",)).problem(f"{header.name!r} is not a plain name; allowed: letters, digits, and . _ + -")
    for index, alias in enumerate(header.aliases):
        if not NAME.fullmatch(alias):
            yield merged.find(("aliases", index)).problem(f"{alias!r} is not a plain name; allowed: letters, digits, and . _ + -")


def _placed(node: Located, found: Iterable[KeyProblem]) -> Iterator[Problem]:
    """Each problem at its key, or at the mapping where the key has its default value."""
    for dotted, message in found:
        path = tuple(int(step) if step.isdigit() else step for step in dotted.split("."))
        culprit = node.find(path)
        shown = culprit.path if culprit is not node else (*node.path, *map(str, path))
        yield Problem(culprit.file, culprit.line, culprit.column, ".".join(shown), message)


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _shown(value: Any) -> str:
    """A short, plain view of what was written."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
