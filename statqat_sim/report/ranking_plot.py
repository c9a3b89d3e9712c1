"""The plot of SQNR over bits per element, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from statqat_sim.ranking import RankRow
from statqat_sim.report.plot import COLOURS, GREY, check_suffix, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (8.6, 6.4)
"""Width and height in inches: a page in landscape."""

AXES_HEIGHT = 5.4
LABEL_HEIGHT = 0.15
LABEL_SIZE = 7.5
KINDS = {"number": ("o", COLOURS[0], "number formats"), "block": ("s", COLOURS[1], "block formats")}
TICKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)
ROOM_FOR_NAMES = 0.4
"""The axis begins at this multiple of the fewest bits of a format."""
THREAD = 1.12
"""A mark's bits divided by this is where its name ends."""
FLOOR_DB = 6
"""Formats more than this below the front's lowest SQNR are not drawn."""


def plot_ranking(rows: Sequence[RankRow], path: Path) -> None:
    """Draw a mark for each format of one ranking, and a line and names along the front; writes the file atomically.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if its suffix is unknown, or no format has a finite SQNR.
    """
    from matplotlib.figure import Figure

    check_suffix(path)
    finite = [row for row in rows if row["sqnr_db"] is not None]
    if not finite:
        raise ValueError(f"{path}: no format has a finite SQNR; nothing to draw")
    figure = Figure(SIZE, layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, finite)
    axes.set_title(rows[0]["tensor"], loc="left", fontsize=10, color=GREY)
    axes.set_xlabel("bits per element", loc="left")
    axes.set_ylabel("SQNR (dB)")
    style(axes)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    save(figure, path)


def _draw(axes: Axes, rows: Sequence[RankRow]) -> None:
    front = [row for row in rows if row["front"]]
    bottom = min(map(_db, front or rows)) - FLOOR_DB
    top = max(map(_db, rows)) + FLOOR_DB
    least, most = (end(row["bits_per_element"] for row in rows) for end in (min, max))
    ticks: list[float] = [bits for bits in TICKS if least <= bits <= most] or [least]
    for kind, (marker, colour, label) in KINDS.items():
        some = [row for row in rows if row["kind"] == kind and _db(row) >= bottom]
        if some:
            axes.scatter(*_places(some), s=16, marker=marker, color=colour, alpha=0.5, linewidths=0, label=label)
            axes.scatter(*_places([row for row in some if row["front"]]), s=26, marker=marker, color=colour)
    axes.step(*_places(front), where="pre", color=GREY, linewidth=0.8, label="Pareto front")
    axes.set_ylim(bottom, top)
    axes.set_xscale("log", base=2)
    axes.set_xlim(least * ROOM_FOR_NAMES, most * 1.12)
    axes.set_xticks(ticks, [f"{bits:g}" for bits in ticks])
    axes.minorticks_off()
    _name(axes, front, (bottom, top))


def _name(axes: Axes, front: Sequence[RankRow], limits: tuple[float, float]) -> None:
    """Draw the names of the front, left of and above its marks, moved up until apart, with lines to the marks."""
    bottom, top = limits
    gap, level = LABEL_HEIGHT * (top - bottom) / AXES_HEIGHT, bottom
    for row in reversed(front):
        level = max(_db(row), level + gap)
        axes.annotate(
            f"{row['format']}  {_db(row):.1f}",
            (row["bits_per_element"], _db(row)),
            (row["bits_per_element"] / THREAD, level),
            fontsize=LABEL_SIZE,
            ha="right",
            va="center",
            color=KINDS[row["kind"]][1],
            arrowprops={
                "arrowstyle": "-",
                "color": GREY,
                "linewidth": 0.4,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (1, 0.5),
            },
        )


def _places(rows: Sequence[RankRow]) -> tuple[list[float], list[float]]:
    return [row["bits_per_element"] for row in rows], [_db(row) for row in rows]


def _db(row: RankRow) -> float:
    return row["sqnr_db"] or 0.0
