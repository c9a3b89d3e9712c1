"""The generalised normal distribution: exp(-|x/α|^β)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, SymmetricPrior, finite, rms
from statqat_sim.prior.scaled import Scaled

LEAST, MOST = 0.2, 20.0
"""The range of shapes that `fit` chooses from."""


@dataclass(frozen=True)
class GeneralisedNormal(SymmetricPrior):
    """Shape `beta`: 1 is Laplace, 2 normal, and large ones approach uniform; mean 0, variance 1."""

    beta: float
    second_moment = 1.0
    breaks = (0.0,)

    def __post_init__(self) -> None:
        if not 0.1 <= self.beta <= 100:
            raise ValueError(f"generalised_normal: beta is {self.beta}; allowed: 0.1 to 100")

    @property
    def name(self) -> str:
        return f"generalised_normal({self.beta:g})"

    @property
    def _alpha(self) -> float:
        return math.exp((math.lgamma(1 / self.beta) - math.lgamma(3 / self.beta)) / 2)

    @property
    def smooth_length(self) -> float:  # type: ignore[override]
        return 0.5 / max(self.beta, 2)

    @property
    def reach(self) -> float:  # type: ignore[override]
        return float(self._alpha * (60 + 12 / self.beta) ** (1 / self.beta))

    @property
    def mean_magnitude(self) -> float:
        """E|x|, which increases with `beta`."""
        first, second, third = (math.lgamma(k / self.beta) for k in (1, 2, 3))
        return math.exp(second - (first + third) / 2)

    def pdf(self, x: Any) -> Floats:
        peak = self.beta / (2 * self._alpha) * math.exp(-math.lgamma(1 / self.beta))
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(peak * np.exp(-((np.abs(np.asarray(x, np.float64)) / self._alpha) ** self.beta)))

    def tail(self, order: Order, x: Floats) -> Floats:
        from scipy.special import gammaincc

        power = (order + 1) / self.beta
        whole = self._alpha**order * math.exp(math.lgamma(power) - math.lgamma(1 / self.beta)) / 2
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(whole * gammaincc(power, (x / self._alpha) ** self.beta))

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit by two moments about 0: the means of |x| and of x² determine β in [0.2, 20]."""
        from scipy.optimize import brentq

        x = finite(data)
        root = Scaled.to(cls(2), rms(x)).factor  # refuses data of zeros
        ratio = float(np.mean(np.abs(x))) / root
        low, high = cls(LEAST).mean_magnitude, cls(MOST).mean_magnitude
        if not low < ratio < high:
            return Scaled(cls(LEAST if ratio <= low else MOST), root)
        beta = brentq(lambda log: cls(math.exp(log)).mean_magnitude - ratio, math.log(LEAST), math.log(MOST))
        return Scaled(cls(math.exp(beta)), root)
