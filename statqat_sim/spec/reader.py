"""Located YAML -> NumberFormat: inheritance, strict validation, and every problem of a file at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated

from pydantic import Field

from statqat_sim.errors import Problem, SpecError, did_you_mean, nearest, shown
from statqat_sim.spec.base import KeyProblem, Spec
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.inherit import Heritage, Merged, Resolve, without
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.lns import LnsElement
from statqat_sim.spec.located import UNREADABLE, Document, Located
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.pack import Nibbles, Pack
from statqat_sim.spec.posit import PositElement
from statqat_sim.spec.takum import TakumElement
from statqat_sim.spec.tapered import TaperedElement
from statqat_sim.spec.validate import Validated, meant, placed, validate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
KINDS: Mapping[str, type[Element]] = {
    "float": FloatElement,
    "int": IntElement,
    "codebook": CodebookElement,
    "posit": PositElement,
    "takum": TakumElement,
    "lns": LnsElement,
    "tapered": TaperedElement,
}

# The language has these, and this version does not: refused, so that nothing is read as something else.
NOT_YET_KEYS = frozenset({"scales", "offset"})
NOT_YET_PACK_KEYS = frozenset({"layout", "fields", "swizzle"})
NOT_YET_NIBBLES = frozenset({"half_split"})
NOT_YET = "block formats: not yet supported"


class Header(Spec):
    """The descriptive keys of a file."""

    name: str
    aliases: Annotated[tuple[str, ...], Field(strict=False)] = ()
    title: str = ""
    source: str = ""
    oracle: Annotated[tuple[str, ...], Field(strict=False)] = ()
    extends: str | None = None


TOP_KEYS = (*Header.model_fields, "element", "encode", "pack")


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
    policy = _part(merged, "encode", EncodePolicy, problems)
    pack = _pack(merged, problems)
    if element is not None:
        impossible = _impossible(merged, "element", element.problems())
        if policy is not None and not impossible:
            policy = policy.resolved(element)
            impossible = _impossible(merged, "encode", policy.problems(element))
        if pack is not None:
            impossible += _impossible(merged, "pack", pack.problems(element.bits))
        problems += impossible
    if problems or header is None or element is None or policy is None or pack is None:
        raise SpecError(problems)
    return NumberFormat(element=element, encode=policy, pack=pack, **header.model_dump(exclude={"extends"}))


def _impossible(merged: Merged, key: str, found: Iterator[KeyProblem]) -> list[Problem]:
    """Values that do not go together: told where the file at hand says what does not go with what it inherits."""
    own = merged.own.value
    anchor = next((own[name] for name in (key, "element", "extends") if name in own), merged.own)
    return list(placed(merged.node.value.get(key, anchor), found, anchor))


def _header(node: Located, problems: list[Problem]) -> Header | None:
    problems += [node.key_problem(key, NOT_YET) for key in node.value if key in NOT_YET_KEYS]
    problems += _names(node)
    return validate(Header, without(node, "element", "encode", "pack", *NOT_YET_KEYS), problems, allowed=TOP_KEYS)


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
    if kind.value not in KINDS:
        hint = did_you_mean(kind.value, KINDS)
        problems.append(kind.problem(f"unknown kind {shown(kind.value)}{hint} (allowed: {allowed})"))
    return KINDS.get(kind.value)


# --- encode and pack -------------------------------------------------------------------------------------------


def _part(
    merged: Merged, key: str, model: type[Validated], problems: list[Problem], *, leave_out: Collection[str] = ()
) -> Validated | None:
    """The mapping under `key`, without some of its keys; all defaults where the file has none."""
    node = merged.node.value.get(key)
    if node is None:
        return model()
    if not isinstance(node.value, dict):
        if node.value is not UNREADABLE:
            problems.append(node.problem(f"expected a mapping of keys, got {shown(node.value)}"))
        return None
    return validate(model, without(node, *leave_out), problems)


def _pack(merged: Merged, problems: list[Problem]) -> Pack | None:
    """The pack part; those of its words that are about blocks are refused by name."""
    node = merged.node.value.get("pack")
    told: set[str] = set()
    for key, entry in node.value.items() if node and isinstance(node.value, dict) else ():
        if key in NOT_YET_PACK_KEYS:
            problems.append(node.key_problem(key, NOT_YET))
        elif key == "nibbles" and isinstance(entry.value, str) and entry.value in NOT_YET_NIBBLES:
            problems.append(entry.problem(f"{entry.value!r}: {NOT_YET}; allowed: {', '.join(Nibbles)}"))
        else:
            continue
        told.add(key)
    return _part(merged, "pack", Pack, problems, leave_out=told)
