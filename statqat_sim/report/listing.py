"""Tables of number and block formats, and the facts of one format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from rich.table import Table

from statqat_sim.report.block_facts import KIND, block_facts, block_texts
from statqat_sim.report.facts import fact_texts, facts
from statqat_sim.report.table import plain_table
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format

COLUMNS = ("name", "bits", "kind", "max", "smallest", "title")
RIGHT = {"bits", "max", "smallest"}


def kind_of(fmt: Format) -> str:
    """The kind of a number format's element, or `block`."""
    return KIND if isinstance(fmt, BlockFormat) else fmt.element.kind


def facts_of(fmt: Format) -> dict[str, Any]:
    """All facts of a format, for JSON."""
    return block_facts(fmt) if isinstance(fmt, BlockFormat) else facts(fmt)


def fact_table(fmt: Format) -> Table:
    """The facts of one format, one per row."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in block_texts(fmt) if isinstance(fmt, BlockFormat) else fact_texts(fmt):
        table.add_row(label, text)
    return table


def format_table(formats: Iterable[Format]) -> Table:
    """One row for each format."""
    table = plain_table()
    for column in COLUMNS:
        justify: Literal["left", "right"] = "right" if column in RIGHT else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column != "title")
    for fmt in formats:
        table.add_row(*_cells(fmt))
    return table


def markdown_table(formats: Iterable[Format]) -> str:
    """One row for each format, in Markdown."""
    rules = ("---:" if column in RIGHT else "---" for column in COLUMNS)
    rows = [COLUMNS, rules, *map(_cells, formats)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _cells(fmt: Format) -> tuple[str, ...]:
    """A format's row. Block formats show bits per element, and no limits, which depend on the scales."""
    if isinstance(fmt, BlockFormat):
        return fmt.name, f"{fmt.bits_per_element:.4g}", KIND, "-", "-", fmt.title
    return fmt.name, str(fmt.bits), fmt.element.kind, f"{fmt.max:.6g}", f"{fmt.smallest:.6g}", fmt.title
