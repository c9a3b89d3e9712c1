"""The best scale and zero-point by brute force: all zero-points at many scales. Shares no code with the quantizers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POINTS, POLISH, TOGETHER = 1500, 60, 250
FARTHEST = 2.0**-7
"""Of the scale at which nothing is clipped; the best scale is larger."""


class AffineExact:
    """Σ(x − Q(x))² for integers from low to high, to nearest: each integer's count and sum, then the clamps."""

    def __init__(self, x: NDArray[Any], low: int, high: int) -> None:
        self.x = np.sort(x.astype(np.float64), axis=None)
        self.sums = np.concatenate(([0.0], np.cumsum(self.x)))
        self.power, self.steps = float(self.x @ self.x), high - low
        integers = np.arange(-self.steps, self.steps + 1)
        points = np.arange(low, high + 1)[:, None]
        self.ties = integers[1:] - 0.5
        self.values = np.clip(integers, low - points, high - points).astype(np.float64)

    def errors(self, scales: Floats) -> Floats:
        """At each scale, for all zero-points: shape `(scales, zero-points)`."""
        cuts = np.searchsorted(self.x, scales[:, None] * self.ties)
        ends = np.pad(cuts, ((0, 0), (1, 1)), constant_values=((0, 0), (0, len(self.x))))
        counts, sums = np.diff(ends).astype(np.float64), np.diff(self.sums[ends])
        products, squares = self.values @ sums.T, np.square(self.values) @ counts.T
        return np.asarray((self.power - 2 * scales * products + scales**2 * squares).T)

    def least(self) -> float:
        """Over a logarithmic grid of scales, polished around its best points."""
        widest = (max(self.x[-1], 0) - min(self.x[0], 0)) / self.steps
        grid = np.geomspace(widest * FARTHEST, widest * 2, POINTS)
        errors = self._least_at(grid)
        near = np.argsort(errors)[:6]
        finer = [np.geomspace(*grid[[max(i - 1, 0), min(i + 1, POINTS - 1)]], POLISH) for i in near]
        return float(min(errors.min(), self._least_at(np.concatenate(finer)).min()))

    def _least_at(self, scales: Floats) -> Floats:
        parts = np.array_split(scales, -(-len(scales) // TOGETHER))
        return np.concatenate([self.errors(part).min(1) for part in parts])


def affine_sources(count: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Data whose middle is not zero."""
    random = np.random.default_rng(seed)
    made = {
        "shifted": 3 + random.standard_normal(count),
        "uniform": random.uniform(-1, 3, count),
        "below": -np.exp(random.standard_normal(count)),
        "far": 100 + random.standard_normal(count),
    }
    return {name: values.astype(np.float32) for name, values in made.items()}
