"""Generalised normal distributions selected by the ratio E|x| / √E[x²], and best scales of priors."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.prior import GeneralisedNormal, Prior
from statqat_sim.spec.encode import Overflow
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory import expected_error

SHAPES = tuple(0.4 * 1.07**step for step in range(46))
"""Values of β, heavy tails first: 1 is Laplace, 2 normal."""


@lru_cache(maxsize=8192)
def best_scale(format: NumberFormat, prior: Prior) -> float:
    """The scale of least expected error, for data with an RMS of 1; inputs that would wrap count as clipped."""
    best = expected_error(_saturating(format), prior=prior, scale="optimal")
    return float(best.scale) / math.sqrt(prior.second_moment)


def _saturating(format: NumberFormat) -> NumberFormat:
    """The format, with saturation in place of `overflow: wrap`, which theory refuses."""
    if format.encode.overflow is not Overflow.WRAP:
        return format
    encode = format.encode.model_copy(update={"overflow": Overflow.SATURATE})
    return format.model_copy(update={"encode": encode})


def best_scales(format: NumberFormat, ratios: Floats) -> Floats:
    """For each ratio, the best scale of the shape with the nearest ratio, for an RMS of 1."""
    shapes, places = np.unique(_shapes(ratios), return_inverse=True)
    return np.array([best_scale(format, GeneralisedNormal(SHAPES[shape])) for shape in shapes])[places]


def _shapes(ratios: Floats) -> NDArray[np.intp]:
    """The indices of the shapes with the nearest ratios."""
    return np.searchsorted(_middles(), ratios)


@lru_cache(maxsize=1)
def _middles() -> Floats:
    """Midpoints between the ratios of neighbouring shapes, ascending."""
    ratios = np.array([GeneralisedNormal(shape).mean_magnitude for shape in SHAPES])
    return np.asarray((ratios[1:] + ratios[:-1]) / 2)
