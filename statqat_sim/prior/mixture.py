"""A mixture of distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, Prior


@dataclass(frozen=True)
class Mixture(Prior):
    """A mixture: inputs come from `parts` with probabilities `weights`; neither mean nor variance is normalised.

    >>> from statqat_sim.prior import Mixture, Normal, Scaled
    >>> Mixture((0.999, 0.001), (Normal(), Scaled(Normal(), 30))).second_moment
    1.899
    """

    weights: Sequence[float]
    parts: Sequence[Prior]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts or len(self.parts) != len(self.weights):
            raise ValueError(f"{len(self.weights)} weights for {len(self.parts)} priors; allowed: one for each")
        if min(self.weights) < 0 or not math.isclose(sum(self.weights), 1, abs_tol=1e-9):
            raise ValueError(f"weights are {self.weights}; allowed: probabilities that add up to 1")

    @property
    def name(self) -> str:
        terms = zip(self.weights, self.parts, strict=True)
        return "mixture(" + ", ".join(f"{weight:g}: {part.name}" for weight, part in terms) + ")"

    def _mean(self, of: Callable[[Prior], Any]) -> Any:
        return sum(weight * of(part) for weight, part in zip(self.weights, self.parts, strict=True))

    @property
    def second_moment(self) -> float:
        return float(self._mean(lambda part: part.second_moment))

    @property
    def breaks(self) -> tuple[float, ...]:  # type: ignore[override]
        return tuple(sorted({x for part in self.parts for x in part.breaks}))

    @property
    def smooth_length(self) -> float:  # type: ignore[override]
        return min(part.smooth_length for part in self.parts)

    @property
    def reach(self) -> float:  # type: ignore[override]
        return max(part.reach for part in self.parts)

    @property
    def mass_at_zero(self) -> float:  # type: ignore[override]
        return float(self._mean(lambda part: part.mass_at_zero))

    def pdf(self, x: Any) -> Floats:
        return np.asarray(self._mean(lambda part: part.pdf(x)))

    def upper(self, order: Order, x: Any) -> Floats:
        return np.asarray(self._mean(lambda part: part.upper(order, x)))

    def lower(self, order: Order, x: Any) -> Floats:
        return np.asarray(self._mean(lambda part: part.lower(order, x)))

    def cell_moments(self, edges: Floats, orders: tuple[Order, ...] = (0, 1, 2)) -> tuple[Floats, ...]:
        """See `Prior.cell_moments`; delegated to the parts, since each has its own `middle`."""
        cells = [part.cell_moments(edges, orders) for part in self.parts]
        return tuple(
            np.asarray(sum(weight * moments[i] for weight, moments in zip(self.weights, cells, strict=True)))
            for i in range(len(orders))
        )
