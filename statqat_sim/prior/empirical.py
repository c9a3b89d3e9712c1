"""The distribution of data, as a histogram."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats, left_out
from statqat_sim.prior.base import Order, Prior, finite
from statqat_sim.rebuilt import Rebuilt

PER_OCTAVE = 64
OCTAVES = 40
"""Octaves of bins below max |x|; smaller magnitudes share one bin that ends at 0."""


@dataclass(frozen=True, eq=False)
class Empirical(Rebuilt, Prior):
    """A density that is constant in each bin, and a mass at 0.

    Args:
        edges: ascending, shape `(bins + 1,)`.
        masses: the probability of each bin, shape `(bins,)`; they and `mass_at_zero` add up to 1.
        mass_at_zero: the probability of 0 itself.
        name: the name in tables.

    Raises:
        ValueError: if the shapes do not fit, edges do not ascend, or the masses are not probabilities.
    """

    edges: Floats
    masses: Floats
    mass_at_zero: float = 0.0
    name: str = "empirical"
    smooth_length = 0.0
    _above: dict[int, Floats] = field(init=False, repr=False)
    _below: dict[int, Floats] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        edges, masses = np.array(self.edges, np.float64), np.array(self.masses, np.float64)
        if edges.shape != (masses.size + 1,) or masses.size == 0 or not (np.diff(edges) > 0).all():
            raise ValueError(f"{edges.shape} edges for {masses.shape} masses; allowed: one more, ascending")
        if masses.min() < 0 or self.mass_at_zero < 0 or abs(masses.sum() + self.mass_at_zero - 1) > 1e-9:
            raise ValueError(f"masses add up to {masses.sum() + self.mass_at_zero}; allowed: probabilities, 1 in all")
        edges.flags.writeable = masses.flags.writeable = False
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "masses", masses)
        bins = {order: masses * _mean_power(order, edges[:-1], edges[1:]) for order in (0, 1, 2)}
        above = {order: np.append(np.cumsum(moment[::-1])[::-1], 0) for order, moment in bins.items()}
        below = {order: np.insert(np.cumsum(moment), 0, 0) for order, moment in bins.items()}
        object.__setattr__(self, "_above", above)
        object.__setattr__(self, "_below", below)

    @classmethod
    @left_out
    def of(cls, data: Any, name: str = "empirical") -> Empirical:
        """The logarithmic histogram of the finite numbers in data: 64 bins per octave on either side of zero.

        Raises:
            ValueError: if none is finite, or all are zero.
        """
        x = finite(data)
        top = float(np.abs(x).max())
        if top == 0:
            raise ValueError("data is all zero; allowed: data that is not all zero")
        ladder = top * 2.0 ** (np.arange(-OCTAVES * PER_OCTAVE, 1) / PER_OCTAVE)
        edges = np.concatenate((-ladder[::-1], [0.0], ladder))
        zeros = np.count_nonzero(x == 0)
        counts = np.histogram(x[x != 0], edges)[0]
        used = np.flatnonzero(counts)
        kept = slice(used[0], used[-1] + 1)
        return cls(edges[used[0] : used[-1] + 2], counts[kept] / x.size, zeros / x.size, name)

    @property
    def second_moment(self) -> float:
        return float(self._below[2][-1])

    @property
    def reach(self) -> float:  # type: ignore[override]
        return float(np.abs(self.edges).max())

    def pdf(self, x: Any) -> Floats:
        x = np.asarray(x, np.float64)
        densities = np.concatenate(([0.0], self.masses / np.diff(self.edges), [0.0]))
        return np.asarray(densities[np.searchsorted(self.edges, x, "right")])

    def upper(self, order: Order, x: Any) -> Floats:
        x, index = self._place(x)
        end = self.edges[index + 1]
        share = (end - x) / (end - self.edges[index])
        return np.asarray(self._above[order][index + 1] + share * self.masses[index] * _mean_power(order, x, end))

    def lower(self, order: Order, x: Any) -> Floats:
        x, index = self._place(x)
        start = self.edges[index]
        share = (x - start) / (self.edges[index + 1] - start)
        return np.asarray(self._below[order][index] + share * self.masses[index] * _mean_power(order, start, x))

    def _place(self, x: Any) -> tuple[Floats, Any]:
        """Points clipped to the histogram's range, and the indices of their bins."""
        x = np.clip(np.asarray(x, np.float64), self.edges[0], self.edges[-1])
        return x, np.clip(np.searchsorted(self.edges, x, "right") - 1, 0, self.masses.size - 1)


def _mean_power(order: int, a: Floats, b: Floats) -> Floats:
    """The mean of t^order over [a, b]."""
    match order:
        case 0:
            return np.ones(np.broadcast(a, b).shape)
        case 1:
            return (a + b) / 2
        case _:
            return (a * a + a * b + b * b) / 3
