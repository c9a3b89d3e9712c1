"""The plot of one format: its values, its staircase, its relative error."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.report.curves import SEED, AxisScale, Curves
from statqat_sim.report.plot import COLOURS, GREY, check_suffix, save, style
from statqat_sim.spec.number import NumberFormat

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (7.2, 5.4)
"""Width and height in inches: as wide as a page of text."""

BLUE, RED = COLOURS[:2]
MOST_TICKS = 7
"""The most ticks of a linear axis, or of powers of two on either side of zero."""

RUG = (-0.34, -0.08)
"""Bottom and top of the values' marks, as multiples of the height of the density above them."""

MARKS = 1500
"""The resolution of the number line: values closer than 1/MARKS of its length share a mark."""


def plot_format(fmt: NumberFormat, path: Path) -> None:
    """Draw a format's number line, the staircase of its rounding, and its relative error; writes the file atomically.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if its suffix is unknown.
    """
    from matplotlib.figure import Figure

    check_suffix(path)
    curves = Curves(fmt)
    figure = Figure(SIZE, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.5))
    _draw_values(figure.add_subplot(grid[0, :]), curves)
    _draw_staircase(figure.add_subplot(grid[1, 0]), curves)
    _draw_error(figure.add_subplot(grid[1, 1]), curves)
    figure.suptitle(fmt.name, x=0.01, ha="left", fontsize=12, fontweight="bold")
    save(figure, path)


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=GREY)
    style(axes)
    axes.tick_params(labelsize=8)


# --- values ------------------------------------------------------------------------------------------------------


def _draw_values(axes: Axes, curves: Curves) -> None:
    """Draw a mark for each value, and their density above."""
    from matplotlib.ticker import MaxNLocator

    fmt, scale = curves.format, curves.scale
    edges, density = curves.density
    axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.25, linewidth=0)
    top = float(density.max(initial=0)) or 1.0
    _draw_marks(axes, curves, top)
    ticks = MaxNLocator(4, integer=scale.unit is not None).tick_values(0, top)
    axes.set_yticks([tick for tick in ticks if tick <= 1.08 * top])
    axes.set_ylim(RUG[0] * top, 1.08 * top)
    axes.set_ylabel("values per unit" if scale.unit is None else "values per binade", fontsize=9)
    _set_ticks(axes, "x", scale, curves.values[[0, -1]], least=0.05)
    _frame(axes, f"{fmt.finite_codes} finite codes, {fmt.nan_codes} NaN, {fmt.inf_codes} Inf{_marks(curves)}")
    axes.grid(False, axis="y")


def _marks(curves: Curves) -> str:
    """Notes on the marks, for the title."""
    notes = [f"1 of {curves.stride} marked"] if curves.stride > 1 else []
    notes += [] if curves.format.min_subnormal is None else ["red: subnormal"]
    return f" ({', '.join(notes)})" if notes else ""


def _draw_marks(axes: Axes, curves: Curves, top: float) -> None:
    """Draw a mark for each value, subnormal values in another colour."""
    sizes = np.abs(curves.values)
    subnormal = (sizes > 0) & (sizes < (curves.format.min_normal if curves.format.min_subnormal else 0))
    places = curves.scale.place(curves.values)
    width = max(np.ptp(places), 1) / MARKS
    for chosen, colour in ((~subnormal, BLUE), (subnormal, RED)):
        distinct = np.unique(np.round(places[chosen] / width)) * width
        thickness = min(1.2, max(0.35, 250 / max(len(places), 1)))
        axes.vlines(distinct, RUG[0] * top, RUG[1] * top, color=colour, linewidth=thickness)


# --- staircase ---------------------------------------------------------------------------------------------------


def _draw_staircase(axes: Axes, curves: Curves) -> None:
    scale, x, y = curves.staircase
    ends = x[[0, -1]]
    shown = np.isfinite(y)
    places, results = scale.place(x[shown]), scale.place(y[shown])
    axes.plot(scale.place(ends), scale.place(ends), color="#bbbbbb", linewidth=0.8)
    if curves.format.encode.drawn_bits:
        axes.plot(places, results, ".", color=BLUE, markersize=1.5)
    else:
        axes.plot(places, results, color=BLUE, linewidth=1.2)
    names: tuple[Literal["x", "y"], ...] = ("x", "y")
    for axis in names:
        _set_ticks(axes, axis, scale, ends, least=0.12)
    axes.set_xlabel("x", fontsize=9)
    axes.set_ylabel("decode(encode(x))", fontsize=9)
    random = f", seed {SEED}" if curves.format.encode.drawn_bits else ""
    _frame(axes, f"{curves.format.encode.rounding.value}{random}")


# --- error -------------------------------------------------------------------------------------------------------


def _draw_error(axes: Axes, curves: Curves) -> None:
    exponents, error = curves.relative_error
    bottom = _bottom(curves)
    heights = np.maximum(error, bottom)
    axes.fill_between(exponents, heights, bottom, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(exponents, heights, color=BLUE, linewidth=0.7)
    axes.set_yscale("log", base=2)
    axes.set_ylim(bottom, 2)
    ticks = list(_exponents(*exponents[[0, -1]]))
    axes.set_xticks(ticks, map(_power, ticks))
    axes.set_xlim(*exponents[[0, -1]])
    axes.set_xlabel("|x|", fontsize=9)
    axes.set_ylabel("relative error", fontsize=9)
    _frame(axes, "largest error around each magnitude")


def _bottom(curves: Curves) -> float:
    """The lower limit of the axis: two binades below the smallest nonzero of the binades' largest errors."""
    exponents, error = curves.relative_error
    width = math.ceil(len(exponents) / np.ptp(exponents))
    largest = [np.nan_to_num(error[first : first + width]).max() for first in range(0, len(error), width)]
    least = min((each for each in largest if each > 0), default=1.0)
    return 2.0 ** (math.floor(math.log2(least)) - 2)


# --- ticks -------------------------------------------------------------------------------------------------------


def _set_ticks(axes: Axes, name: Literal["x", "y"], scale: AxisScale, ends: Floats, least: float) -> None:
    """Set ticks: powers of two on a logarithmic scale, at least `least` axis lengths from zero, else round numbers."""
    if scale.unit is None:
        axes.locator_params(name, nbins=MOST_TICKS)
        (axes.xaxis if name == "x" else axes.yaxis).get_offset_text().set_fontsize(8)
        return
    ticks = _ticks(scale, float(ends[0]), float(ends[-1]), least)
    setter = axes.set_xticks if name == "x" else axes.set_yticks
    setter(list(ticks), ticks.values())


def _ticks(scale: AxisScale, first: float, last: float, distance: float) -> dict[float, str]:
    """Positions and labels of zero and of powers of two between two numbers."""
    low, high = scale.place([first, last]).tolist()
    ticks = {0.0: "0"} if first <= 0 <= last else {}
    least = distance * (high - low) if ticks else 0
    for exponent in _exponents(math.log2(scale.unit or 1), math.log2(max(abs(first), abs(last)))):
        place = float(scale.place(2.0**exponent))
        for sign in (-1, 1):
            if low <= sign * place <= high and place > least:
                ticks[sign * place] = _power(exponent, "-" * (sign < 0))
    return ticks


def _exponents(low: float, high: float) -> range:
    """A few evenly spaced integers from `low` to `high`."""
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if (high - low) / step <= MOST_TICKS)
    return range(math.ceil(low / step) * step, math.floor(high) + 1, step)


def _power(exponent: int, sign: str = "") -> str:
    return f"${sign}2^{{{exponent}}}$" if exponent else f"${sign}1$"
