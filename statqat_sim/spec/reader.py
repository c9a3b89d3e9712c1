"""Located YAML -> NumberFormat: inheritance, strict validation, and every problem of a file at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from statqat_sim.errors import Problem, SpecError, did_you_mean, nearest, shown
from statqat_sim.spec.base import KeyProblem, Spec
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy, Rounding, TieDomain
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.inherit import Heritage, Merged, Resolve, without
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.located import UNREADABLE, Document, Located
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.validate import meant, placed, validate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
KINDS: Mapping[str, type[Element]] = {
    "float": FloatElement,
    "int": IntElement,
    "codebook": CodebookElement,
}

# The language has these, and this version does not: refused, so that nothing is read as something else.
NOT_YET_KINDS = frozenset({"posit", "takum", "lns", "tapered"})
NOT_YET_KEYS = frozenset({"scales", "offset", "pack"})
NOT_YET_ENCODE = {
    "rounding": (frozenset({"stochastic_a", "stochastic_b", "stochastic_c"}), Rounding),
    "tie_domain": (frozenset({"bitstring", "log"}), TieDomain),
}
NOT_YET_ENCODE_KEYS = frozenset({"random_bits"})


class _Header(Spec):
    """The descriptive keys of a file."""

    name: str
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
    merged = Heritage(resolve, _format).merge(document.root, problems)
    return _format(merged, problems)


def _format(merged: Merged, problems: list[Problem]) -> NumberFormat:
    """The format, or SpecError with `problems` and all that is found here."""
    header = _header(merged.node, problems) if isinstance(merged.own.value, dict) else None
    element = _element(merged, problems)
    policy = _encode(merged, problems)
    if element is not None:
        impossible = _impossible(merged, "element", element.problems())
        if policy is not None and not impossible:
            policy = policy.resolved(element)
            impossible = _impossible(merged, "encode", policy.problems(element))
        problems += impossible
    if problems or header is None or element is None or policy is None:
        raise SpecError(problems)
    return NumberFormat(element=element, encode=policy, **header.model_dump(exclude={"extends"}))


def _impossible(merged: Merged, key: str, found: Iterator[KeyProblem]) -> list[Problem]:
    """Values that do not go together: told where the file at hand says what does not go with what it inherits."""
    own = merged.own.value
    anchor = next((own[name] for name in (key, "element", "extends") if name in own), merged.own)
    return list(placed(merged.node.value.get(key, anchor), found, anchor))


def _header(node: Located, problems: list[Problem]) -> _Header | None:
    problems += [node.key_problem(key, "block formats: not yet supported") for key in node.value if key in NOT_YET_KEYS]
    problems += _names(node)
    return validate(_Header, without(node, "element", "encode", *NOT_YET_KEYS), problems, allowed=TOP_KEYS)


def _names(node: Located) -> Iterator[Problem]:
    """Names and aliases are what people type: plain words."""
    aliases = node.value["aliases"].value if "aliases" in node.value else ()
    for named in (node.value.get("name"), *(aliases if isinstance(aliases, list) else ())):
        if named is not None and isinstance(named.value, str) and not NAME.fullmatch(named.value):
            yield named.problem(f"{shown(named.value)} is not a plain name; allowed: letters, digits, and . _ + -")


# --- element ---------------------------------------------------------------------------------------------------


def _element(merged: Merged, problems: list[Problem]) -> Element | None:
    node = merged.node.value.get("element")
    if node is None:
        if merged.whole and "element" not in meant(merged.node, TOP_KEYS):
            problems.append(merged.node.problem("required key 'element' is missing"))
        return None
    if not isinstance(node.value, dict):
        if node.value is not UNREADABLE:
            problems.append(node.problem(f"expected a mapping or the name of a format, got {shown(node.value)}"))
        return None
    model = _model(node, problems, whole=merged.whole)
    return validate(model, node, problems, whole=merged.whole) if model else None


def _model(element: Located, problems: list[Problem], *, whole: bool) -> type[Element] | None:
    """The model of the element's kind."""
    kind, allowed = element.value.get("kind"), ", ".join(KINDS)
    if kind is None:
        near = (key for key in element.value if nearest(key, ("kind",)))
        misspelt = [element.key_problem(key, "unknown key; did you mean 'kind'?") for key in near]
        missing = [element.problem(f"required key 'kind' is missing; allowed: {allowed}")] * whole
        problems += misspelt or missing
        return None
    if kind.value is UNREADABLE:
        return None
    if not isinstance(kind.value, str):
        problems.append(kind.problem(f"expected one of {allowed}, got {shown(kind.value)}"))
        return None
    if kind.value in NOT_YET_KINDS:
        problems.append(kind.problem(f"kind {kind.value!r}: not yet supported; allowed: {allowed}"))
    elif kind.value not in KINDS:
        hint = did_you_mean(kind.value, KINDS)
        problems.append(kind.problem(f"unknown kind {shown(kind.value)}{hint} (allowed: {allowed})"))
    return KINDS.get(kind.value)


# --- encode ----------------------------------------------------------------------------------------------------


def _encode(merged: Merged, problems: list[Problem]) -> EncodePolicy | None:
    node = merged.node.value.get("encode")
    if node is None:
        return EncodePolicy()
    if not isinstance(node.value, dict):
        if node.value is not UNREADABLE:
            problems.append(node.problem(f"expected a mapping of keys, got {shown(node.value)}"))
        return None
    told = {key: message for key, entry in node.value.items() if (message := _not_yet(key, entry.value))}
    for key, message in told.items():
        is_key = key in NOT_YET_ENCODE_KEYS
        problems.append(node.key_problem(key, message) if is_key else node.value[key].problem(message))
    return validate(EncodePolicy, without(node, *told), problems)


def _not_yet(key: str, value: object) -> str | None:
    """What this version does not do, if it is that."""
    if key in NOT_YET_ENCODE_KEYS:
        return "stochastic rounding: not yet supported"
    words, allowed = NOT_YET_ENCODE.get(key, (frozenset(), ()))
    if isinstance(value, str) and value in words:
        return f"{value!r}: not yet supported; allowed: {', '.join(allowed)}"
    return None
