"""The errors that users see: what is wrong, where, what is allowed, and the nearest match."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

TOLD = 100
"""How many problems the text of an error lists; `SpecError.problems` has them all."""

SHOWN = 60
"""How many characters of a value an error quotes."""

SHORTEST, SUGGESTED = 2, 3
"""The minimum length of a word for suggestions, and how many names are suggested."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a spec file. Line and column count from 1, as editors do; 0 where there is no text."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        return f"{place}: {path}{self.message}"


class SpecError(ValueError):
    """A spec is wrong. One line per problem, each `file:line:column: key.path: what; what is allowed`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        in_order = sorted(problems, key=lambda p: (p.file, p.line, p.column))
        # an aliased node is read at several paths; what is wrong with it is told once
        distinct = {(p.file, p.line, p.column, p.message, "" if p.line else p.path): p for p in reversed(in_order)}
        self.problems = tuple(reversed(distinct.values()))
        lines = [str(problem) for problem in self.problems[:TOLD]]
        more = len(self.problems) - TOLD
        super().__init__("\n".join(lines + [f"... and {more} more"] * (more > 0)))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class UnsupportedError(NotImplementedError):
    """The request is meaningful, but this version, backend or format does not do it."""


def to_install(extra: str) -> str:
    """What installs an optional part: in the root of the repository, as no index has the package."""
    return f'pip install -e ".[{extra}]" in the repository of statqat_sim'


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The one of `allowed` that `word` is likely to be a misspelling of."""
    if len(word) > SHOWN:
        return None
    lowered = {choice.lower(): choice for choice in reversed([*allowed])}  # of equal spellings the first one wins
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[near[0]] if near else None


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'x' or 'y'?"`: names of which `word` is a part, else the nearest one, or the empty string."""
    names = list(dict.fromkeys(allowed))
    near = _completions(word.lower(), names) or [name for name in [nearest(word, names)] if name]
    if not near:
        return ""
    first, last = ", ".join(map(repr, near[:-1])), repr(near[-1])
    return f"; did you mean {first} or {last}?" if first else f"; did you mean {last}?"


def none_of(word: object, allowed: Iterable[str]) -> str:
    """`"; did you mean 'x'? (allowed: x, y)"`: how a message ends about a word that is none of those allowed."""
    names = list(allowed)
    hint = did_you_mean(word, names) if isinstance(word, str) else ""
    return f"{hint} (allowed: {', '.join(names) or 'none'})"


def _completions(word: str, names: Sequence[str]) -> list[str]:
    """The shortest names that start with a word, or else contain it as a word; none that extends another result."""
    if not SHORTEST <= len(word) <= SHOWN:
        return []
    inside = re.compile(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])")
    found = [name for name in names if name.lower().startswith(word)]
    found = found or [name for name in names if inside.search(name.lower())]
    chosen: list[str] = []
    for name in sorted(found, key=len):
        if len(chosen) < SUGGESTED and not name.startswith(tuple(chosen)):
            chosen.append(name)
    return chosen


def of_type(value: object) -> str:
    """`of type int`, about a value of a wrong type; without an article, as neither fits before every name."""
    return f"of type {type(value).__name__}"


def shown(value: Any) -> str:
    """A short view of what was written, on one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    if isinstance(value, str) and len(value) > SHOWN:
        value = value[:SHOWN] + "..."
    return repr(value)
