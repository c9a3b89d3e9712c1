"""What goes to the standard output and to the standard error, on terminals and in pipes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from statqat_sim.errors import SpecError, UnsupportedError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

USER_ERRORS = (SpecError, UnsupportedError, LookupError, OSError, ValueError)
"""What a user can put right: told without a traceback."""

STDOUT = "-"
"""What stands for the standard output in the place of a file."""

PIPE_WIDTH = 1 << 14
"""Columns where there is no terminal: wider than any table, so that nothing is folded."""


def console(*, error: bool = False) -> Console:
    """The standard output or the standard error; names in square brackets are no markup."""
    from rich.console import Console

    stream = Console(stderr=error, markup=False, highlight=False, emoji=False)
    if not stream.is_terminal:
        stream.width = PIPE_WIDTH
    return stream


def show_table(table: RenderableType) -> None:
    """Print a table: folded to the terminal's width, or as wide as it is."""
    screen = console()
    with screen.capture() as captured:
        screen.print(table)
    lines = captured.get().splitlines()
    typer.echo("\n".join(lines if screen.is_terminal else map(str.rstrip, lines)))


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on the standard error that leaves no trace; nothing where that is no terminal."""
    from rich.progress import Progress

    screen = console(error=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as bar:
        yield bar


def note(text: str) -> None:
    """Tell something beside the result."""
    typer.echo(f"note: {text}", err=True)


def error_text(error: BaseException) -> str:
    """What is wrong: spec problems one to a line, as compilers tell them."""
    if isinstance(error, SpecError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"error: {error.filename}: {error.strerror}"
    return f"error: {error}"


def json_text(items: Iterable[Mapping[str, Any]]) -> str:
    """A JSON list, one item to a line. NaN and Inf do not occur."""
    lines = [json.dumps(item, allow_nan=False) for item in items]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def write_json(items: Iterable[Mapping[str, Any]], target: str) -> None:
    """A JSON list to a file or to the standard output."""
    write_text(json_text(items), target)


def write_text(text: str, target: str) -> None:
    """Text to a file or, for STDOUT, to the standard output."""
    if target == STDOUT:
        typer.echo(text)
        return
    from statqat_sim.atomic import replacing

    with replacing(Path(target)) as path:
        path.write_text(text + "\n", "utf-8")
