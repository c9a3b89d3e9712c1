"""Prints C statements with bodies."""

from __future__ import annotations

from collections.abc import Iterable


def indented(lines: Iterable[str]) -> list[str]:
    """Lines indented by one level; preprocessor directives stay as they are."""
    return [line if line.startswith("#") else f"    {line}" for line in lines]


def block(head: str, lines: Iterable[str]) -> list[str]:
    """A statement with a body in braces."""
    return [f"{head} {{".lstrip(), *indented(lines), "}"]


def unrolled(variable: str, count: int, lines: Iterable[str]) -> list[str]:
    """A fully unrolled loop, so that the compiler keeps the arrays it indexes in registers."""
    return ["#pragma unroll", *block(f"for (u32 {variable} = 0; {variable} < {count}; {variable}++)", lines)]
