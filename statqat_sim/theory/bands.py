"""Grids of many values as bands of contiguous cells with about equal width, for scans over scales.

The density is nearly constant over a cell much narrower than the prior. The error of a band is then its probability
times the mean error of its cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior import Prior
from statqat_sim.theory.pieces import Pieces

PER_OCTAVE = 8
"""Bands per octave of cells' mean squared errors."""
FARTHEST_INPUT = 1e70
"""Beyond every float32 input; its square, and moments with it, stay within float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """Edges of the bands at scale 1, shape `(bands + 1,)`, and their mean squared errors, shape `(bands,)`."""

    edges: Floats
    errors: Floats

    def mean_squared_errors(self, prior: Prior, scales: Floats) -> Floats:
        """MSE(s) for each scale, shape `(scales,)`; the relative error is of order (cell width / prior's width)²."""
        far = min(prior.reach, FARTHEST_INPUT)
        edges = np.clip(scales[:, None] * self.edges, -far, far)
        (probabilities,) = prior.cell_moments(edges, (0,))
        roots = np.minimum(scales[:, None] * np.sqrt(self.errors), FARTHEST_INPUT)
        return np.asarray((probabilities * roots**2).sum(axis=1) + _beyond(prior, edges[:, 0], edges[:, -1]))


def _beyond(prior: Prior, low: Floats, high: Floats) -> Floats:
    """The squared error of inputs clipped to the ends."""
    below = prior.lower(2, low) - 2 * low * prior.lower(1, low) + low**2 * prior.lower(0, low)
    above = prior.upper(2, high) - 2 * high * prior.upper(1, high) + high**2 * prior.upper(0, high)
    return np.maximum(below, 0) + np.maximum(above, 0)


def bands(pieces: Pieces) -> Bands:
    """The bands from the least to the greatest value."""
    edges = np.concatenate((pieces.first[:1], pieces.thresholds, pieces.second[-1:]))
    start, end = edges[:-1] - pieces.first, edges[1:] - pieces.first
    gap = pieces.second - pieces.first
    errors = pieces.sign * ((start * start + start * end + end * end) / 3 - gap * (start + end) / 2)
    used = np.diff(edges) > 0
    label = np.rint(np.log2(errors[used]) * PER_OCTAVE)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(label)) + 1))
    counts = np.diff(np.append(starts, label.size))
    return Bands(np.append(edges[:-1][used][starts], edges[-1]), np.add.reduceat(errors[used], starts) / counts)
