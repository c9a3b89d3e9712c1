"""The common style of tables."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from statqat_sim.measurement import Row
    from statqat_sim.ranking import RankRow

DIVIDER = 3
"""Characters between two columns."""

NOTHING = "-"
"""The cell of a number that is undefined or not known."""


def plain_table(*columns: str) -> Table:
    """A table without a frame; further columns may be added to it."""
    return Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)


def table_of(columns: Iterable[str], rows: Iterable[Sequence[str]], right: Container[str] = ()) -> Table:
    """A plain table of these rows, whose long texts are folded; `right`: the columns with numbers."""
    table = plain_table()
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def number_text(value: float | None, form: str) -> str:
    """A number in a format specification."""
    return NOTHING if value is None else format(value, form)


def sqnr_text(row: Row | RankRow) -> str:
    """The SQNR of a row in dB."""
    return "exact" if row["mse"] == 0 else number_text(row["sqnr_db"], ".2f")


def scale_text(scale: float | list[float] | None) -> str:
    """One scale, or the range of the channels' scales."""
    if not isinstance(scale, list):
        return number_text(scale, ".4g")
    return f"{min(scale):.4g} to {max(scale):.4g}" if scale else NOTHING
