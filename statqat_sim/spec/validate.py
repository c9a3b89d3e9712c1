"""Located YAML -> one frozen model; pydantic's errors told in the language's own words, each at its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Any, TypeVar, get_args

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from statqat_sim.errors import Problem, did_you_mean, nearest, shown
from statqat_sim.spec.base import KeyProblem, Spec
from statqat_sim.spec.encode import EncodePolicy
from statqat_sim.spec.located import UNREADABLE, Located, dotted

Validated = TypeVar("Validated", bound=Spec)


def validate(
    model: type[Validated],
    node: Located,
    problems: list[Problem],
    *,
    whole: bool = True,
    allowed: Collection[str] | None = None,
) -> Validated | None:
    """The model's value, or None and its problems.

    Keys that seem to be missing from a node that is not `whole` may be inherited. `allowed`: all the keys that may
    stand here, where the model has only some of them.
    """
    allowed = allowed or model.model_fields
    empty = [key for key, entry in node.value.items() if entry.value is None and key in model.model_fields]
    told = [_wrong(model, node, (key,)) for key in empty]  # a key without a value is not a way to say its default
    try:
        value = TypeAdapter(model).validate_python(node.plain())
    except ValidationError as error:
        known = meant(node, allowed) if whole else set(allowed)
        told += [_problem(model, node, detail, allowed) for detail in _innermost(error) if _is_new(node, detail, known)]
        problems.extend(dict.fromkeys(told))
        return None
    problems.extend(told)
    return None if told else value


def placed(node: Located, found: Iterable[KeyProblem], anchor: Located) -> Iterator[Problem]:
    """Each problem at its key, or at the mapping where the key has its default value.

    A parent is sound by itself: what it says is wrong only next to the keys of `anchor`, in the file at hand.
    """
    for key, message in found:
        path = tuple(int(step) if step.isdecimal() else step for step in key.split("."))
        culprit = node.find(path)
        if culprit.file != anchor.file:
            message += f" (inherited from {culprit.file}:{culprit.line}:{culprit.column})"
            culprit = node if node.file == anchor.file else anchor
        yield Problem(culprit.file, culprit.line, culprit.column, dotted((*node.path, *map(str, path))), message)


def meant(node: Located, allowed: Collection[str]) -> set[str | None]:
    """The keys that the unknown ones of a mapping are misspellings of."""
    return {nearest(key, allowed) for key in node.value if key not in allowed}


def _innermost(error: ValidationError) -> Iterator[ErrorDetails]:
    """Without the errors of a list whose items have errors of their own: it seems too short without those."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    lists = {detail["loc"][:-1] for detail in details if isinstance(detail["loc"][-1], int)}
    return (detail for detail in details if detail["loc"] not in lists)


def _is_new(node: Located, detail: ErrorDetails, written: Collection[str | None]) -> bool:
    """Whether nothing else tells this error: an unreadable value, a misspelt key, the error that it follows from."""
    match detail["type"]:
        case "missing":
            return detail["loc"][0] not in written
        case "extra_forbidden":
            return True
        case "default_factory_not_called":
            return False
    return node.find(detail["loc"]).value is not UNREADABLE


def _problem(model: type[Spec], node: Located, detail: ErrorDetails, allowed: Collection[str]) -> Problem:
    key = str(detail["loc"][0])
    if detail["type"] == "missing":
        return node.problem(f"required key {key!r} is missing")
    if detail["type"] == "extra_forbidden":
        return node.key_problem(key, f"unknown key{did_you_mean(key, allowed)} (allowed: {', '.join(sorted(allowed))})")
    return _wrong(model, node, detail["loc"])


def _wrong(model: type[Spec], node: Located, path: tuple[str | int, ...]) -> Problem:
    culprit, key = node.find(path), str(path[0])
    words = _words(model, key)
    expected = _expected_item(model, key) if culprit is not node.find(path[:1]) else _expected(model, key, words)
    hint = did_you_mean(culprit.value, words) if isinstance(culprit.value, str) else ""
    return culprit.problem(f"expected {expected}, got {shown(culprit.value)}{hint}")


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
        return f"a list of {'numbers' if 'float' in kind else 'texts'}"
    if "int" in kind:
        return "an integer" if low is None else f"an integer from {low} to {high}"
    return "true or false" if "bool" in kind else "text"


def _expected_item(model: type[Spec], key: str) -> str:
    return "a number" if "float" in str(model.model_fields[key].annotation) else "text"
