"""Located YAML -> one frozen model; pydantic's errors are reworded in the language's terms, each with its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final, TypeVar, get_args

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from statqat_sim.errors import Problem, did_you_mean, nearest, none_of, shown
from statqat_sim.spec.base import KeyProblem, Spec
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.located import UNREADABLE, Located, dotted

Validated = TypeVar("Validated", bound=Spec)

SYNONYMS: Final = {"block_size": "block", "group_size": "block"}
"""What others call a key."""


def validate(
    model: type[Validated],
    node: Located,
    problems: list[Problem],
    *,
    whole: bool = True,
    allowed: Collection[str] | None = None,
) -> Validated | None:
    """The model's value, or None and its problems.

    Keys missing from a node that is not `whole` may be inherited. `allowed`: all keys that are valid here, if the model
    has only some of them.
    """
    place = _Place(model, node, allowed or model.model_fields, whole)
    told = [*_without_value(place), *_too_long(place)]
    try:
        value = TypeAdapter(model).validate_python(place.plain())
    except ValidationError as error:
        told += [problem for detail in _innermost(error) if (problem := _problem(place, detail))]
        problems.extend(dict.fromkeys(told))
        return None
    problems.extend(told)
    return None if told else value


def placed(node: Located, found: Iterable[KeyProblem], anchor: Located) -> Iterator[Problem]:
    """Each problem at its key, or at the mapping if the key is missing.

    A parent is valid by itself: its values are wrong only in combination with the keys of `anchor`, in the child.
    """
    for key, message in found:
        path = tuple(int(step) if step.isdecimal() else step for step in key.split(".") if step)
        culprit = node.find(path)
        if culprit.file != anchor.file:
            message += f" (inherited from {culprit.file}:{culprit.line}:{culprit.column})"
            culprit = node if node.file == anchor.file else anchor
        yield Problem(culprit.file, culprit.line, culprit.column, dotted((*node.path, *map(str, path))), message)


def unknown_keys(node: Located, allowed: Collection[str]) -> Iterator[Problem]:
    """A problem for each key that a mapping may not have."""
    return (unknown_key(node, key, allowed) for key in node.value if key not in allowed)


def unknown_key(node: Located, key: str, allowed: Collection[str]) -> Problem:
    """The problem of a key that a mapping may not have; it lists those that it may have."""
    word, names = SYNONYMS.get(key, key), sorted(allowed)
    if word == "block" and "scales" in allowed:
        told = f"; did you mean 'block' of an entry of scales? (allowed: {', '.join(names)})"
    else:
        told = none_of(word, names)
    return node.key_problem(key, f"unknown key{told}")


def meant(node: Located, allowed: Collection[str]) -> set[str | None]:
    """The valid keys that a mapping's unknown keys are misspellings of."""
    return {nearest(SYNONYMS.get(key, key), allowed) for key in node.value if key not in allowed}


@dataclass(frozen=True, slots=True)
class _Place:
    """A mapping, and the model that it is validated as."""

    model: type[Spec]
    node: Located
    allowed: Collection[str]
    whole: bool = True

    def item(self, key: str, index: int) -> _Place | None:
        """The place of one item of a list of models."""
        model = _item_model(self.model, key)
        node = self.node.find((key, index))
        return _Place(model, node, model.model_fields) if model and isinstance(node.value, dict) else None

    def items(self) -> Iterator[_Place]:
        """The places of all items of lists of models, up to the allowed length."""
        for key, entry in self.node.value.items():
            if key in self.model.model_fields and isinstance(entry.value, list) and _item_model(self.model, key):
                places = (self.item(key, index) for index in range(len(entry.value))[: _most_items(self.model, key)])
                yield from filter(None, places)

    def plain(self) -> Any:
        """The plain values; lists that are too long are cut, so that errors do not show all of them."""
        plain = self.node.plain()
        return {
            key: value[: _most_items(self.model, key)] if isinstance(value, list) else value
            for key, value in plain.items()
        }


def _most_items(model: type[Spec], key: str) -> int | None:
    """The maximum length of the list under a key, if its type has one."""
    metadata = model.model_fields[key].metadata if key in model.model_fields else ()
    return next((bound.max_length for bound in metadata if isinstance(bound, MaxLen)), None)


def _too_long(place: _Place) -> Iterator[Problem]:
    for key, entry in place.node.value.items():
        most = _most_items(place.model, key)
        if most is not None and isinstance(entry.value, list) and len(entry.value) > most:
            yield _wrong(place, (key,))


