"""The rows of `rank` as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.table import Table

from statqat_sim.ranking import RankRow, filled, in_order
from statqat_sim.report.pool import ALL_TENSORS, mean
from statqat_sim.report.table import plain_table, scale_text, sqnr_text

STAR = "*"


def rank_table(rows: Sequence[RankRow]) -> Table:
    """One section for each tensor, in the order of the rows."""
    table = plain_table()
    for name in ("tensor", "format"):
        table.add_column(name, overflow="fold")
    for name in ("bits per\nelement", "SQNR\n(dB)", "scale"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("front")
    for _, group in groupby(rows, key=lambda row: row["tensor"]):
        for row in group:
            table.add_row(*_texts(row))
        table.add_section()
    return table


def _texts(row: RankRow) -> Iterator[str]:
    yield row["tensor"]
    yield row["format"]
    yield f"{row['bits_per_element']:g}"
    yield sqnr_text(row)
    yield scale_text(row["scale"])
    yield STAR if row["front"] else ""


def on_front(rows: Sequence[RankRow]) -> list[RankRow]:
    """The rows on the Pareto front."""
    return [row for row in rows if row["front"]]


def together(rows: Sequence[RankRow]) -> list[RankRow]:
    """The ranking of all tensors as if they were one, each with its own scales: sums over all finite inputs.

    It has the formats that every tensor has; for a single tensor it is that tensor's ranking.
    """
    tensors = {row["tensor"] for row in rows}
    if len(tensors) == 1:
        return list(rows)
    groups: dict[str, list[RankRow]] = {}
    for row in rows:
        groups.setdefault(row["format"], []).append(row)
    return in_order(_pooled(group) for group in groups.values() if len(group) == len(tensors))


def _pooled(rows: Sequence[RankRow]) -> RankRow:
    counts = [row["elements"] - row["nonfinite"] for row in rows]
    means = mean([row["mse"] for row in rows], counts), mean([row["power"] for row in rows], counts)
    total = sum(row["elements"] for row in rows)
    left_out = sum(row["nonfinite"] for row in rows)
    pooled: RankRow = {**rows[0], "tensor": ALL_TENSORS, "scale": None, "elements": total, "nonfinite": left_out}
    return filled(pooled, means)
