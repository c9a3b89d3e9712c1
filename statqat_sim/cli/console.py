"""Standard output and standard error, on terminals and in pipes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from statqat_sim.errors import SpecError, UnsupportedError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

USER_ERRORS = (SpecError, UnsupportedError, LookupError, OSError, ValueError)
"""Errors that the user can correct: reported without a traceback."""

STDOUT = "-"
"""The file name that stands for standard output."""

PIPE_WIDTH = 1 << 14
"""Width in characters without a terminal: wider than any table, so that nothing is folded."""


def console(*, error: bool = False) -> Console:
    """A console on standard output or standard error, without markup in square brackets."""
    from rich.console import Console

    stream = Console(stderr=error, markup=False, highlight=False, emoji=False)
    if not stream.is_terminal:
        stream.width = PIPE_WIDTH
    return stream


def show_table(table: RenderableType) -> None:
    """Print a table, folded to the terminal's width; unfolded without a terminal."""
    screen = console()
    with screen.capture() as captured:
        screen.print(table)
    lines = captured.get().splitlines()
    typer.echo("\n".join(lines if screen.is_terminal else map(str.rstrip, lines)))


@contextmanager
def progress() -> Iterator[Progress]:
    """A transient progress bar on standard error; none if that is not a terminal."""
    from rich.progress import Progress

    screen = console(error=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as bar:
        yield bar


def note(text: str) -> None:
    """Print a note to standard error."""
    typer.echo(f"note: {text}", err=True)


def error_text(error: BaseException) -> str:
    """The message of an error; a SpecError has one line per problem, in the style of compilers."""
    if isinstance(error, SpecError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"error: {error.filename}: {error.strerror}"
    return f"error: {error}"


@contextmanager
def types_told() -> Iterator[None]:
    """Tells the wrong type of an array as its file's fault: elsewhere a TypeError is a bug."""
    try:
        yield
    except TypeError as error:
        raise ValueError(str(error)) from error


def json_text(items: Iterable[Mapping[str, Any]]) -> str:
    """A JSON list, one item per line.

    Raises:
        ValueError: if an item has NaN or Inf.
    """
    lines = [json.dumps(item, allow_nan=False) for item in items]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def show_or_write(items: Sequence[Mapping[str, Any]], table: Callable[[], RenderableType], json: str | None) -> None:
    """Print the table of items; with `--json`, write their list instead."""
    if json:
        write_json(items, json)
    else:
        show_table(table())


def write_json(items: Iterable[Mapping[str, Any]], target: str) -> None:
    """Write a JSON list to a file or to standard output."""
    write_text(json_text(items), target)


def write_text(text: str, target: str) -> None:
    """Write text to a file, or to standard output if `target` is STDOUT."""
    if target == STDOUT:
        typer.echo(text)
        return
    from statqat_sim.atomic import replacing

    with replacing(Path(target)) as path:
        path.write_text(text + "\n", "utf-8")
