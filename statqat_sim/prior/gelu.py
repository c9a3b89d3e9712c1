"""The distribution of GELU of a normal input.

y = x·Φ(x) falls to its minimum at x ≈ -0.75 and rises from there: each y < 0 has two preimages x. An integral over
y > Y is one over the x beyond the preimages of Y, and (x·Φ)^k·φ has antiderivatives in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior.base import Order, Prior, finite, rms
from statqat_sim.prior.normal import Normal
from statqat_sim.prior.scaled import Scaled

TURN = -0.7517915246935645
"""The x of the minimal y: φ(x)·x = -Φ(x)."""
LEAST = -0.16997120747990363
"""The minimal y."""
FAR = 38.0
"""Beyond this |x|, φ underflows in float64."""
STEPS = 6
"""Steps of Newton's method, from a table of 4096 points."""


@dataclass(frozen=True)
class Gelu(Prior):
    """x·Φ(x) of a standard normal x, not normalised: mean 0.282, mean square 0.425."""

    name = "gelu"
    breaks = (LEAST,)
    smooth_length = 0.0
    reach = 12.0

    @property
    def second_moment(self) -> float:
        return float(_beyond(2, np.array(-math.inf)))

    def pdf(self, x: Any) -> Floats:
        y = np.asarray(x, np.float64)
        inside = y > LEAST
        left, right = _preimages(np.where(inside, y, 1.0))
        density = _share(right) + np.where(y < 0, _share(left), 0)
        return np.where(inside, density, 0.0)

    def upper(self, order: Order, x: Any) -> Floats:
        """See `Prior.upper`: the integral right of the larger preimage and, for Y < 0, left of the smaller one."""
        y = np.maximum(np.asarray(x, np.float64), LEAST)
        left, right = _preimages(y)
        return np.asarray(_beyond(order, right) + np.where(y < 0, _up_to(order, left), 0))

    def lower(self, order: Order, x: Any) -> Floats:
        y = np.maximum(np.asarray(x, np.float64), LEAST)
        left, right = _preimages(y)
        return np.asarray(_up_to(order, right) - np.where(y < 0, _up_to(order, left), 0))

    @classmethod
    def fit(cls, data: Any) -> Scaled:
        """Fit the scale by the mean of x²."""
        return Scaled.to(cls(), rms(finite(data)) / math.sqrt(cls().second_moment))


def _gelu(x: Floats) -> tuple[Floats, Floats]:
    """The value y, and dy/dx."""
    from scipy.special import ndtr

    below, x = ndtr(x), np.where(np.isinf(x), np.sign(x) * FAR, x)
    return x * below, below + x * Normal().pdf(x)


def _share(x: Floats) -> Floats:
    """φ / |dy/dx|: the contribution of a preimage x to the density at y."""
    slope = np.abs(_gelu(x)[1])
    return Normal().pdf(x) / np.where(slope > 0, slope, math.inf)


@cache
def _table() -> tuple[Floats, Floats, Floats, Floats]:
    """Tables of x right of the turn, with y, and of x left of the turn, with -log(-y); both ordinates ascend."""
    right = TURN + np.linspace(0, 3.2, 4096) ** 2
    left = TURN - np.linspace(0, 6.0, 4096) ** 2
    return right, _gelu(right)[0], left, -np.log(-_gelu(left)[0])


def _preimages(y: Floats) -> tuple[Floats, Floats]:
    """The preimages left of the turn, -Inf for y >= 0, and right of it."""
    right_x, right_y, left_x, left_y = _table()
    clipped = np.minimum(y, right_y[-1])
    right = _polished(np.interp(clipped, right_y, right_x), clipped, TURN, math.inf)
    right = np.where(y > right_y[-1], y, right)  # Φ is 1 there
    negative = y < 0
    target = np.where(negative, y, -1.0 / 8)
    with np.errstate(divide="ignore", under="ignore"):
        left = _polished(np.interp(-np.log(-target), left_y, left_x), target, -FAR, TURN)
    return np.where(negative, left, -math.inf), right


def _polished(x: Floats, y: Floats, low: float, high: float) -> Floats:
    """Newton's steps towards gelu(x) = y; x is unchanged at the turn, where the slope is 0."""
    for _ in range(STEPS):
        value, slope = _gelu(x)
        step = np.divide(y - value, slope, out=np.zeros_like(x), where=np.abs(slope) > 1e-300)
        x = np.clip(x + np.clip(step, -0.1, 0.1), low, high)
    return x


def _up_to(order: Order, a: Floats) -> Floats:
    """∫ (x·Φ)^order·φ dx from −∞ to a."""
    from scipy.special import ndtr

    below, density = ndtr(a), Normal().pdf(a)
    bounded = np.where(np.isinf(a), 0, a)
    root2 = ndtr(math.sqrt(2) * a)
    match order:
        case 0:
            return np.asarray(below)
        case 1:  # by parts: x·φ = -φ', and φ² is a normal density of variance ½
            return np.asarray(root2 / (2 * math.sqrt(math.pi)) - density * below)
        case 2:  # by parts, with x·φ² = -(φ²)'/2, and φ³ a normal density of variance ⅓
            cubes = ndtr(math.sqrt(3) * a) / (2 * math.pi * math.sqrt(3))
            return np.asarray(below**3 / 3 - bounded * below**2 * density - density**2 * below + cubes)


def _beyond(order: Order, a: Floats) -> Floats:
    """∫ (x·Φ)^order·φ dx from a to ∞."""
    from scipy.special import ndtr

    below, above, density = ndtr(a), ndtr(-a), Normal().pdf(a)
    bounded = np.where(np.isinf(a), 0, a)
    match order:
        case 0:
            return np.asarray(above)
        case 1:
            return np.asarray(ndtr(-math.sqrt(2) * a) / (2 * math.sqrt(math.pi)) + density * below)
        case 2:
            cubes = ndtr(-math.sqrt(3) * a) / (2 * math.pi * math.sqrt(3))
            # (1 - Φ³) / 3 without cancellation
            rest = above * (1 + below + below**2) / 3
            return np.asarray(rest + bounded * below**2 * density + density**2 * below + cubes)
