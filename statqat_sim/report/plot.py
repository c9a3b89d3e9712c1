"""What plots share: their files, their colours, their style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from statqat_sim.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#3b6fb6", "#c8553d", "#5a8f4a", "#8a5fa8", "#b8862b", "#3f8f8f")
GREY, GRID = "#555555", "#e6e6e6"
DPI = 150

CHARACTER_WIDTH = 0.085
"""Of a label, in inches."""

FRAME = 1.0
"""The margin around axes, in inches."""


def check_suffix(path: Path) -> None:
    """Raises ValueError unless the file's suffix is that of a supported picture format."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: not a picture's name; allowed: {', '.join(SUFFIXES)}")


def style(axes: Axes, grid: Literal["both", "y"] = "both") -> None:
    """The common style of axes: a light grid behind the data, and no frame at the top and right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Write a picture atomically.

    Raises:
        OSError: if it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
