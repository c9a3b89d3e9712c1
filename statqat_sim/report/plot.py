"""SQNR against bits, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from statqat_sim.measurement import Row
from statqat_sim.report.atomic import replacing
from statqat_sim.report.pool import by_format, pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#3b6fb6", "#c8553d", "#5a8f4a", "#8a5fa8", "#b8862b", "#3f8f8f")
LABEL_HEIGHT = 0.042
"""The least distance of two labels, as a share of the picture's height."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One format: over all tensors, and the range over tensors."""

    label: str
    bits: float
    sqnr_db: float
    low: float
    high: float


def check_suffix(path: Path) -> None:
    """Raises ValueError unless pictures can be written to a file of this name."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: not a picture's name; allowed: {', '.join(SUFFIXES)}")


def plot_errors(rows: Sequence[Row], path: Path) -> None:
    """Draw one marker for each format: its SQNR over all tensors; a line spans the tensors' own. Written whole or not.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if its suffix is unknown, or no format has a finite SQNR.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_suffix(path)
    marks = _marks(rows)
    if not marks:
        raise ValueError(f"{path}: no format has a finite SQNR; nothing to draw")
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, marks)
    count = len({row["tensor"] for row in rows})
    span = f"all {count} tensors together; lines: from the worst to the best tensor" if count > 1 else rows[0]["tensor"]
    axes.set_title(span, loc="left", fontsize=10, color="#555555")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _marks(rows: Sequence[Row]) -> list[Mark]:
    """The formats that have a finite SQNR, best first."""
    groups = by_format(rows)
    named = len({quantizer for _, quantizer in groups}) > 1
    marks = []
    for (fmt, quantizer), group in groups.items():
        together = pooled(group)
        own = [row["sqnr_db"] for row in group if row["sqnr_db"] is not None]
        if together["sqnr_db"] is not None:
            label = f"{fmt}, {quantizer}" if named else fmt
            marks.append(Mark(label, together["bits_per_element"], together["sqnr_db"], min(own), max(own)))
    return sorted(marks, key=lambda mark: -mark.sqnr_db)


def _draw(axes: Axes, marks: Sequence[Mark]) -> None:
    widths = sorted({mark.bits for mark in marks})
    low, high = min(mark.low for mark in marks), max(mark.high for mark in marks)
    margin = 0.08 * max(high - low, 1)
    axes.set_ylim(low - margin, high + margin)
    for bits in widths:
        group = [mark for mark in marks if mark.bits == bits]
        heights = _apart([mark.sqnr_db for mark in group], LABEL_HEIGHT * (high - low + 2 * margin))
        for index, (mark, height) in enumerate(zip(group, heights, strict=True)):
            colour = COLOURS[index % len(COLOURS)]
            axes.vlines(mark.bits, mark.low, mark.high, color=colour, alpha=0.35, linewidth=1.5)
            axes.plot(mark.bits, mark.sqnr_db, "o", color=colour, markersize=6)
            axes.annotate(
                f"{mark.label}  {mark.sqnr_db:.1f}",
                (mark.bits, mark.sqnr_db),
                (mark.bits, height),
                textcoords="data",
                color=colour,
                fontsize=9,
                va="center",
            )
    axes.set_xlabel("bits per element")
    axes.set_ylabel("SQNR (dB)")
    axes.set_xticks(widths)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """Falling heights moved as little as needed to be at least `least` apart, from the highest down."""
    placed: list[float] = []
    for height in heights:
        placed.append(min(height, placed[-1] - least) if placed else height)
    return placed
