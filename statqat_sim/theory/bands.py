"""Grids of many values, as bands of neighbouring cells that are about equally wide: what a scan over scales needs.

Over a cell much narrower than the prior, the density is constant. Then the error in a cell does not depend on where in
its band it lies, and a band counts by its probability alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from statqat_sim.prior import Prior
from statqat_sim.theory.cells import Floats
from statqat_sim.theory.pieces import Pieces

PER_OCTAVE = 8
"""Of squared errors: how finely bands tell them apart."""
FAR = 1e70
"""Its square, and what moments make of it, are within float64; no input is as far out."""


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """At scale 1, the mean squared error of each band, shape `(bands,)`, and where it begins and ends."""

    edges: Floats
    errors: Floats

    def mean_squared_errors(self, prior: Prior, scales: Floats) -> Floats:
        """MSE(s) for each scale, shape `(scales,)`, to a relative error of the order of (cell / unit of the prior)²."""
        far = min(prior.reach, FAR)
        edges = np.clip(scales[:, None] * self.edges, -far, far)
        (probabilities,) = prior.cell_moments(edges, (0,))
        roots = np.minimum(scales[:, None] * np.sqrt(self.errors), FAR)
        return np.asarray((probabilities * roots**2).sum(axis=1) + _beyond(prior, edges[:, 0], edges[:, -1]))


def _beyond(prior: Prior, low: Floats, high: Floats) -> Floats:
    """The error of what is clipped to the ends."""
    below = prior.lower(2, low) - 2 * low * prior.lower(1, low) + low**2 * prior.lower(0, low)
    above = prior.upper(2, high) - 2 * high * prior.upper(1, high) + high**2 * prior.upper(0, high)
    return np.maximum(below, 0) + np.maximum(above, 0)


def bands(pieces: Pieces) -> Bands:
    """The bands between the least and the greatest value."""
    edges = np.concatenate((pieces.first[:1], pieces.thresholds, pieces.second[-1:]))
    start, end = edges[:-1] - pieces.first, edges[1:] - pieces.first
    gap = pieces.second - pieces.first
    errors = pieces.sign * ((start * start + start * end + end * end) / 3 - gap * (start + end) / 2)
    used = np.diff(edges) > 0
    label = np.rint(np.log2(errors[used]) * PER_OCTAVE)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(label)) + 1))
    counts = np.diff(np.append(starts, label.size))
    return Bands(np.append(edges[:-1][used][starts], edges[-1]), np.add.reduceat(errors[used], starts) / counts)
