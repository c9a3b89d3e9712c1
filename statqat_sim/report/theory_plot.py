"""The plot of mean squared error against the clipping point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from statqat_sim.prior import Prior
from statqat_sim.report.plot import COLOURS, GREY, check_suffix, save, style
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory import expected_error
from statqat_sim.theory.choices import choices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (7.2, 4.2)
"""Width and height in inches: as wide as a page of text."""
OCTAVES, POINTS = 3, 193
MARKS = {"minmax": ("s", 6), "paper_analytic": ("D", 12), "paper_iterative": ("^", 10), "optimal": ("o", 5)}
"""Marker and size of each choice of scale: coinciding ones nest. All but the last are hollow."""


def plot_theory(format: NumberFormat, priors: Sequence[Prior], path: Path) -> None:
    """Draw one curve for each prior, with the choices of scales marked; writes the file atomically.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if its suffix is unknown.
        UnsupportedError: for formats of more than 16 bits, and for `overflow: wrap`.
    """
    from matplotlib.figure import Figure

    check_suffix(path)
    figure = Figure(SIZE, layout="constrained")
    axes = figure.add_subplot()
    for prior, colour in zip(priors, [*COLOURS] * len(priors), strict=False):
        _draw(axes, format, prior, colour)
    for choice in MARKS:
        _mark(axes, choice, [], [], GREY, label=choice)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("clipping point: scale times the largest value", loc="left")
    axes.set_ylabel("mean squared error")
    axes.set_title(format.name, loc="left", fontsize=12, fontweight="bold")
    style(axes)
    axes.legend(fontsize=8, frameon=False)
    save(figure, path)


def _draw(axes: Axes, format: NumberFormat, prior: Prior, colour: str) -> None:
    """Draw the curve of a prior, wide enough for all its marks."""
    largest = format.max if format.max > 0 else -format.min
    named = choices(format, prior)
    ends = np.log2([min(named.values()), max(named.values())])
    middle = np.clip(np.log2(named["optimal"]), *ends)
    low, high = min(ends[0] - 0.5, middle - OCTAVES / 2), max(ends[1] + 0.5, middle + OCTAVES / 2)
    scales = 2 ** np.linspace(low, high, POINTS)
    curve = expected_error(format, prior=prior, scale=scales)
    axes.plot(scales * largest, curve.mse, color=colour, linewidth=1.5, label=prior.name)
    for choice in MARKS:
        at = expected_error(format, prior=prior, scale=named[choice])
        _mark(axes, choice, [named[choice] * largest], [float(at.mse)], colour)


def _mark(axes: Axes, choice: str, x: list[float], y: list[float], colour: str, label: str | None = None) -> None:
    marker, size = MARKS[choice]
    face = colour if choice == "optimal" else "none"
    axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=size if x else min(size, 7), label=label)
