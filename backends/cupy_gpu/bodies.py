"""C statements that have bodies."""

from __future__ import annotations

from collections.abc import Iterable


def indented(lines: Iterable[str]) -> list[str]:
    """Lines of a body; directives stay where they are."""
    return [line if line.startswith("#") else f"    {line}" for line in lines]


def block(head: str, lines: Iterable[str]) -> list[str]:
    """A statement with a body in braces."""
    return [f"{head} {{".lstrip(), *indented(lines), "}"]


def unrolled(variable: str, count: int, lines: Iterable[str]) -> list[str]:
    """A loop whose arrays the compiler keeps in registers."""
    return ["#pragma unroll", *block(f"for (u32 {variable} = 0; {variable} < {count}; {variable}++)", lines)]
