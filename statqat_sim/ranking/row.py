"""One row of `rank`, the order of rows, and which of them lie on the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias, TypedDict

from statqat_sim.metrics import decibels
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format

Kind: TypeAlias = Literal["number", "block"]


class RankRow(TypedDict):
    """One tensor in one format. JSON-ready: None stands for every number that is undefined, or not finite."""

    tensor: str
    format: str
    kind: Kind
    bits_per_element: float
    """Bits of the codes, and of the scales and offsets of whole blocks. A scale for a tensor or channel is not counted.
    """
    sqnr_db: float | None
    """10·log10(Σx² / Σ(x − y)²), in dB; None without any error (then `mse` is 0)."""
    mse: float | None
    """Mean of (x − y)²; where there are weights, the weighted one."""
    power: float | None
    """Mean of x², in the same way."""
    scale: float | list[float] | None
    """The best one; per channel a list. None for block formats, which keep scales of their own."""
    front: bool
    """Whether no other format gives as much in fewer bits, or more in as many."""
    elements: int
    nonfinite: int
    """How many inputs are NaN or Inf; they are left out."""


def rank_row(
    tensor: str,
    format: Format,
    means: tuple[float | None, float | None],
    scale: float | list[float] | None,
    counts: tuple[int, int],
) -> RankRow:
    """A row that is not on the front yet.

    Args:
        tensor: what it is called.
        format: the format.
        means: of (x − y)² and of x²; None: undefined.
        scale: see `RankRow`.
        counts: of the elements, and of those that are not finite.
    """
    is_block = isinstance(format, BlockFormat)
    return filled(
        {
            "tensor": tensor,
            "format": format.name,
            "kind": "block" if is_block else "number",
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


def filled(row: RankRow, means: tuple[float | None, float | None]) -> RankRow:
    """The row with other means, of (x − y)² and of x²."""
    mse, power = (None if each is None or not math.isfinite(each) else each for each in means)
    ratio = math.nan if mse is None or power is None else decibels(power, mse)
    return {**row, "sqnr_db": ratio if math.isfinite(ratio) else None, "mse": mse, "power": power}


def in_order(rows: Iterable[RankRow]) -> list[RankRow]:
    """Best SQNR first, of equals the one of fewer bits; those on the front are marked.

    A format is on the front if no other has at least its SQNR in fewer bits, or a higher one in as many. What has no
    SQNR is never on it.
    """
    ordered = sorted(rows, key=lambda row: (-_quality(row), row["bits_per_element"], row["format"]))
    marked: list[RankRow] = []
    fewest = math.inf  # bits of all that are at least as good
    for row in ordered:
        bits, quality = row["bits_per_element"], _quality(row)
        is_level = bool(marked) and (bits, quality) == (marked[-1]["bits_per_element"], _quality(marked[-1]))
        on_front = quality > -math.inf and (bits < fewest or (is_level and marked[-1]["front"]))
        marked.append({**row, "front": on_front})
        fewest = min(fewest, bits)
    return marked


def _quality(row: RankRow) -> float:
    """The SQNR, Inf without any error; -Inf where it is undefined or infinitely wrong."""
    if row["mse"] == 0:
        return math.inf
    return -math.inf if row["sqnr_db"] is None else row["sqnr_db"]
