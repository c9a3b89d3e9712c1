"""The distribution of ReLU of a normal input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, Prior, finite, rms
from statqat_sim.prior.normal import Normal
from statqat_sim.prior.scaled import Scaled


@dataclass(frozen=True)
class HalfNormal(Prior):
    """max(x, 0) of a standard normal x, not normalised: half of all inputs are 0; mean 0.399, mean square ½."""

    name = "half_normal"
    second_moment = 0.5
    mass_at_zero = 0.5
    breaks = (0.0,)
    reach = 12.0

    def pdf(self, x: Any) -> Floats:
        return np.where(np.asarray(x) >= 0, Normal().pdf(x), 0.0)

    def upper(self, order: Order, x: Any) -> Floats:
        return Normal().tail(order, np.maximum(np.asarray(x, np.float64), 0))

    def lower(self, order: Order, x: Any) -> Floats:
        whole = Normal().tail(order, np.zeros(()))
        return np.where(np.asarray(x) > 0, whole - self.upper(order, x), 0.0)

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit the scale by maximum likelihood of the inputs above 0: their RMS."""
        x = finite(data)
        above = x[x > 0]
        return Scaled.to(cls(), rms(above) if above.size else 0.0)
