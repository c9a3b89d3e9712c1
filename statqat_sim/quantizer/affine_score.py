"""Error of every (scale, zero-point) pair from prefix sums.

A zero-point leaves k of a format's n steps below zero and n - k above. It changes the integer only of inputs that are
clipped, so the error is Σx² minus the savings of the first n - k steps upward and of the first k steps downward (see
`score`): two cumulative sums give it for all zero-points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats, Integers
from statqat_sim.histogram import Tail
from statqat_sim.quantizer.levels import Levels, Side
from statqat_sim.quantizer.power_score import PowerScore
from statqat_sim.quantizer.score import Score, Slopes

LARGEST_TABLE = 1 << 18
"""The most pairs of scale and zero-point in one table."""


@dataclass(frozen=True, slots=True, eq=False)
class AffineScore(Score):
    """The score of data in a format with the best zero-point at each scale."""

    def errors(self, scales: Floats) -> Floats:
        """Σ(x − Q(x))² at each scale, float64."""
        return np.concatenate([np.zeros(0), *(table.min(1) for table in self._tables(scales))])

    def steps_below(self, scales: Floats) -> tuple[Integers, Integers]:
        """The fewest and the most steps below zero with the least error, at each scale."""
        ends = [_ends(table == table.min(1, keepdims=True)) for table in self._tables(scales)]
        fewest, most = (np.concatenate(each) for each in zip(*ends, strict=True))
        return fewest, most

    def bounds(self, scales: Floats) -> tuple[Floats, Floats]:
        """See `Score`."""
        low, high = np.hstack([score.bounds(scale) for score, scale in self._each(scales)])
        return low, high

    def slopes(self, scales: Floats) -> Slopes:
        """See `Score`. The zero-point is held fixed: it minimizes the error, so its change does not contribute."""
        return Slopes(*np.hstack([score.slopes(scale) for score, scale in self._each(scales)]))

    def _each(self, scales: Floats) -> Iterator[tuple[Score, Floats]]:
        """For each scale: the score with its best zero-point, and the scale as an array of one."""
        for below, scale in zip(self.steps_below(scales)[0].tolist(), scales[:, None], strict=True):
            yield Score(self.tails, _with_steps_below(self.levels, below)), scale

    def _tables(self, scales: Floats) -> Iterator[Floats]:
        """Tables of the error for some scales (rows) by the number of steps below zero (columns)."""
        part = max(LARGEST_TABLE // self.levels.count, 1)
        for first in range(0, len(scales), part):
            s = scales[first : first + part, None]
            up, down = (_saved(tail, side, s) for tail, side in zip(self.tails, self.levels.sides, strict=True))
            yield np.maximum(self.power - up[:, ::-1] - down, 0)


@dataclass(frozen=True, slots=True, eq=False)
class AffinePowerScore(PowerScore):
    """`AffineScore` for norms other than 2: the error is convex in the zero-point, so bisection finds the best."""

    def steps_below(self, scales: Floats) -> tuple[Integers, Integers]:
        """See `AffineScore`."""
        fewest, most = ([self._bisect(scale, most) for scale in scales.tolist()] for most in (False, True))
        return np.array(fewest, np.int64), np.array(most, np.int64)

    def error(self, scale: float) -> float:
        """The objective at one scale."""
        steps = _with_steps_below(self.levels, self._bisect(scale, most=False))
        return PowerScore(self.tails, steps, self.elements, self.objective).error(scale)

    def _bisect(self, scale: float, most: bool) -> int:
        """The fewest steps below zero with the least error; or the most."""
        low, high = 0, self.levels.sides[0].count
        while low < high:
            below = (low + high) // 2
            harm = self._saved(0, self.levels.sides[0].count - below, scale) - self._saved(1, below + 1, scale)
            low, high = (low, below) if harm > 0 or (harm == 0 and not most) else (below + 1, high)
        return low

    def _saved(self, index: int, step: int, scale: float) -> float:
        """The decrease of the error due to one step of a side; steps count from 1."""
        side, sample = self.levels.sides[index], self.elements.samples(is_folded=False)[index]
        first = int(np.searchsorted(sample.values, scale * side.thresholds[step - 1], side="right"))
        values, weights = sample.values[first:], -np.diff(sample.counts[first:])
        before, after = (self.objective.power(values - scale * side.values[at]) for at in (step - 1, step))
        return float(weights @ (before - after))


def _with_steps_below(levels: Levels, below: int) -> Levels:
    """The levels of one zero-point: `below` steps below zero, the others above."""
    up, down = levels.sides
    return replace(levels, sides=(_shortened(up, up.count - below), _shortened(down, below)))


def _shortened(side: Side, count: int) -> Side:
    """The first `count` steps of a side."""
    return Side(side.zero, side.thresholds[:count], side.gaps[:count], side.middles[:count])


def _saved(tail: Tail, side: Side, s: Floats) -> Floats:
    """The decrease of the error due to the first 0, 1, …, n steps of a side: shape (scales, n + 1)."""
    count, total = tail.beyond(s * side.thresholds)
    saved = np.zeros((len(s), side.count + 1))
    np.cumsum((total - count * s * side.middles) * side.gaps, axis=1, out=saved[:, 1:])
    return np.asarray(2 * s * saved)


def _ends(is_best: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """The first and the last true column of each row."""
    first, from_end = is_best.argmax(1), is_best[:, ::-1].argmax(1)
    return first, is_best.shape[1] - 1 - from_end