@cache
def _item_model(model: type[Spec], key: str) -> type[Spec] | None:
    """The model of the items of the list under a key, if they are mappings."""
    inner = get_args(model.model_fields[key].annotation) if key in model.model_fields else ()
    return next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, Spec)), None)


def _without_value(place: _Place) -> Iterator[Problem]:
    """A problem for each key without a value, which does not mean its default."""
    for key, entry in place.node.value.items():
        if key in place.model.model_fields and entry.value is None:
            yield _wrong(place, (key,))
    for item in place.items():
        yield from _without_value(item)


def _innermost(error: ValidationError) -> Iterator[ErrorDetails]:
    """Drop the errors of lists whose items have errors: without these items a list seems too short."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    lists = {
        detail["loc"][:depth] for detail in details for depth, step in enumerate(detail["loc"]) if isinstance(step, int)
    }
    return (detail for detail in details if detail["loc"] not in lists)


def _problem(place: _Place, detail: ErrorDetails) -> Problem | None:
    """An error as a problem; None if it follows from a reported one: an unreadable value, or a misspelt key."""
    path = detail["loc"]
    while len(path) > 2 and isinstance(path[1], int) and (item := place.item(str(path[0]), path[1])):
        place, path = item, path[2:]
    key = str(path[0])
    match detail["type"]:
        case "missing" if len(path) > 1:  # an item of a list of fixed length
            return _wrong(place, path[:1])
        case "missing":
            known = meant(place.node, place.allowed) if place.whole else place.allowed
            return None if key in known else place.node.problem(f"required key {key!r} is missing")
        case "extra_forbidden":
            return unknown_key(place.node, key, place.allowed)
        case "default_factory_not_called":
            return None
    return None if place.node.find(path).value is UNREADABLE else _wrong(place, path)


def _wrong(place: _Place, path: tuple[str | int, ...]) -> Problem:
    culprit, key = place.node.find(path), str(path[0])
    words = words_of(place.model, key)
    is_item = culprit is not place.node.find(path[:1])
    expected = _expected_item(place.model, key) if is_item else _expected(place.model, key, words)
    hint = did_you_mean(culprit.value, words) if words and isinstance(culprit.value, str) else ""
    is_length = expected.startswith("a list of") and isinstance(culprit.value, list) and culprit.value
    got = str(len(culprit.value)) if is_length else shown(culprit.value)
    return culprit.problem(f"expected {expected}, got {got}{hint}")


@cache
def words_of(model: type[Spec], key: str) -> tuple[str, ...]:
    """The allowed words of a key."""
    stack, words = [model.model_fields[key].annotation], []
    while stack:
        kind: Any = stack.pop()
        stack.extend(get_args(kind))
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            words += [member.value for member in kind]
    return tuple(words)


@cache
def _expected(model: type[Spec], key: str, words: tuple[str, ...]) -> str:
    """The allowed values of a key, in words."""
    if title := model.model_fields[key].title:
        return title
    if words:
        or_code = " or a code" if model is EncodePolicy and key == "nan_input" else ""
        return f"one of {', '.join(words)}{or_code}"
    field = model.model_fields[key]
    kind = str(field.annotation)
    if "tuple" in kind:
        return f"a list of {_expected_length(model, key)}{_expected_item(model, key).removeprefix('a ')}s"
    if "int" in kind:
        return _expected_integer(field)
    if field.examples:
        return f"a quoted text like {field.examples[0]!r}"
    return "true or false" if "bool" in kind else "text"


def _expected_length(model: type[Spec], key: str) -> str:
    most = _most_items(model, key)
    low = next((bound.min_length for bound in model.model_fields[key].metadata if isinstance(bound, MinLen)), None)
    return "" if most is None else f"{low} to {most} "


def _expected_integer(field: FieldInfo) -> str:
    """An integer and its bounds, in words; the bounds of an optional key are nested in its type."""
    inner = [bound for kind in get_args(field.annotation) for bound in getattr(kind, "__metadata__", ())]
    bounds = [*field.metadata, *(bound for info in inner for bound in getattr(info, "metadata", (info,)))]
    low = next((bound.ge for bound in bounds if isinstance(bound, Ge)), None)
    high = next((bound.le for bound in bounds if isinstance(bound, Le)), None)
    if low is None:
        return "an integer"
    return f"an integer of {low} or more" if high is None else f"an integer from {low} to {high}"


@cache
def _expected_item(model: type[Spec], key: str) -> str:
    if title := model.model_fields[key].title:
        return title
    if _item_model(model, key):
        return "a mapping"
    return "a number" if "float" in str(model.model_fields[key].annotation) else "text"
