"""The scale of least mean squared error, by the roots of its derivative."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.prior import Prior
from statqat_sim.theory.bands import bands
from statqat_sim.theory.integrals import moment_sums, slope
from statqat_sim.theory.pieces import Pieces

MANY = 1 << 10
"""Grids with more thresholds than this are scanned as bands."""
SIZE = 1 << 17
"""The most pairs of cell and scale to integrate together, and in a whole scan unless it needs more."""
SCALES_PER_OCTAVE = 4, 24
"""The least and the most scales per octave of a scan."""
SCALES_PER_OCTAVE_OF_BANDS = 4, 8
"""The same for bands, whose error has only small ripples."""
CANDIDATES = 16
"""The most local minima to refine, of those within 10 % of the lowest in the scan."""
RUGGED = 129
"""Scales of the finer scan between two of the ladder."""


def local_minima(pieces: Pieces, prior: Prior, low: float, high: float) -> list[float]:
    """The local minima of the error in [low, high], lowest errors first; without any, the better end.

    Floating-point formats of many binades have the same error at s, 2s, 4s …: of equal ones those near 1 come first.

    Args:
        pieces: the pieces of a format.
        prior: the distribution of its inputs.
        low: the smallest scale.
        high: the largest scale.
    """
    if pieces.thresholds.size > MANY and pieces.is_ascending:
        return _minima_of_bands(pieces, prior, low, high)
    scales = _ladder(low, high, pieces.sign.size, SCALES_PER_OCTAVE)
    error, rise = scan(pieces, prior, scales)
    turns = np.flatnonzero((rise[:-1] < 0) & (rise[1:] >= 0)).tolist()
    brackets = [(i, i + 1) for i in turns]
    if prior.smooth_length == 0:  # with poles or steps of the density, a valley may be narrower than a step
        valleys = np.flatnonzero((error[1:-1] < error[:-2]) & (error[1:-1] < error[2:])).tolist()
        brackets += [(i, i + 2) for i in valleys]
    if not brackets:
        return [float(scales[np.argmin(error)])]
    least = [float(error[start : end + 1].min()) for start, end in brackets]
    lowest = _in_order(least, [float(scales[start]) for start, _ in brackets])
    ends = [(float(scales[brackets[i][0]]), float(scales[brackets[i][1]])) for i in lowest]
    return [_root(pieces, prior, *pair) for pair in ends]


def _minima_of_bands(pieces: Pieces, prior: Prior, low: float, high: float) -> list[float]:
    """The two best minima of a scan by bands, refined by the exact equation."""
    unit = math.sqrt(prior.second_moment)
    found_bands = bands(pieces.within(1e-8 * unit / high, prior.reach / low))
    scales = _ladder(low, high, found_bands.errors.size, SCALES_PER_OCTAVE_OF_BANDS)
    error = found_bands.mean_squared_errors(prior, scales)
    turns = 1 + np.flatnonzero((error[1:-1] <= error[:-2]) & (error[1:-1] < error[2:]))
    if turns.size == 0:
        return [float(scales[np.argmin(error)])]
    found = []
    for i in _in_order(error[turns].tolist(), scales[turns].tolist())[:2]:
        s, step = float(scales[turns[i]]), float(scales[1] / scales[0])
        near = pieces.within(1e-6 * unit / s, prior.reach / s)
        found.append(_root(near, prior, s / step, s * step))
    return found


def _ladder(low: float, high: float, cells: int, per_octave: tuple[int, int]) -> Floats:
    """Scales with an integer number per octave, within the bounds `per_octave`; fewer for more cells."""
    octaves = math.log2(high) - math.log2(low)
    count = int(np.clip(SIZE / (octaves * cells), *per_octave))
    return np.asarray(low * 2.0 ** (np.arange(math.ceil(octaves * count) + 2) / count))


def _in_order(errors: Sequence[float], scales: Sequence[float]) -> list[int]:
    """The indices of the lowest errors, in order; of errors that agree to 7 digits, the two nearest to scale 1."""
    close = [i for i, error in enumerate(errors) if error <= 1.1 * min(errors)]
    ranked = sorted(close, key=lambda i: (float(f"{errors[i]:.6e}"), abs(math.log(scales[i]))))
    kept = [i for n, i in enumerate(ranked) if n < 2 or f"{errors[i]:.6e}" != f"{errors[ranked[n - 2]]:.6e}"]
    return kept[:CANDIDATES]


def scan(pieces: Pieces, prior: Prior, scales: Floats) -> tuple[Floats, Floats]:
    """MSE(s) and MSE′(s) / 2 for each scale, to about 1e-15 of the signal's power."""
    step = max(SIZE // pieces.sign.size, 1)
    parts = [_some(pieces, prior, scales[i : i + step]) for i in range(0, scales.size, step)]
    errors, rises = zip(*parts, strict=True)
    return np.concatenate(errors), np.concatenate(rises)


def _some(pieces: Pieces, prior: Prior, scales: Floats) -> tuple[Floats, Floats]:
    power, a, b = moment_sums(pieces, prior, scales)
    return power - 2 * scales * a + scales**2 * b, slope(pieces, prior, scales, a, b)


def _root(pieces: Pieces, prior: Prior, low: float, high: float) -> float:
    """The zero of MSE′ between two scales; if its signs do not bracket one, the scale of least error.

    If the density has poles or steps, the error is rugged, and a finer scan narrows the bracket first.
    """
    from scipy.optimize import brentq, minimize_scalar

    def at(log: float) -> tuple[float, float]:
        error, rise = scan(pieces, prior, np.array([math.exp(log)]))
        return float(error[0]), float(rise[0])

    if prior.smooth_length == 0:
        scales = np.geomspace(low, high, RUGGED)
        lowest = int(np.clip(scan(pieces, prior, scales)[0].argmin(), 1, RUGGED - 2))
        low, high = scales[lowest - 1], scales[lowest + 1]
    ends = math.log(low), math.log(high)
    if at(ends[0])[1] < 0 <= at(ends[1])[1]:
        # the error is flat at the minimum: a relative change of s by 1e-9 changes it by 1e-18
        xtol = 1e-9 if pieces.sign.size > MANY else 1e-13
        return math.exp(float(brentq(lambda log: at(log)[1], *ends, xtol=xtol)))
    found = minimize_scalar(lambda log: at(log)[0], bounds=ends, method="bounded", options={"xatol": 1e-7})
    return math.exp(float(found.x))
