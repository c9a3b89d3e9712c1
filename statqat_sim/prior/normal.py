"""The normal distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, SymmetricPrior, finite, rms
from statqat_sim.prior.scaled import Scaled

ROOT = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class Normal(SymmetricPrior):
    """Mean 0, variance 1."""

    name = "normal"
    second_moment = 1.0
    reach = 12.0

    def pdf(self, x: Any) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp(-np.square(np.asarray(x, np.float64)) / 2) / ROOT)

    def tail(self, order: Order, x: Floats) -> Floats:
        from scipy.special import ndtr

        if order == 1:
            return self.pdf(x)
        beyond = np.asarray(ndtr(-x))
        # by parts: (x·p)′ = p - x²·p
        return beyond if order == 0 else beyond + np.where(np.isinf(x), 0, x) * self.pdf(x)

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit the scale by maximum likelihood about 0: the RMS."""
        return Scaled.to(cls(), rms(finite(data)))
