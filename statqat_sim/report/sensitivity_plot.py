"""The plot of SQNR and loss change by layer and format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from statqat_sim.report.plot import CHARACTER_WIDTH, FRAME, GREY, check_suffix, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from statqat_sim.qat.sensitivity_table import Sensitivity

CELL = (0.95, 0.28)
"""Width and height of a cell in inches."""

BAR = 1.2
SQNR_COLOURS, LOSS_COLOURS = "viridis", "magma_r"
TEXT_SIZE = 7


def plot_sensitivity(table: Sensitivity, path: Path) -> None:
    """Draw one cell for each layer and format: its SQNR and, if batches were given, the change of the loss.

    The file is written atomically.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if its suffix is unknown.
    """
    from matplotlib.figure import Figure

    check_suffix(path)
    sqnr = [[table.row(layer, name).sqnr_db for name in table.formats] for layer in table.layers]
    loss = [[table.row(layer, name).loss_change for name in table.formats] for layer in table.layers]
    maps = [("SQNR of the weights (dB)", sqnr, SQNR_COLOURS, "{:.1f}")]
    if table.loss is not None:
        maps.append((f"change of the loss, {table.loss:.4g} with no layer quantized", loss, LOSS_COLOURS, "{:+.2g}"))
    names = CHARACTER_WIDTH * max(map(len, table.layers))
    width = len(maps) * (max(CELL[0] * len(table.formats), 2) + BAR) + names
    figure = Figure((width + FRAME, CELL[1] * len(table.layers) + 2 * FRAME), layout="constrained")
    for axes, (title, values, colours, text) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
        _draw(axes, values, colours, text)
        axes.set_title(title, loc="left", fontsize=9, color=GREY)
        axes.set_xticks(range(len(table.formats)), table.formats, rotation=30, ha="right", fontsize=8)
        axes.set_yticks(range(len(table.layers)), table.layers, fontsize=8)
    for axes in figure.axes[1 : len(maps)]:
        axes.set_yticklabels([])
    save(figure, path)


def _draw(axes: Axes, values: list[list[float | None]], colours: str, text: str) -> None:
    """Draw coloured cells with their numbers; exact ones have no colour."""
    numbers = np.array([[math.nan if value is None else value for value in row] for row in values])
    image = axes.imshow(numbers, cmap=colours, aspect="auto")
    colours_of = np.asarray(image.cmap(image.norm(numbers)))
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            told = "exact" if value is None else text.format(value)
            red, green, blue, _ = colours_of[y, x]
            is_dark = value is not None and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axes.text(x, y, told, ha="center", va="center", fontsize=TEXT_SIZE, color="white" if is_dark else "black")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
