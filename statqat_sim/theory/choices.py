"""Scales that simple methods choose under a prior, for comparison with the best one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from statqat_sim.prior import Normal, Prior, Scaled
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory.blocks import largest_magnitudes
from statqat_sim.theory.errors import expected_error
from statqat_sim.theory.integrals import moment_sums
from statqat_sim.theory.optimum import MANY
from statqat_sim.theory.pieces import pieces

COUNT = 4096
"""Inputs that share a scale."""
STEPS = 2000
"""The most steps of the alternating method; a hundredth of these for grids of many values, where it hardly moves."""


def choices(format: NumberFormat, prior: Prior) -> Mapping[str, float]:
    """Scales by name: `minmax` of 4096 inputs, `paper_iterative` from there, `paper_analytic`, and `optimal`."""
    start = minmax(format, prior)
    as_normal = Scaled(Normal(), prior.second_moment**0.5)
    return {
        "minmax": start,
        "paper_iterative": alternating(format, prior, start),
        "paper_analytic": float(expected_error(format, prior=as_normal, scale="optimal").scale),
        "optimal": float(expected_error(format, prior=prior, scale="optimal").scale),
    }


def minmax(format: NumberFormat, prior: Prior, count: int = COUNT) -> float:
    """The scale that maps the mean largest magnitude of `count` inputs to the format's largest value, or magnitude."""
    amax, weights = largest_magnitudes(prior, count, 1 << 12)
    largest = format.max if format.max > 0 else -format.min
    return float(weights @ amax) / largest


def alternating(format: NumberFormat, prior: Prior, scale: float) -> float:
    """The fixed point of s ← Σ x·c / Σ c² from a scale, or the result after `STEPS` steps."""
    whole = pieces(format)
    for _ in range(STEPS // 100 if whole.sign.size > MANY else STEPS):
        _, a, b = moment_sums(whole.within(0, prior.reach / scale), prior, np.array([scale]))
        if not (a[0] > 0 and b[0] > 0):
            break
        before, scale = scale, float(a[0] / b[0])
        if abs(scale - before) <= 1e-10 * scale:
            break
    return scale
