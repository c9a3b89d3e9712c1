"""The logistic distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, SymmetricPrior, finite, rms
from statqat_sim.prior.scaled import Scaled

UNIT = math.sqrt(3) / math.pi
"""The factor of the standard logistic variable that gives variance 1."""

FAR = 1e4
"""Beyond this the density underflows to 0 in float64."""


@dataclass(frozen=True)
class Logistic(SymmetricPrior):
    """Mean 0, variance 1."""

    name = "logistic"
    second_moment = 1.0
    reach = 40.0

    def pdf(self, x: Any) -> Floats:
        from scipy.special import expit

        z = np.asarray(x, np.float64) / UNIT
        return np.asarray(expit(z) * expit(-z) / UNIT)

    def tail(self, order: Order, x: Floats) -> Floats:
        from scipy.special import expit

        with np.errstate(under="ignore"):
            decay = np.exp(-x / UNIT)
        beyond, z = expit(-x / UNIT), np.minimum(x / UNIT, FAR)
        match order:
            case 0:
                return np.asarray(beyond)
            case 1:
                return np.asarray(UNIT * (z * beyond + np.log1p(decay)))
            case 2:
                return np.asarray(UNIT**2 * (z * z * beyond + 2 * (z * np.log1p(decay) + _dilogarithm(decay))))

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit the scale by maximum likelihood about 0."""
        from scipy.optimize import minimize_scalar

        x = finite(data)
        root = Scaled.to(cls(), rms(x)).factor  # refuses data of zeros
        z = np.abs(x) / (root * UNIT)

        def surprise(log_scale: float) -> float:
            y = z * math.exp(-log_scale)
            return float(np.mean(y + 2 * np.log1p(np.exp(-y)))) + log_scale

        found = minimize_scalar(surprise, bounds=(-6, 3), method="bounded", options={"xatol": 1e-9})
        return Scaled(cls(), root * math.exp(float(found.x)))


def _dilogarithm(w: Floats) -> Floats:
    """-Li2(-w) for 0 <= w <= 1; below 0.05 by its series, which avoids rounding 1 + w."""
    from scipy.special import spence

    terms = [(-1) ** (k + 1) / k**2 for k in range(1, 14)]
    with np.errstate(under="ignore"):
        series = w * np.polynomial.polynomial.polyval(w, terms)
    return np.asarray(np.where(w < 0.05, series, -spence(1 + w)))
