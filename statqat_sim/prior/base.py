"""The base of distributions of inputs: a density, a probability mass at 0, and partial moments."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias

import numpy as np

from statqat_sim.arrays import Floats

Order: TypeAlias = Literal[0, 1, 2]
"""The order of a moment ∫ t^order p(t) dt."""


class Prior(ABC):
    """A distribution of real inputs, a frozen value. Named ones have mean 0 and variance 1, unless they say otherwise.

    Subclasses integrate from the nearer tail, so that small probabilities are not differences of numbers near 1.
    All arrays are float64, of any shape; points may be ±Inf.
    """

    breaks: tuple[float, ...] = ()
    """Points where the density is not smooth; between them it has all derivatives, one-sided ones at the points."""
    smooth_length: float = 0.25
    """In cells up to this width without a break inside, 10 samples integrate the density to 1e-12; 0 if none do."""
    reach: float = math.inf
    """Inputs beyond ±reach have less than 1e-24 of the second moment."""
    middle: float = 0.0
    """Integrals over cells above it are differences of `upper`, the others of `lower`."""
    mass_at_zero: float = 0.0
    """The probability of the input 0 itself; the density integrates to the rest."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name, which `prior_named` accepts for named priors."""

    @property
    @abstractmethod
    def second_moment(self) -> float:
        """E[x²], the signal's power."""

    @abstractmethod
    def pdf(self, x: Any) -> Floats:
        """The density, without the mass at 0."""

    @abstractmethod
    def upper(self, order: Order, x: Any) -> Floats:
        """∫ t^order p(t) dt from x to ∞, without the mass at 0; to full relative accuracy for x >= `middle`."""

    @abstractmethod
    def lower(self, order: Order, x: Any) -> Floats:
        """∫ t^order p(t) dt from −∞ to x, without the mass at 0; to full relative accuracy for x <= `middle`."""

    def cdf(self, x: Any) -> Floats:
        """The probability of inputs <= x, including the mass at 0."""
        x = np.asarray(x, np.float64)
        return np.asarray(self.lower(0, x) + self.mass_at_zero * (x >= 0))

    def partial_moment(self, order: Literal[1, 2], x: Any) -> Floats:
        """∫ t^order p(t) dt from −∞ to x."""
        return self.lower(order, x)

    def cell_moments(self, edges: Floats, orders: tuple[Order, ...] = (0, 1, 2)) -> tuple[Floats, ...]:
        """Moments of the density between neighbouring edges, without the mass at 0.

        Args:
            edges: ascending along the last axis, shape `(…, cells + 1)`; may begin and end with ±Inf.
            orders: the orders of the moments.

        Returns:
            One array of shape `(…, cells)` for each order.
        """
        return tuple(self._between(order, edges) for order in orders)

    def _between(self, order: Order, edges: Floats) -> Floats:
        above = edges >= self.middle
        tails = np.where(above, 0.0, edges)
        tails[above] = self.upper(order, edges[above])
        tails[~above] = self.lower(order, edges[~above])
        start, end = tails[..., :-1], tails[..., 1:]
        inside = np.where(above[..., :-1], start - end, end - start)
        across = ~above[..., :-1] & above[..., 1:]
        if across.any():
            inside[across] = self._total(order) - start[across] - end[across]
        return np.asarray(inside)

    def _total(self, order: Order) -> float:
        return float(self.lower(order, self.middle) + self.upper(order, self.middle))


class SymmetricPrior(Prior):
    """A density with p(−x) = p(x)."""

    @abstractmethod
    def tail(self, order: Order, x: Floats) -> Floats:
        """∫ t^order p(t) dt from x to ∞, for x >= 0."""

    def upper(self, order: Order, x: Any) -> Floats:
        x = np.asarray(x, np.float64)
        beyond = self.tail(order, np.abs(x))
        whole = 0.0 if order == 1 else 2 * float(self.tail(order, np.zeros(())))
        below = beyond if order == 1 else whole - beyond
        return np.where(x >= 0, beyond, below)

    def lower(self, order: Order, x: Any) -> Floats:
        flipped = self.upper(order, -np.asarray(x, np.float64))
        return -flipped if order == 1 else flipped

    def _total(self, order: Order) -> float:
        return 0.0 if order == 1 else 2 * float(self.tail(order, np.zeros(())))


def rms(x: Floats) -> float:
    """√E[x²]."""
    return float(np.sqrt(np.mean(np.square(x))))


def finite(data: Any) -> Floats:
    """The finite numbers of an array, float64, 1-D.

    Raises:
        ValueError: if there are none.
    """
    x = np.asarray(data, np.float64).ravel()
    x = x[np.isfinite(x)]
    if x.size == 0:
        raise ValueError(f"{np.size(data)} numbers, none of them finite; a prior is fitted to at least one")
    return x
