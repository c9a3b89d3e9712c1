"""The plot of the differences of two matrix products."""

from __future__ import annotations

from pathlib import Path

from statqat_sim.report.matmul import Comparison, histogram
from statqat_sim.report.plot import COLOURS, check_suffix, save, style

SIZE = (7.2, 4.2)
"""Width and height in inches: as wide as a page of text."""


def plot_differences(found: Comparison, title: str, path: Path) -> None:
    """Draw the histogram of the differences in ulps; writes the file atomically.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if its suffix is unknown.
    """
    from matplotlib.figure import Figure

    check_suffix(path)
    figure = Figure(SIZE, layout="constrained")
    axes = figure.add_subplot()
    bars = histogram(found.ulps)
    axes.bar(range(len(bars)), [count for _, count in bars], color=COLOURS[0], width=0.8)
    axes.set_xticks(range(len(bars)), [_label(step) for step, _ in bars], fontsize=8)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("units in the last place, at least", loc="left")
    axes.set_ylabel("elements")
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    style(axes, "y")
    save(figure, path)


def _label(step: int) -> str:
    return str(step) if step < 1000 else f"2^{step.bit_length() - 1}"
