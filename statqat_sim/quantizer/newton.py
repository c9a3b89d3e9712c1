"""Quasi-Newton steps with an exact gradient and a safe curvature.

MSE(s) = E[x²] − 2·s·A + s²·B with A = E[x·c] and B = E[c²] over the codes that x has at s. As the boundaries between
cells move, what x gains on one side it loses on the other, so that MSE′(s)/2 = s·B − A exactly. Least squares given
the codes, s ← A/B = Σ x·c / Σ c², for floating-point grids as for any other, is the step of gradient descent with
curvature B, an upper bound of MSE″/2 = B − s·Σ Δ_j·t_j²·p(s·t_j): the error never rises, but near the optimum it falls
by a constant factor only, which tends to 1 as bits grow. Bennett's integral gives the curvature that is almost right:
κ = Σ Δ²/12 over the grid intervals that the elements lie in, and c² of what is clipped.
"""

from __future__ import annotations

from collections.abc import Callable

FURTHEST_DOWN, FURTHEST_UP = 0.75, 3.0
"""Of a scale: no step is longer."""

BOLDER = 4.0
"""How many times the curvature is raised when the error rose."""


def step(scale: float, slope: float, cautious: float, bold: float, error: Callable[[float], float]) -> float:
    """The scale after one step; the same where no step lowers the error.

    Args:
        scale: from here.
        slope: s·B − A.
        cautious: B.
        bold: κ, at most B.
        error: at any scale.
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
