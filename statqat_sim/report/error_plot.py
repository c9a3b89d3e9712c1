"""The plot of SQNR against bits per element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from statqat_sim.measurement import Row
from statqat_sim.report.plot import CHARACTER_WIDTH, COLOURS, FRAME, GREY, check_suffix, save, style
from statqat_sim.report.pool import by_format, pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# lengths in inches
LABEL_HEIGHT = 0.19
DODGE = 0.13  # between marks of one column
GAP = 0.3  # between columns

LEAST_RANGE_DB = 6


@dataclass(frozen=True, slots=True)
class Mark:
    """One format: its SQNR over all tensors, and the range of the tensors' own."""

    name: str
    bits: float
    sqnr_db: float
    low: float
    high: float


def plot_errors(rows: Sequence[Row], path: Path) -> None:
    """Draw one marker for each format, its SQNR over all tensors, and a line over the range of the tensors' own.

    The file is written atomically.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if its suffix is unknown, or no format has a finite SQNR.
    """
    from matplotlib.figure import Figure

    check_suffix(path)
    marks = _marks(rows)
    if not marks:
        raise ValueError(f"{path}: no format has a finite SQNR; nothing to draw")
    columns = [[mark for mark in marks if mark.bits == bits] for bits in sorted({mark.bits for mark in marks})]
    width, height = max(sum(map(_width, columns)), 4), max(LABEL_HEIGHT * max(map(len, columns)), 3.5)
    figure = Figure((width + FRAME, height + FRAME), layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, columns, height)
    axes.set_xlim(-GAP / 2, width - GAP / 2)
    count = len({row["tensor"] for row in rows})
    what = f"{count} tensors together; lines span the worst to the best of them" if count > 1 else rows[0]["tensor"]
    axes.set_title(what, loc="left", fontsize=10, color=GREY)
    save(figure, path)


def _marks(rows: Sequence[Row]) -> list[Mark]:
    """The formats that have a finite SQNR, best first."""
    groups = by_format(rows)
    named = len({quantizer for _, quantizer in groups}) > 1
    marks = []
    for (fmt, quantizer), group in groups.items():
        together = pooled(group)
        own = [row["sqnr_db"] for row in group if row["sqnr_db"] is not None]
        if together["sqnr_db"] is not None:
            name = f"{fmt}, {quantizer}" if named else fmt
            marks.append(Mark(name, together["bits_per_element"], together["sqnr_db"], min(own), max(own)))
    return sorted(marks, key=lambda mark: -mark.sqnr_db)


def _width(column: Sequence[Mark]) -> float:
    """The width of a column in inches, with room for every mark and label."""
    return DODGE * len(column) + CHARACTER_WIDTH * max(len(_label(mark)) for mark in column) + GAP


def _label(mark: Mark) -> str:
    return f"{mark.name}  {mark.sqnr_db:.1f}"


def _draw(axes: Axes, columns: Sequence[Sequence[Mark]], height: float) -> None:
    """Draw into axes of this height in inches; one unit of x is one inch."""
    low = min(mark.low for column in columns for mark in column)
    high = max(mark.high for column in columns for mark in column)
    margin = max(0.06 * (high - low), (LEAST_RANGE_DB - (high - low)) / 2)
    bottom, top = low - margin, high + margin
    places = [sum(map(_width, columns[:index])) for index in range(len(columns))]
    for place, column in zip(places, columns, strict=True):
        end = place + DODGE * len(column)
        levels = apart([mark.sqnr_db for mark in column], LABEL_HEIGHT * (top - bottom) / height, bottom)
        for index, (mark, level) in enumerate(zip(column, levels, strict=True)):
            colour, x = COLOURS[index % len(COLOURS)], place + DODGE * index
            axes.vlines(x, mark.low, mark.high, color=colour, alpha=0.35, linewidth=1.5)
            axes.plot(x, mark.sqnr_db, "o", color=colour, markersize=6)
            axes.plot((x, end), (mark.sqnr_db, level), color=colour, linewidth=0.6, alpha=0.6)
            axes.annotate(
                _label(mark), (end, level), (3, 0), textcoords="offset points", color=colour, fontsize=9, va="center"
            )
    axes.set_ylim(bottom, top)
    axes.set_xticks(places, [f"{column[0].bits:g}" for column in columns])
    axes.set_xlabel("bits per element", loc="left")
    axes.set_ylabel("SQNR (dB)")
    style(axes, "y")


def apart(heights: Sequence[float], least: float, bottom: float) -> list[float]:
    """Descending heights moved at least `least` apart, as much down as up, but kept above `bottom`."""
    count = len(heights)
    down, up = list(heights), list(heights)
    for index in range(1, count):
        down[index] = min(heights[index], down[index - 1] - least)
        up[count - 1 - index] = max(heights[count - 1 - index], up[count - index] + least)
    middle = [(low + high) / 2 for low, high in zip(down, up, strict=True)]  # means of heights that are apart are apart
    floors = [bottom + least * (count - index - 0.5) for index in range(count)]
    return list(map(max, middle, floors))
