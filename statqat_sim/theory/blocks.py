"""The error of block formats under a prior: the mean over the distribution of the blocks' largest magnitudes.

In a block of n independent inputs the largest magnitude a has the distribution function H(a)^n, where H is that of |x|.
Given a, one input is ±a, and the other n - 1 have the prior's density within ±a. The block's rule computes the scale
from a.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior import Prior
from statqat_sim.spec.block import BlockFormat
from statqat_sim.theory.block_scales import BlockScales, block_scales
from statqat_sim.theory.pieces import Pieces, pieces

QUANTILES, PHASES = 2048, 32
"""The numbers of quantiles of amax, without phases, and of phases."""
QUANTILES_OF_PHASES = 256
TAIL = 3
"""Quantiles are at probabilities 1 - w³ with equidistant w, so that they cover heavy tails."""
SIZE = 1 << 18
"""The most cells to integrate together."""


@dataclass(frozen=True)
class ExpectedBlockError:
    """The error of independent inputs of a prior in a block format that scales its own blocks.

    A scale of the whole tensor is taken in the limit of a large tensor of unknown maximum: no block is so small that
    its scale underflows, and the error is averaged over the position of the tensor's scale in an octave. No other scale
    reaches an end of its format.

    Args:
        format: the block format.
        prior: the distribution of the inputs.
        random_phase: whether blocks are multiplied by 2^u, u uniform in [0, 1), and errors divided by 2^u again.
        mse: mean of the squared error.
        overload: the part of `mse` from inputs outside scale · [min, max] of the elements.
    """

    format: BlockFormat
    prior: Prior
    random_phase: bool
    mse: float
    overload: float

    @property
    def granular(self) -> float:
        """The part of `mse` from inputs within the range of the elements."""
        return self.mse - self.overload

    @property
    def sqnr_db(self) -> float:
        """10·log10(mean of x² / mse), in dB."""
        return float(10 * np.log10(self.prior.second_moment / self.mse))


@lru_cache(maxsize=256)
def expected_block_error(format: BlockFormat, prior: Prior, random_phase: bool = False) -> ExpectedBlockError:
    """The error of a block format, to about 0.005 dB for priors with a variance of their squares.

    Raises:
        UnsupportedError: for rules that search, offsets, nested scales and more than 16 bits.
    """
    scales, whole = block_scales(format), pieces(format.element)
    phases = random_phase or scales.has_tensor_scale
    amax, weights = largest_magnitudes(prior, scales.size, QUANTILES_OF_PHASES if phases else QUANTILES)
    shift = 2 ** ((np.arange(PHASES) + 0.5) / PHASES) if phases else np.ones(1)
    scale = (scales.scale(amax[:, None] * shift) / shift).ravel()
    amax = np.repeat(amax, shift.size)
    ends = format.element.min, format.element.max
    step = max(SIZE // (whole.sign.size + 2), 1)
    parts = [
        _errors(whole, ends, prior, scales, amax[i : i + step], scale[i : i + step]) for i in range(0, amax.size, step)
    ]
    mse, overload = np.repeat(weights, shift.size) @ np.concatenate(parts) / shift.size
    return ExpectedBlockError(format, prior, random_phase, float(mse), float(overload))


def largest_magnitudes(prior: Prior, size: int, count: int) -> tuple[Floats, Floats]:
    """Quantiles of amax, denser towards rare ones, and the probability around each, both of shape `(count,)`.

    The weights exclude blocks of zeros, which have no error.
    """
    zeros, w = prior.mass_at_zero**size, (np.arange(count) + 0.5) / count
    wanted = zeros + (1 - zeros) * (1 - w**TAIL)
    weights = (1 - zeros) * TAIL * w ** (TAIL - 1) / count
    # upper tail probabilities of a single magnitude: 1 - v^(1/n)
    beyond = -np.expm1(np.log(wanted) / size)
    grid = np.sqrt(prior.second_moment) * 2.0 ** np.linspace(30, -20, 20001)
    tail = prior.upper(0, grid) + prior.lower(0, -grid)
    rising, kept = np.unique(tail, return_index=True)
    with np.errstate(divide="ignore"):
        logs = np.interp(np.log(beyond), np.log(rising), np.log(grid[kept]))
    return np.exp(logs), weights


def _errors(
    whole: Pieces, ends: tuple[float, float], prior: Prior, scales: BlockScales, amax: Floats, scale: Floats
) -> Floats:
    """The mean squared error of an element, and the overload in it, for each amax and scale, shape `(blocks, 2)`."""
    at = np.searchsorted(whole.thresholds, ends)
    owner = np.insert(np.arange(whole.sign.size), at, at)
    cuts = np.insert(whole.thresholds, at, ends) * scale[:, None]
    limit = amax[:, None]
    edges = np.concatenate((-limit, np.clip(cuts, -limit, limit), limit), axis=1)
    sign, first, second = whole.sign[owner], whole.first[owner] * scale[:, None], whole.second[owner] * scale[:, None]
    m0, m1, m2 = prior.cell_moments(edges)
    inside = sign * (m2 - (first + second) * m1 + first * second * m0)
    cell = np.arange(owner.size)
    outside = (cell <= at[0]) | (cell > at[1] + 1)  # both ends are cuts of their own
    zeros = prior.mass_at_zero * scale**2 * whole.product[whole.zero]
    held = m0.sum(axis=1) + prior.mass_at_zero
    share = (scales.size - 1) / scales.size / held
    peak = _peak(whole, ends, prior, amax, scale) / scales.size
    return np.stack((share * (inside.sum(axis=1) + zeros), share * inside[:, outside].sum(axis=1)), axis=1) + peak


def _peak(whole: Pieces, ends: tuple[float, float], prior: Prior, amax: Floats, scale: Floats) -> Floats:
    """The squared error of the input of largest magnitude, and its overload part, shape `(blocks, 2)`."""
    densities = np.stack((prior.pdf(-amax), prior.pdf(amax)))
    found = np.zeros((amax.size, 2))
    for sign, share in zip((-1, 1), densities / np.maximum(densities.sum(axis=0), 1e-300), strict=True):
        x = sign * amax / scale
        at = np.searchsorted(whole.thresholds, x)
        error = share * scale**2 * whole.sign[at] * (x - whole.first[at]) * (x - whole.second[at])
        found += np.stack((error, np.where((x < ends[0]) | (x > ends[1]), error, 0)), axis=1)
    return found
