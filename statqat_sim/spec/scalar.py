"""YAML scalars -> Python values, if their spelling is unambiguous.

A plain scalar is accepted only if YAML 1.1 (which PyYAML reads) and YAML 1.2 (which editors and other languages read)
agree on it; `1e-3`, `no`, `010`, `0b11`, `1_000`, `1:30` and the like are rejected.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from statqat_sim.errors import shown

MAX_NUMBER_LENGTH = 1200
"""The most characters of a number; the longest exact decimal of a float64 has 1079."""

_CORE_SCHEMA = (  # YAML 1.2.2, section 10.3.2
    ("null", re.compile(r"null|Null|NULL|~|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    ("float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+(\.|[eE]|$)")
_NUMBER_LIKE = re.compile(r"[-+.0-9]*[0-9][-+.:_0-9a-fA-FoxX]*")
_STRING_TAG = "tag:yaml.org,2002:str"
_RESOLVER: Any = yaml.resolver.Resolver()


class UnreadableScalar(ValueError):
    """A rejected scalar: the reason, and the spelling to use instead."""


def read_scalar(node: yaml.ScalarNode) -> Any:
    """The value of a scalar: text, an int, a float, a bool or None.

    Raises:
        UnreadableScalar: if its spelling is ambiguous, its number is out of range, or it has a tag.
    """
    implicit = _implicit_tag(node)
    if node.tag != implicit:
        raise UnreadableScalar(f"tag {tag_name(node.tag)} is not allowed; write the plain value")
    if node.style:  # quoted or a block scalar: always text
        return node.value
    return _plain(node.value, implicit.rpartition(":")[2])


def tag_name(tag: str) -> str:
    """A tag as people write it: `!!str`."""
    return shown(tag.replace("tag:yaml.org,2002:", "!!"))


def _implicit_tag(node: yaml.ScalarNode) -> str:
    """The tag that PyYAML infers from the spelling."""
    if node.style:
        return _STRING_TAG
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, node.value, (True, False))
    return tag


def _plain(text: str, kind: str) -> Any:
    core = next((name for name, pattern in _CORE_SCHEMA if pattern.fullmatch(text)), "str")
    if kind != core or _LEADING_ZERO.match(text) or text in {"y", "n", "Y", "N"}:
        raise UnreadableScalar(f"{shown(text)} reads differently in YAML 1.1 and YAML 1.2; {_unambiguous(text)}")
    if text in {"-0", "+0"}:
        raise UnreadableScalar(f"{text!r} is an integer, which has no sign at zero; write 0 or -0.0")
    if kind in ("int", "float") and len(text) > MAX_NUMBER_LENGTH:
        raise UnreadableScalar(f"a number of {len(text)} characters; allowed: {MAX_NUMBER_LENGTH}")
    match kind:
        case "int":
            return _integer(text)
        case "float":
            return _float(text)
        case "bool":
            return text.lower() == "true"
        case "null":
            return None
    return text


def _integer(text: str) -> int:
    number = int(text, 0)
    if number.bit_length() > (63 if number < 0 else 64):
        raise UnreadableScalar(f"{shown(text)} is beyond 64 bits; where a number may have a fraction, write a float")
    return number


def _float(text: str) -> float:
    if text.lower().endswith((".inf", ".nan")):
        return float(text.replace(".", "", 1))
    number = float(text)
    if math.isinf(number):
        raise UnreadableScalar(f"{shown(text)} is beyond float64; allowed: up to 1.7976931348623157e+308")
    if number == 0 and any(digit in "123456789" for digit in text.lower().partition("e")[0]):
        raise UnreadableScalar(f"{shown(text)} reads as 0 in float64; allowed: 0.0, or from 5.0e-324")
    return number


def _unambiguous(text: str) -> str:
    """An unambiguous spelling of the scalar."""
    quoted = f"quote it: '{text}'" if len(text) <= 60 and text.isprintable() else "quote it"
    if text.lower() in {"yes", "no", "on", "off", "y", "n"}:
        return f"write true or false; where text is meant, {quoted}"
    if not _NUMBER_LIKE.fullmatch(text):
        return quoted
    number = _guess(text)
    return f"write {'a plain decimal number' if number is None else number}; where text is meant, {quoted}"


def _guess(text: str) -> str | None:
    """The decimal number that was meant, if that is clear."""
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        return None
    if not math.isfinite(number) or number == 0 or len(text) > 60:
        return None
    if "e" not in text.lower():
        return str(int(text.replace("_", ""))) if "." not in text else repr(number)
    return _scientific(number)


def _scientific(number: float) -> str:
    """The shortest spelling with a fraction and a signed exponent that reads back as `number`."""
    shortest = next(text for digits in range(17) if float(text := f"{number:.{digits}e}") == number)
    mantissa, exponent = shortest.split("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{int(exponent):+d}"
