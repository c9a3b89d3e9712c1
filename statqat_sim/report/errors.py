"""The rows of `measure` as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TypeAlias, cast

from rich.table import Table

from statqat_sim.measurement import Row
from statqat_sim.ranking import quality
from statqat_sim.report.expected import ExpectedRow
from statqat_sim.report.pool import ALL_TENSORS, by_format, pooled
from statqat_sim.report.table import DIVIDER, NOTHING, number_text, plain_table, scale_text, sqnr_text

Cell: TypeAlias = Callable[[Row], str]

SQNR = "SQNR\n(dB)"
TEXTS = ("tensor", "format", "quantizer")
TENSOR_WIDTH = 24
"""The minimum width of tensor names, in characters, before other columns are dropped to make room."""


def error_table(rows: Sequence[Row], width: int) -> Table:
    """One row for each tensor and format, best SQNR first within a tensor; then rows for all tensors together.

    If the table is wider than `width` characters, less important columns are left out; names are folded, not cut.
    """
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row["tensor"])]
    if len(groups) > 1:
        groups.append([pooled(group) for group in by_format(rows).values()])
    columns = _with_priors(COLUMNS, list(_theory(rows[0])) if rows else [])
    if len({row["quantizer"] for row in rows}) == 1:
        del columns["quantizer"]
    for name in LEFT_OUT_FIRST:
        if _width(columns, groups) > width:
            del columns[name]
    table = plain_table()
    for name in columns:
        is_text = name in TEXTS
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for group in groups:
        for row in sorted(group, key=quality, reverse=True):
            table.add_row(*(cell(row) for cell in columns.values()))
        table.add_section()
    return table


def _with_priors(columns: Mapping[str, Cell], priors: Sequence[str]) -> dict[str, Cell]:
    """The columns with one for each prior inserted after the SQNR."""
    expected: dict[str, Cell] = {f"{name}\n(dB)": partial(_expected, name) for name in priors}
    place = list(columns).index(SQNR) + 1
    return dict([*list(columns.items())[:place], *expected.items(), *list(columns.items())[place:]])


def _expected(prior: str, row: Row) -> str:
    """The SQNR that theory expects under a prior; all tensors together have none."""
    return NOTHING if row["tensor"] == ALL_TENSORS else number_text(_theory(row)[prior], ".2f")


def _theory(row: Row) -> Mapping[str, float | None]:
    """The expected SQNR under each prior; empty if none was asked for."""
    return cast(ExpectedRow, row).get("theory", {})


def _width(columns: Mapping[str, Cell], groups: Sequence[Sequence[Row]]) -> int:
    """The width of the table in characters, with tensor names folded."""
    widths = {name: max(map(len, name.split("\n"))) for name in columns}
    for name, cell in columns.items():
        widths[name] = max(widths[name], *(len(cell(row)) for group in groups for row in group))
    widths["tensor"] = min(widths["tensor"], TENSOR_WIDTH)
    return sum(widths.values()) + DIVIDER * (len(widths) - 1)


def _percent(fraction: float | None) -> str:
    return number_text(None if fraction is None else 100 * fraction, ".3f")


COLUMNS: Mapping[str, Cell] = {
    "tensor": lambda row: row["tensor"],
    "format": lambda row: row["format"],
    "quantizer": lambda row: row["quantizer"],
    SQNR: sqnr_text,
    "MSE": lambda row: number_text(row["mse"], ".3e"),
    "max\nerror": lambda row: number_text(row["max_error"], ".3e"),
    "bits per\nelement": lambda row: number_text(row["bits_per_element"], "g"),
    "entropy\n(bits)": lambda row: number_text(row["entropy_bits"], ".2f"),
    "clipped\n(%)": lambda row: _percent(row["clipped_fraction"]),
    "flushed\n(%)": lambda row: _percent(row["flushed_fraction"]),
    "scale": lambda row: scale_text(row["scale"]),
}

LEFT_OUT_FIRST = ("max\nerror", "entropy\n(bits)", "scale", "flushed\n(%)", "clipped\n(%)", "MSE")
