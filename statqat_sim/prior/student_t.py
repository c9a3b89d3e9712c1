"""Student's t distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, SymmetricPrior, finite, rms
from statqat_sim.prior.scaled import Scaled

BEYOND = 1e-25
"""About the share of the second moment beyond the reach."""
FARTHEST = 1e60
"""No reach is larger: beyond it there are no float32 inputs."""


@dataclass(frozen=True)
class StudentT(SymmetricPrior):
    """Student's t with `nu` > 2 degrees of freedom, divided by its standard deviation: mean 0, variance 1.

    Below 2.42 degrees of freedom more than 1e-24 of the second moment is beyond `reach`, which ends at 1e60 there.
    """

    nu: float
    second_moment = 1.0

    def __post_init__(self) -> None:
        if not 2 < self.nu < math.inf:
            raise ValueError(f"student_t: nu is {self.nu}; allowed: finite numbers above 2, where the variance exists")

    @property
    def name(self) -> str:
        return f"student_t({self.nu:g})"

    @property
    def reach(self) -> float:  # type: ignore[override]
        excess = self.nu - 2
        # (1 + x²/(ν - 2))^(1 - ν/2) = BEYOND, the order of the second moment's tail
        growth = min(-2 * math.log(BEYOND) / excess, 2 * math.log(FARTHEST))
        return math.sqrt(excess * math.expm1(growth))

    @property
    def _unit(self) -> float:
        """The factor of the standard t variable that gives variance 1."""
        return math.sqrt((self.nu - 2) / self.nu)

    @property
    def _peak(self) -> float:
        """The density of the standard t variable at 0."""
        from scipy.special import betaln

        return math.exp(-betaln(0.5, self.nu / 2)) / math.sqrt(self.nu)

    def _power(self, y: Floats, exponent: float) -> Floats:
        """(1 + y²/ν)^exponent."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp(exponent * np.log1p(y * y / self.nu)))

    def pdf(self, x: Any) -> Floats:
        y = np.asarray(x, np.float64) / self._unit
        return self._peak / self._unit * self._power(y, -(self.nu + 1) / 2)

    def tail(self, order: Order, x: Floats) -> Floats:
        from scipy.special import stdtr

        nu, y = self.nu, np.asarray(x / self._unit)
        # y·p = -q′ with q = (ν + y²)·p / (ν - 1), and by parts for y²·p
        flow = nu * self._peak * self._power(y, (1 - nu) / 2)
        match order:
            case 0:
                return np.asarray(stdtr(nu, -y))
            case 1:
                return self._unit * flow / (nu - 1)
            case 2:
                edge = np.where(np.isinf(y), 0, y) * flow
                return np.asarray(self._unit**2 * (edge + nu * stdtr(nu, -y)) / (nu - 2))

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit ν in [2.05, 100] and the scale together by maximum likelihood about 0."""
        from scipy.optimize import minimize

        x = finite(data)
        root = Scaled.to(cls(5), rms(x)).factor  # refuses data of zeros
        x = x / root

        def surprise(at: Floats) -> float:
            nu, scale = math.exp(at[0]), math.exp(at[1])
            terms = (nu + 1) / 2 * np.log1p(np.square(x / scale) / nu)
            return float(terms.mean()) + math.log(scale) - math.log(cls(nu)._peak)

        bounds = [(math.log(2.05), math.log(100)), (math.log(1e-6), math.log(10))]
        nu, scale = np.exp(minimize(surprise, [math.log(5), math.log(0.8)], bounds=bounds).x).tolist()
        return Scaled(cls(nu), root * scale / cls(nu)._unit)
