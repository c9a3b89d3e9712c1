"""The Laplace distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, SymmetricPrior, finite
from statqat_sim.prior.scaled import Scaled

B = math.sqrt(0.5)
"""The scale b = E|x| at variance 1."""
FAR = 1e4
"""Beyond this the density underflows to 0 in float64."""


@dataclass(frozen=True)
class Laplace(SymmetricPrior):
    """Two exponential tails; mean 0, variance 1."""

    name = "laplace"
    second_moment = 1.0
    breaks = (0.0,)
    reach = 48.0

    def pdf(self, x: Any) -> Floats:
        with np.errstate(under="ignore"):
            return np.asarray(np.exp(-np.abs(np.asarray(x, np.float64)) / B) / (2 * B))

    def tail(self, order: Order, x: Floats) -> Floats:
        beyond = B * self.pdf(x)
        x = np.minimum(x, FAR)
        match order:
            case 0:
                return beyond
            case 1:
                return beyond * (x + B)
            case 2:
                return beyond * (x * x + 2 * B * x + 2 * B * B)

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit the scale by maximum likelihood about 0: the mean of |x|."""
        return Scaled.to(cls(), float(np.mean(np.abs(finite(data)))) / B)
