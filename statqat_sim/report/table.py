"""The common style of tables."""

from __future__ import annotations

from rich import box
from rich.table import Table


def plain_table(*columns: str) -> Table:
    """A table without a frame; further columns may be added to it."""
    return Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
