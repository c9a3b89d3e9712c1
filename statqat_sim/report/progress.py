"""A progress bar on terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def shown_progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, with a progress bar on standard error while they are consumed; no bar if that is not a terminal."""
    console = Console(stderr=True)
    return iter(track(items, what, console=console, transient=True, disable=not console.is_terminal))
