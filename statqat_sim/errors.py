"""The errors that users see: what is wrong, where, what is allowed, and the nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a spec file. Line and column count from 1, as editors do."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {path}{self.message}"


class SpecError(ValueError):
    """A spec is wrong. One line per problem, each `file:line:column: key.path: what; what is allowed`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))
        super().__init__("\n".join(map(str, self.problems)))


class UnsupportedError(NotImplementedError):
    """The request is meaningful, but this version, backend or format does not do it."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest of `allowed`, or the empty string."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
