"""Mean squared errors of pieces of the real line under a prior."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior import Prior
from statqat_sim.theory.pieces import Pieces

WIDE = (-math.inf, math.inf)


def errors_by_range(
    pieces: Pieces, prior: Prior, scale: float, ends: tuple[float, float] = WIDE
) -> tuple[float, float]:
    """The mean squared error, and the part of it from inputs outside the ends."""
    # merged pieces have errors below 1e-18 of the power times a probability of 1e-9, or no probability
    pieces = pieces.within(1e-9 * math.sqrt(prior.second_moment) / scale, prior.reach / scale)
    thresholds = scale * pieces.thresholds
    cuts = np.array(sorted(x for x in {*prior.breaks, *ends} if math.isfinite(x)))
    at = np.searchsorted(thresholds, cuts)
    edges = np.concatenate(([-math.inf], np.insert(thresholds, at, cuts), [math.inf]))
    owner = np.insert(np.arange(pieces.sign.size), at, at)
    errors = _cell_errors(prior, edges, scale * pieces.first[owner], scale * pieces.second[owner])
    outside = (edges[1:] <= ends[0]) | (edges[:-1] >= ends[1])
    zeros = prior.mass_at_zero * scale**2 * float(pieces.product[pieces.zero])
    return float(errors.sum()) + zeros, float(errors[outside].sum())


def _cell_errors(prior: Prior, edges: Floats, first: Floats, second: Floats) -> Floats:
    """∫ |(x - first)(x - second)| p(x) dx between neighbouring edges, where the product has one sign.

    In narrow cells the sum of moments cancels, but the density is nearly a polynomial there: Gauss-Legendre
    quadrature avoids the cancellation.
    """
    low, high = edges[:-1], edges[1:]
    found, width, smooth = np.zeros(low.shape), high - low, prior.smooth_length
    relative = np.divide(width, smooth, out=np.full(low.shape, math.inf), where=smooth > 0)
    wide = np.flatnonzero(relative >= 1)
    m0, m1, m2 = (m[:, 0] for m in prior.cell_moments(np.stack((low[wide], high[wide]), 1)))
    found[wide] = m2 - (first[wide] + second[wide]) * m1 + first[wide] * second[wide] * m0
    found[wide] = np.maximum(np.where(first[wide] == second[wide], 1, -1) * found[wide], 0)
    for samples, start, end in ((10, 0.1, 1.0), (4, 0.0, 0.1)):
        cells = np.flatnonzero((start <= relative) & (relative < end) & (relative > 0))
        nodes, weights = _rule(samples)
        x = low[cells, None] + width[cells, None] * nodes
        products = (x - first[cells, None]) * (x - second[cells, None])
        found[cells] = width[cells] * ((np.abs(products) * prior.pdf(x)) @ weights)
    return found


def moment_sums(pieces: Pieces, prior: Prior, scales: Floats) -> tuple[Floats, Floats, Floats]:
    """C, A, B of MSE(s) = C - 2sA + s²B for each scale, shape `(scales,)`.

    The MSE is exact up to the rounding error of C, which is about the signal's power.
    """
    ends = np.full((scales.size, 1), np.inf)
    edges = np.concatenate((-ends, scales[:, None] * pieces.thresholds, ends), axis=1)
    if pieces.is_deterministic:
        m0, m1 = prior.cell_moments(edges, (0, 1))
        power = np.full(scales.shape, prior.second_moment)
    else:
        m0, m1, m2 = prior.cell_moments(edges)
        power = _summed(m2, pieces.sign)
    m0[:, pieces.zero] += prior.mass_at_zero
    return power, _summed(m1, pieces.mean), _summed(m0, pieces.product)


def slope(pieces: Pieces, prior: Prior, scales: Floats, a: Floats, b: Floats) -> Floats:
    """MSE′(s) / 2 = sB - A + s²/2 Σ t·p(s·t)·jump; thresholds at which the error is continuous do not contribute."""
    found = scales * b - a
    if pieces.jumps is not None:
        densities = prior.pdf(scales[:, None] * pieces.thresholds)
        found = found + scales**2 / 2 * _summed(densities, pieces.thresholds * pieces.jumps)
    return found


def _summed(moments: Floats, factors: Floats) -> Floats:
    """Σ moments · factors along rows, by pairwise summation, which is more accurate than a matrix product."""
    return np.asarray((moments * factors).sum(axis=1))


@cache
def _rule(samples: int) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(samples)
    return (nodes + 1) / 2, weights / 2
