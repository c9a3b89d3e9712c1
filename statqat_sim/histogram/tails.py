"""One side of zero: the number and the sum of the elements beyond a point, from prefix sums.

`beyond` is an estimate, `excess_bounds` are rigorous. A bin of a histogram holds n elements of known mean μ between its
edges; the estimate assumes them uniform on the widest interval centred at μ within the bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats


class Tail(Protocol):
    """The magnitudes of the elements of one side."""

    @property
    def count(self) -> float:
        """The number of elements, or the sum of their weights."""

    @property
    def total(self) -> float:
        """Their sum."""

    @property
    def power(self) -> float:
        """The sum of their squares."""

    @property
    def largest(self) -> float:
        """An upper bound of all elements; 0 if there are none."""

    def beyond(self, at: Floats) -> tuple[Floats, Floats]:
        """Count and sum of the elements above each point; points are at least 0."""

    def excess_bounds(self, at: Floats) -> tuple[Floats, Floats]:
        """Rigorous lower and upper bounds of Σ max(x - at, 0) for each point."""

    def count_bounds(self, at: Floats) -> tuple[Floats, Floats]:
        """Rigorous lower and upper bounds of the number of elements above each point."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Elements that are known individually: every answer is exact.

    Args:
        values: ascending.
        counts: suffix sums of the weights (1 each without weights): entry i sums values[i:]; one more than values.
        sums: suffix sums of the weighted values, likewise.
        power: the weighted sum of squares.
    """

    values: Floats
    counts: Floats
    sums: Floats
    power: float

    @classmethod
    def of(cls, values: Floats, weights: Floats | None = None) -> Sample:
        """The sample of magnitudes in any order; `weights`: one for each, None: 1."""
        if weights is None:
            ascending, counts = np.sort(values), np.arange(len(values), -1, -1, dtype=np.float64)
            return cls(ascending, counts, _from_each(ascending), float(ascending @ ascending))
        order = np.argsort(values)
        ascending, ordered = values[order], weights[order]
        products = ordered * ascending
        return cls(ascending, _from_each(ordered), _from_each(products), float(products @ ascending))

    @property
    def count(self) -> float:
        return float(self.counts[0])

    @property
    def total(self) -> float:
        return float(self.sums[0])

    @property
    def largest(self) -> float:
        return float(self.values[-1]) if len(self.values) else 0.0

    def beyond(self, at: Floats) -> tuple[Floats, Floats]:
        """See `Tail`."""
        first = np.searchsorted(self.values, at, side="right")
        return self.counts[first], self.sums[first]

    def excess_bounds(self, at: Floats) -> tuple[Floats, Floats]:
        """See `Tail`."""
        count, total = self.beyond(at)
        excess = total - count * at
        return excess, excess

    def count_bounds(self, at: Floats) -> tuple[Floats, Floats]:
        """See `Tail`."""
        count, _ = self.beyond(at)
        return count, count


def _from_each(numbers: Floats) -> Floats:
    """Suffix sums: entry i is the sum of numbers[i:]; one more than numbers."""
    sums = np.zeros(len(numbers) + 1)
    sums[:-1] = np.cumsum(numbers[::-1])[::-1]
    return sums


@dataclass(frozen=True, slots=True, eq=False)
class Tails:
    """Elements known only by their bins. Arrays have one entry for each nonempty bin, ascending.

    An empty bin below zero precedes them, so that every point has a bin at or below it.

    Args:
        lower: lower edges.
        upper: upper edges.
        counts: elements in each bin, or the sum of their weights.
        means: mean of each bin's elements.
        radii: half widths of the intervals centred at the means on which elements are assumed uniform.
        outer_counts: count of all bins beyond each.
        outer_sums: sum of the elements of all bins beyond each.
    """

    lower: Floats
    upper: Floats
    counts: Floats
    means: Floats
    radii: Floats
    outer_counts: Floats
    outer_sums: Floats

    @classmethod
    def of(cls, lower: Floats, upper: Floats, counts: Floats, sums: Floats, exact: NDArray[np.bool_]) -> Tails:
        """From nonempty bins, ascending.

        Args:
            lower: lower edges.
            upper: upper edges.
            counts: count of each bin.
            sums: sum of the elements of each bin.
            exact: whether a bin's elements all equal their mean.
        """
        lower, upper = np.concatenate(([-1.0], lower)), np.concatenate(([-1.0], upper))
        counts, sums = np.concatenate(([0.0], counts)), np.concatenate(([0.0], sums))
        means = np.clip(np.divide(sums, counts, out=lower.copy(), where=counts > 0), lower, upper)
        radii = np.minimum(means - lower, upper - means)
        radii[1:][exact] = 0
        outer = [_from_each(each)[1:] for each in (counts, sums)]
        return cls(lower, upper, counts, means, radii, *outer)

    @property
    def count(self) -> float:
        return float(self.outer_counts[0])

    @property
    def total(self) -> float:
        return float(self.outer_sums[0])

    @property
    def power(self) -> float:
        return float(np.sum(self.counts * (np.square(self.means) + np.square(self.radii) / 3)))

    @property
    def largest(self) -> float:
        return max(float(self.upper[-1]), 0.0)

    def beyond(self, at: Floats) -> tuple[Floats, Floats]:
        """See `Tail`."""
        bin = self._bin(at)
        end, radius = self.means[bin] + self.radii[bin], self.radii[bin]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip((end - at) / (2 * radius), 0, 1)
        share = np.where(radius > 0, share, end > at)
        inner = self.counts[bin] * share
        return self.outer_counts[bin] + inner, self.outer_sums[bin] + inner * (end - share * radius)

    def excess_bounds(self, at: Floats) -> tuple[Floats, Floats]:
        """See `Tail`. Σ max(x - at, 0) is convex in x: least with all x at the mean, greatest with all at the edges."""
        bin = self._bin(at)
        outer = self.outer_sums[bin] - self.outer_counts[bin] * at
        lower, upper, mean, count = self.lower[bin], self.upper[bin], self.means[bin], self.counts[bin]
        least = count * np.maximum(mean - at, 0)
        width = upper - lower
        share = np.divide(mean - lower, width, out=np.ones(width.shape), where=width > 0)
        most = np.where(self.radii[bin] > 0, count * share * np.maximum(upper - at, 0), least)
        return outer + least, outer + np.maximum(most, least)

    def count_bounds(self, at: Floats) -> tuple[Floats, Floats]:
        """See `Tail`."""
        bin = self._bin(at)
        outer, inner = self.outer_counts[bin], self.counts[bin]
        known = self.radii[bin] == 0
        above, below = self.means[bin] > at, self.upper[bin] <= at
        return outer + inner * (known & above), outer + inner * np.where(known, above, ~below)

    def _bin(self, at: Floats) -> NDArray[np.intp]:
        """The index of the last bin whose lower edge is at or below each point."""
        return np.searchsorted(self.lower, at, side="right") - 1
