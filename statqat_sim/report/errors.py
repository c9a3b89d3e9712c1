"""The rows of `measure`, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from rich import box
from rich.table import Table

from statqat_sim.measurement import Row
from statqat_sim.report.pool import by_format, pooled

TEXTS = ("tensor", "format", "quantizer")


def error_table(rows: Sequence[Row]) -> Table:
    """One row for each tensor and format, best SQNR first within a tensor; then all tensors taken together."""
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row["tensor"])]
    if len(groups) > 1:
        groups.append([pooled(group) for group in by_format(rows).values()])
    several = len({row["quantizer"] for row in rows}) > 1
    columns = {name: cell for name, cell in COLUMNS.items() if several or name != "quantizer"}
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in TEXTS else "right", overflow="fold")
    for group in groups:
        for row in sorted(group, key=_quality, reverse=True):
            table.add_row(*(cell(row) for cell in columns.values()))
        table.add_section()
    return table


def _quality(row: Row) -> float:
    """The SQNR, Inf without any error; what is undefined or infinitely wrong comes last."""
    if row["mse"] == 0:
        return float("inf")
    return float("-inf") if row["sqnr_db"] is None else row["sqnr_db"]


def _sqnr(row: Row) -> str:
    return "exact" if row["mse"] == 0 else _text(row["sqnr_db"], ".2f")


def _scale(row: Row) -> str:
    scale = row["scale"]
    if not isinstance(scale, list):
        return f"{scale:.4g}"
    return f"{min(scale):.4g} to {max(scale):.4g}" if scale else "-"


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.3f}"


COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "tensor": lambda row: row["tensor"],
    "format": lambda row: row["format"],
    "quantizer": lambda row: row["quantizer"],
    "SQNR (dB)": _sqnr,
    "MSE": lambda row: _text(row["mse"], ".3e"),
    "max error": lambda row: _text(row["max_error"], ".3e"),
    "bits/element": lambda row: _text(row["bits_per_element"], "g"),
    "entropy (bits)": lambda row: _text(row["entropy_bits"], ".2f"),
    "clipped (%)": lambda row: _percent(row["clipped_fraction"]),
    "flushed (%)": lambda row: _percent(row["flushed_fraction"]),
    "scale": _scale,
}
