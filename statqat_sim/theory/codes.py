"""Probabilities of codes and of overflow, and the convergence rate of the alternating method."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.prior import Prior
from statqat_sim.reference.exact import Special, encode_number
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory.cells import cells, nearest
from statqat_sim.theory.integrals import moment_sums
from statqat_sim.theory.pieces import pieces


def code_probabilities(format: NumberFormat, prior: Prior, scale: float) -> Floats:
    """The probability of every code, shape `(2**bits,)`; inputs that overflow count as clipped."""
    whole = pieces(format)
    thresholds = scale * whole.thresholds
    at = int(np.searchsorted(thresholds, 0.0))
    edges = np.concatenate(([-math.inf], thresholds[:at], [0.0], thresholds[at:], [math.inf]))
    owner = np.insert(np.arange(whole.sign.size), at, at)
    m0, m1 = prior.cell_moments(edges, (0, 1))
    first, second = whole.first[owner], whole.second[owner]
    gap = scale * np.where(first == second, 1.0, second - first)
    upper = np.where(first == second, 0.0, np.clip((m1 - scale * first * m0) / gap, 0, m0))
    found, is_negative = np.zeros(1 << format.bits), edges[1:] <= 0
    np.add.at(found, _codes(format, first, is_negative), m0 - upper)
    np.add.at(found, _codes(format, second, is_negative), upper)
    if prior.mass_at_zero:
        every = cells(nearest(format))
        of_zero = every.values[[every.zero]]
        found[_codes(format, of_zero, np.array([False]))] += prior.mass_at_zero
    return found


def lost(format: NumberFormat, prior: Prior, scale: float) -> float:
    """The probability of inputs that become Inf or NaN."""
    found = cells(nearest(format))
    low, high = (scale * limit for limit in found.limits)
    zeros = prior.mass_at_zero * found.zero_is_nan
    return float(prior.lower(0, low)) * (low > -math.inf) + float(prior.upper(0, high)) * (high < math.inf) + zeros


def rate(format: NumberFormat, prior: Prior, scale: float) -> float:
    """ρ = (A′ - sB′) / B of the step s ← A/B, from the thresholds, which move with s; NaN for stochastic rounding."""
    whole = pieces(format).within(0, prior.reach / scale)
    if not whole.is_deterministic:
        return math.nan
    c, t = whole.first, whole.thresholds
    b = moment_sums(whole, prior, np.array([scale]))[2][0]
    flow = np.diff(c) * t * (c[:-1] + c[1:] - t)
    return float(scale * (flow @ prior.pdf(scale * t)) / b) if b > 0 else math.nan


def _codes(format: NumberFormat, values: Floats, is_negative: NDArray[np.bool_]) -> NDArray[Any]:
    """The lowest code of each value; for zero, the one with the sign of the input."""
    levels, codes, negative_zero = _code_table(format)
    found = codes[np.searchsorted(levels, values)]
    return np.where((values == 0) & is_negative, negative_zero, found)


@lru_cache(maxsize=64)
def _code_table(format: NumberFormat) -> tuple[Floats, NDArray[Any], int]:
    """The finite values, the code of each, and the code of negative inputs that become zero."""
    table = format.table()
    codes = np.flatnonzero(np.isfinite(table))
    levels, places = np.unique(table[codes] + 0.0, return_index=True)
    codes = codes[places]
    if not format.element.has_zero:
        return levels, codes, 0
    codes[np.searchsorted(levels, 0.0)] = encode_number(format, Fraction(0))
    return levels, codes, encode_number(format, Special.NEGATIVE_ZERO)
