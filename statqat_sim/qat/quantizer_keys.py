"""Quantizers <-> plain values: a name, or a name with its options, `{percentile: {percentile: 99.9}}`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from statqat_sim.errors import Problem, none_of, of_type, shown
from statqat_sim.quantizer import QUANTIZERS, StateQuantizer
from statqat_sim.spec.located import UNREADABLE, Located

PLAIN = {float: "a number", int: "an integer", bool: "true or false", str: "text", NoneType: "null"}


def read_quantizer(node: Located, problems: list[Problem]) -> StateQuantizer | None:
    """The quantizer of a name, of a name with options, or an object that is one; None, and what is wrong."""
    if hasattr(node.value, "choose") and not isinstance(node.value, type):
        quantizer: StateQuantizer = node.value
        return quantizer
    if node.value is UNREADABLE:
        return None
    options = node.value if isinstance(node.value, dict) else {node.value: None}
    if len(options) != 1 or not isinstance(name := next(iter(options)), str):
        what = "expected the name of a quantizer, or its name with options, as {percentile: {percentile: 99.9}}"
        problems.append(node.problem(f"{what}, got {shown(node.value)}"))
        return None
    if name not in QUANTIZERS:
        problems.append(node.problem(f"no quantizer is named {shown(name)}{none_of(name, QUANTIZERS)}"))
        return None
    return _with_options(QUANTIZERS[name], options[name], problems)


def quantizer_keys(quantizer: StateQuantizer) -> Any:
    """What `read_quantizer` reads.

    Raises:
        TypeError: if it has no name, or options that are no plain values.
    """
    name = next((name for name, known in QUANTIZERS.items() if type(quantizer) is known), None)
    if name is None:
        allowed = ", ".join(QUANTIZERS)
        raise TypeError(f"{quantizer!r} is no quantizer that a name describes; allowed: {allowed}")
    defaults = QUANTIZERS[name]()
    values = {key: getattr(quantizer, key) for key in _options(type(quantizer))}
    said = {key: value for key, value in values.items() if value is not getattr(defaults, key)}
    said = {key: value for key, value in said.items() if type(value) not in PLAIN or value != getattr(defaults, key)}
    for key, value in said.items():
        if type(value) not in PLAIN:
            raise TypeError(f"{key} of {quantizer!r} is {of_type(value)}; allowed: a name or a number")
    return {name: said} if said else name


def _with_options(
    make: Callable[..., StateQuantizer], node: Located | None, problems: list[Problem]
) -> StateQuantizer | None:
    if node is None or node.value is UNREADABLE:
        return None if node else make()
    if not isinstance(node.value, dict):
        problems.append(node.problem(f"expected a mapping of options, got {shown(node.value)}"))
        return None
    known, found = _options(make), len(problems)
    for key, child in node.value.items():
        if key not in known:
            problems.append(node.key_problem(key, f"unknown option{none_of(key, known)}"))
        elif child.value is not UNREADABLE and not _takes(known[key], child.value):
            problems.append(child.problem(f"expected {_told(known[key])}, got {shown(child.value)}"))
    if len(problems) > found:
        return None
    try:
        return make(**node.plain())
    except (ValueError, LookupError, TypeError) as error:
        problems.append(node.problem(str(error.args[0])))
        return None


@cache
def _options(quantizer: Callable[..., StateQuantizer]) -> dict[str, Any]:
    """The types of the options that a file can say: those that take plain values."""
    hints = get_type_hints(quantizer)
    own = (field for field in fields(quantizer) if field.init)  # type: ignore[arg-type]
    return {field.name: hints[field.name] for field in own if field.default is not MISSING}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _takes(hint: Any, value: Any) -> bool:
    """Whether a plain value may be given to an option of this type."""
    for kind in _alternatives(hint):
        if get_origin(kind) is Literal:
            if value in get_args(kind):
                return True
        elif type(value) is kind or (kind is float and type(value) is int):
            return True
    return False


def _told(hint: Any) -> str:
    words = (word for kind in _alternatives(hint) if get_origin(kind) is Literal for word in get_args(kind))
    kinds = (PLAIN[kind] for kind in _alternatives(hint) if kind in PLAIN)
    return " or ".join((*map(repr, words), *kinds)) or "what only Python can say"
