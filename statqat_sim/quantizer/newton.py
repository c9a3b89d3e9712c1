"""Quasi-Newton steps with an exact gradient and a safe curvature.

MSE(s) = E[x²] − 2·s·A + s²·B with A = E[x·c] and B = E[c²], where c is the value of x at s, before scaling. The error
is continuous at the thresholds, so their movement does not contribute: MSE′(s)/2 = s·B − A exactly. Least squares
given the codes, s ← A/B = Σ x·c / Σ c², is for any grid the step of gradient descent with curvature B, an upper bound
of MSE″/2 = B − s·Σ Δ_j·t_j²·p(s·t_j): the error never rises, but near the optimum it falls only by a constant factor,
which tends to 1 as bits grow. Bennett's integral gives a nearly exact curvature: κ = Σ Δ²/12 over the grid intervals of
the elements, plus Σ c² over clipped elements.
"""

from __future__ import annotations

from collections.abc import Callable

FURTHEST_DOWN, FURTHEST_UP = 0.75, 3.0
"""The longest steps, relative to the scale."""

BOLDER = 4.0
"""The factor by which the curvature is raised after a step that would increase the error."""


def step(scale: float, slope: float, cautious: float, bold: float, error: Callable[[float], float]) -> float:
    """The scale after one step; unchanged if no step lowers the error.

    Args:
        scale: the current scale s.
        slope: s·B − A.
        cautious: B.
        bold: κ, at most B.
        error: returns the error at a scale.
    """
    if not cautious > 0:
        return scale
    here, curvature = error(scale), max(min(bold, cautious), cautious * 1e-12)
    while True:
        move = min(max(-slope / curvature, -FURTHEST_DOWN * scale), FURTHEST_UP * scale)
        if error(scale + move) <= here:
            return scale + move
        if curvature >= cautious:
            return scale
        curvature = min(BOLDER * curvature, cautious)
