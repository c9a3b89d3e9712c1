"""One row of `rank`, the order of rows, and their Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypedDict

from statqat_sim.measurement import Row
from statqat_sim.metrics import finite_decibels, finite_or_none
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.headers import Kind


class RankRow(TypedDict):
    """One tensor in one format. JSON-ready: None stands for a number that is undefined or not finite."""

    tensor: str
    format: str
    kind: Kind
    bits_per_element: float
    """Bits of the code and a full block's share of its scales and offsets; scales of a tensor or channel not counted.
    """
    sqnr_db: float | None
    """10·log10(Σx² / Σ(x − y)²), in dB; None if the error is zero (then `mse` is 0)."""
    mse: float | None
    """Mean of (x − y)², weighted if there are weights."""
    power: float | None
    """Mean of x², likewise."""
    scale: float | list[float] | None
    """The best scale; per channel a list. None for block formats, which store their own scales."""
    front: bool
    """Whether no other format has at least this SQNR in fewer bits, or a higher SQNR in as many."""
    elements: int
    nonfinite: int
    """The number of inputs that are NaN or Inf; they are left out."""


def rank_row(
    tensor: str,
    format: Format,
    means: tuple[float | None, float | None],
    scale: float | list[float] | None,
    counts: tuple[int, int],
) -> RankRow:
    """A row not yet marked as on the front.

    Args:
        tensor: the tensor's name.
        format: the format.
        means: means of (x − y)² and of x²; None: undefined.
        scale: see `RankRow`.
        counts: the number of elements, and of those that are NaN or Inf.
    """
    return filled(
        {
            "tensor": tensor,
            "format": format.name,
            "kind": kind_of(format),
            "bits_per_element": format.bits_per_element,
            "sqnr_db": None,
            "mse": None,
            "power": None,
            "scale": scale,
            "front": False,
            "elements": counts[0],
            "nonfinite": counts[1],
        },
        means,
    )


def kind_of(format: Format) -> Kind:
    """The kind of a format."""
    return "block" if isinstance(format, BlockFormat) else "number"


def filled(row: RankRow, means: tuple[float | None, float | None]) -> RankRow:
    """The row with new means of (x − y)² and x², and their SQNR."""
    mse, power = (None if each is None else finite_or_none(each) for each in means)
    return {**row, "sqnr_db": finite_decibels(power, mse), "mse": mse, "power": power}


def in_order(rows: Iterable[RankRow]) -> list[RankRow]:
    """Rows by descending SQNR, then by ascending bits, with the Pareto front marked.

    A format is on the front if no other has at least its SQNR in fewer bits, or a higher SQNR in as many. Rows without
    an SQNR are never on it, except those without error.
    """
    ordered = sorted(rows, key=lambda row: (-quality(row), row["bits_per_element"], row["format"]))
    marked: list[RankRow] = []
    fewest = math.inf  # bits among all rows at least as good
    for row in ordered:
        bits, ours = row["bits_per_element"], quality(row)
        is_level = bool(marked) and (bits, ours) == (marked[-1]["bits_per_element"], quality(marked[-1]))
        on_front = ours > -math.inf and (bits < fewest or (is_level and marked[-1]["front"]))
        marked.append({**row, "front": on_front})
        fewest = min(fewest, bits)
    return marked


def quality(row: Row | RankRow) -> float:
    """The SQNR in dB: Inf if the error is zero, -Inf if the SQNR is undefined or not finite."""
    if row["mse"] == 0:
        return math.inf
    return -math.inf if row["sqnr_db"] is None else row["sqnr_db"]
