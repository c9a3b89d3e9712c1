"""A distribution with another scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, Prior


@dataclass(frozen=True)
class Scaled(Prior):
    """The distribution of factor · x, for a factor above zero."""

    prior: Prior
    factor: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise ValueError(f"the factor of a prior is {self.factor}; allowed: finite numbers above zero")

    @classmethod
    def to(cls, prior: Prior, factor: float) -> Scaled:
        """The prior with a fitted factor.

        Raises:
            ValueError: if the factor is not finite and above zero, as for data of zeros.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise ValueError(f"data of scale {factor}: no {prior.name} prior fits; allowed: data that is not all zero")
        return cls(prior, factor)

    @property
    def name(self) -> str:
        return f"{self.factor:.6g}*{self.prior.name}"

    @property
    def second_moment(self) -> float:
        return self.factor**2 * self.prior.second_moment

    @property
    def breaks(self) -> tuple[float, ...]:  # type: ignore[override]
        return tuple(self.factor * x for x in self.prior.breaks)

    @property
    def smooth_length(self) -> float:  # type: ignore[override]
        return self.factor * self.prior.smooth_length

    @property
    def reach(self) -> float:  # type: ignore[override]
        return self.factor * self.prior.reach

    @property
    def middle(self) -> float:  # type: ignore[override]
        return self.factor * self.prior.middle

    @property
    def mass_at_zero(self) -> float:  # type: ignore[override]
        return self.prior.mass_at_zero

    def pdf(self, x: Any) -> Floats:
        return self.prior.pdf(np.asarray(x, np.float64) / self.factor) / self.factor

    def upper(self, order: Order, x: Any) -> Floats:
        return self.prior.upper(order, np.asarray(x, np.float64) / self.factor) * self.factor**order

    def lower(self, order: Order, x: Any) -> Floats:
        return self.prior.lower(order, np.asarray(x, np.float64) / self.factor) * self.factor**order
