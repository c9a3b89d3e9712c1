"""The uniform distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, SymmetricPrior, finite
from statqat_sim.prior.scaled import Scaled

END = math.sqrt(3)


@dataclass(frozen=True)
class Uniform(SymmetricPrior):
    """Uniform on [-√3, √3]: mean 0, variance 1."""

    name = "uniform"
    second_moment = 1.0
    breaks = (-END, END)
    reach = 2.0

    def pdf(self, x: Any) -> Floats:
        return np.where(np.abs(np.asarray(x, np.float64)) <= END, 1 / (2 * END), 0.0)

    def tail(self, order: Order, x: Floats) -> Floats:
        power, x = order + 1, np.minimum(x, END)
        return np.asarray((END**power - x**power) / (2 * END * power))

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit the scale by maximum likelihood about 0: the largest |x|."""
        return Scaled.to(cls(), float(np.max(np.abs(finite(data)))) / END)
