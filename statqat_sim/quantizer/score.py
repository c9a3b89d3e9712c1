"""The squared error of data in a format at any scale, from prefix sums alone: O(steps) for each scale.

At scale s, an input x next to zero has the value s·z; beyond each threshold s·t_j the value is s·Δ_j larger, and with
s·m_j the midpoint of the two values the squared error changes by −2·s·Δ_j·(x − s·m_j). Hence

    Σ(x − Q(x))² = Σ(x − s·z)² − Σ_j 2·s·Δ_j·Σ{x − s·m_j : x > s·t_j}

For rounding to nearest the inner sum is Σ max(x − s·t_j, 0), which a histogram gives exactly, except for bins cut by a
threshold, where it gives bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.histogram import Histogram, Sample, Tail, Tails
from statqat_sim.quantizer.data import tails
from statqat_sim.quantizer.levels import Levels, Side

NARROW = 1e-5
"""An interval is treated as a point if its radius is at most this multiple of its mean."""

LARGEST_TABLE = 1 << 21
"""The most pairs of scale and threshold in one table."""


class Slopes(NamedTuple):
    """Half the derivative of the error at each scale s, and two curvatures for descent steps.

    Args:
        slope: s·B − A, with A = Σ x·c and B = Σ c².
        cautious: B, with which a step never increases the error: the alternating method.
        bold: Σ Δ²/12 over the grid intervals of the elements, plus Σ c² over clipped elements.
    """

    slope: Floats
    cautious: Floats
    bold: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The squared error of data in a format, as a function of the scale.

    Args:
        tails: the data on each of the levels' sides.
        levels: the steps of the format.
    """

    tails: tuple[Tail, ...]
    levels: Levels

    @classmethod
    def of_histogram(cls, histogram: Histogram, levels: Levels) -> Score:
        """The score of a histogram; all channels together."""
        return cls(tails(histogram, levels.is_folded), levels)

    @property
    def is_exact(self) -> bool:
        """Whether all elements are known individually."""
        return isinstance(self.tails[0], Sample)

    @property
    def count(self) -> float:
        """The number of elements, or the sum of their weights."""
        return sum(tail.count for tail in self.tails)

    @property
    def power(self) -> float:
        """Σx²."""
        return sum(tail.power for tail in self.tails)

    @property
    def reachable_power(self) -> float:
        """Σx² of the sides that have steps."""
        return sum(tail.power for tail, side in self._sides() if side.count)

    @property
    def largest(self) -> float:
        """The largest magnitude on sides that have steps."""
        return max((tail.largest for tail, side in self._sides() if side.count), default=0.0)

    def errors(self, scales: Floats) -> Floats:
        """Σ(x − Q(x))² at each scale, float64."""
        if all(isinstance(tail, Tails) and _has_fewer_bins(tail, side) for tail, side in self._sides()):
            return np.array([self._error_by_bins(scale) for scale in scales.tolist()])

        def of_side(tail: Tail, side: Side, s: Floats) -> Floats:
            count, total = tail.beyond(s * side.thresholds)
            saved = ((total - count * s * side.middles) @ side.gaps) * s[:, 0]
            return np.asarray(_at_zero(tail, side, s[:, 0]) - 2 * saved)

        return np.asarray(np.maximum(self._by_side(of_side, scales)[0] + self.power, 0))

    def _sides(self) -> Iterator[tuple[Tail, Side]]:
        """The data of each side of zero, with the side's steps."""
        return zip(self.tails, self.levels.sides, strict=True)

    def _error_by_bins(self, scale: float) -> float:
        """The error at one scale, summed over bins instead of steps: the mean error over each bin's interval."""
        return sum(_error_of_bins(tail, side, scale) for tail, side in self._sides() if isinstance(tail, Tails))

    def bounds(self, scales: Floats) -> tuple[Floats, Floats]:
        """Rigorous bounds, but for rounding, of Σ(x − Q(x))² − Σx² at each scale: comparing scales needs only these."""

        def of_side(tail: Tail, side: Side, s: Floats) -> Floats:
            low, high = tail.excess_bounds(s * side.thresholds)
            if not side.is_nearest:
                added = s * (side.thresholds - side.middles)
                few, many = (count * added for count in tail.count_bounds(s * side.thresholds))
                low, high = low + np.minimum(few, many), high + np.maximum(few, many)
            up, down = np.maximum(side.gaps, 0), np.minimum(side.gaps, 0)
            saved = np.stack((high @ up + low @ down, low @ up + high @ down))
            return _at_zero(tail, side, s[:, 0]) - 2 * saved * s[:, 0]

        low, high = self._by_side(of_side, scales, rows=2)
        return low, high

    def slopes(self, scales: Floats) -> Slopes:
        """The slope and curvatures of the error at each scale, for quasi-Newton steps."""

        def of_side(tail: Tail, side: Side, s: Floats) -> Floats:
            values = side.values
            count, total = tail.beyond(s * side.thresholds)
            products = side.zero * tail.total + total @ side.gaps
            squares = side.zero**2 * tail.count + count @ np.diff(np.square(values))
            above, _ = tail.beyond(s * np.abs(values))
            inner = (above[:, :-1] - above[:, 1:]) @ np.square(side.gaps) / 12
            return np.stack((products, squares, inner + values[-1] ** 2 * above[:, -1]))

        products, squares, bold = self._by_side(of_side, scales, rows=3)
        return Slopes(scales * squares - products, squares, np.minimum(bold, squares))

    def _by_side(self, of_side: Callable[[Tail, Side, Floats], Floats], scales: Floats, rows: int = 1) -> Floats:
        """The sum over both sides, shape (rows, scales), computed in tables of limited size."""
        result = np.zeros((rows, len(scales)))
        step = max(LARGEST_TABLE // max(self.levels.count, 1), 1)
        for first in range(0, len(scales), step):
            part = slice(first, first + step)
            for tail, side in self._sides():
                result[:, part] += of_side(tail, side, scales[part, None])
        return result


def _error_of_bins(tails: Tails, side: Side, scale: float) -> float:
    """Σ(x − Q(x))² over bins, with elements uniform around the bins' means."""
    means, radii = tails.means[1:], tails.radii[1:]
    points = radii <= NARROW * means
    middle = (means / scale)[points]
    at_points = scale**2 * np.square(middle - side.values[np.searchsorted(side.thresholds, middle)])
    low, high = ((means + sign * radii)[~points] / scale for sign in (-1, 1))
    within = scale**3 * (side.cumulative(high) - side.cumulative(low)) / (2 * radii[~points])
    counts = tails.counts[1:]
    return float(counts[points] @ at_points + counts[~points] @ within)


def _has_fewer_bins(tail: Tails, side: Side) -> bool:
    """Whether a side has fewer bins than thresholds, or no thresholds."""
    return len(tail.lower) < side.count or not side.count


def _at_zero(tail: Tail, side: Side, s: Floats) -> Floats:
    """Σ(x − s·z)² − Σx² for each scale."""
    moved = s * side.zero
    return moved * (tail.count * moved - 2 * tail.total)
