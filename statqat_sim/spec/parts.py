"""Reads the parts common to all formats: `element`, and mappings that are one model each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from statqat_sim.errors import Problem, nearest, none_of, shown
from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import Element, EncodePolicy
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.inherit import Merged
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.lns import LnsElement
from statqat_sim.spec.located import UNREADABLE, Located
from statqat_sim.spec.posit import PositElement
from statqat_sim.spec.takum import TakumElement
from statqat_sim.spec.tapered import TaperedElement
from statqat_sim.spec.validate import Validated, placed, validate

KINDS: Final[Mapping[str, type[Element]]] = {
    "float": FloatElement,
    "int": IntElement,
    "codebook": CodebookElement,
    "posit": PositElement,
    "takum": TakumElement,
    "lns": LnsElement,
    "tapered": TaperedElement,
}


def read_part(node: Located, key: str, model: type[Validated], problems: list[Problem]) -> Validated | None:
    """The mapping under `key` as a model; all defaults if there is none."""
    part = node.value.get(key)
    if part is None:
        return model()
    return validate(model, part, problems) if is_mapping(part, problems) else None


def is_mapping(node: Located, problems: list[Problem]) -> bool:
    """Whether the node is a mapping; if not, a problem is recorded."""
    if isinstance(node.value, dict):
        return True
    if node.value is not UNREADABLE:
        problems.append(node.problem(f"expected a mapping of keys, got {shown(node.value)}"))
    return False


def impossible(merged: Merged, key: str, found: Iterable[KeyProblem]) -> list[Problem]:
    """Contradicting values, reported at the file's own keys, not at inherited ones."""
    own = merged.own.value
    anchor = next((own[name] for name in (key, "element", "extends") if name in own), merged.own)
    return list(placed(merged.node.value.get(key, anchor), found, anchor))


# --- element and encode ----------------------------------------------------------------------------------------


def read_element(merged: Merged, problems: list[Problem]) -> Element | None:
    """The element; None with problems if it is invalid."""
    node = merged.node.value.get("element")
    if node is None:
        return None
    if not isinstance(node.value, dict):
        if node.value is not UNREADABLE:
            problems.append(node.problem(f"expected a mapping or the name of a format, got {shown(node.value)}"))
        return None
    model = _model(node, problems, whole=merged.whole)
    element = validate(model, node, problems, whole=merged.whole) if model else None
    found = impossible(merged, "element", element.problems()) if element else []
    problems += found
    return None if found else element


def read_policy(merged: Merged, element: Element | None, problems: list[Problem]) -> EncodePolicy | None:
    """The encode policy for an element; None with problems if it is invalid."""
    policy = read_part(merged.node, "encode", EncodePolicy, problems)
    if policy is None or element is None:
        return None
    policy = policy.resolved(element)
    found = impossible(merged, "encode", policy.problems(element))
    problems += found
    return None if found else policy


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
        problems.append(kind.problem(f"unknown kind {shown(kind.value)}{none_of(kind.value, KINDS)}"))
    return KINDS.get(kind.value)
