"""Analytic: the best scale of a distribution that has the data's moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from statqat_sim.histogram import Tail
from statqat_sim.prior import GeneralisedNormal, Prior, checked_prior
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.guard import guarded
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.representable import Scales, scales_of
from statqat_sim.quantizer.scan import best_first
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory import expected_error, nearest

AUTO = "auto"
SHAPES = tuple(0.4 * 1.07**step for step in range(46))
"""Of generalised normal distributions, heavy tails first: 1 is near Laplace, 2 near normal."""


@dataclass(frozen=True, slots=True, repr=False)
class Analytic(Chooser):
    """The scale of least expected error, were the data of a prior with their mean of x²; never worse than MinMax.

    The optimum is solved exactly for each format and prior, and kept: what is left is one pass over the data, for
    their moments and for the proof that the scale is no worse than MinMax's.

    Args:
        prior: a prior or its name; "auto": the generalised normal distribution with the data's ratio of E|x| to the
            root of E[x²].
        scale_format: a number format, or its name, that holds the scale; None: float32.
        zero_point: whether to choose zero-points, too: see `Iterative`. The prior is then moved to the data's mean, and
            has their variance.

    Raises:
        LookupError: for an unknown prior.
        TypeError: if it is neither a prior nor a name.
    """

    prior: Prior | str = AUTO
    scale_format: NumberFormat | str | None = None
    zero_point: bool = False

    def __post_init__(self) -> None:
        if self.prior != AUTO:
            checked_prior(self.prior)

    def _options(self) -> tuple[Objective, Scales]:
        return SQUARED, scales_of(self.scale_format)

    def _choice(self, task: Task) -> float:
        mean, rms = _deviations(task.parts)
        if not rms > 0:
            return task.minmax
        if self.prior == AUTO:
            prior: Prior = GeneralisedNormal(_shape(mean / rms))
        else:
            prior = checked_prior(self.prior)
        scale = rms * _best_scale(nearest(task.centred), prior) / math.sqrt(prior.second_moment)
        if not task.levels.saturates:
            scale = max(scale, task.minmax)
        return guarded(task, best_first(task, np.array([scale])))


def _deviations(parts: tuple[Tail, ...]) -> tuple[float, float]:
    """The mean of |x - m| and the root of that of (x - m)²: m is 0, or of both sides of zero the mean."""
    count, power = sum(part.count for part in parts), sum(part.power for part in parts)
    mean = (parts[0].total - parts[-1].total) / count
    if mean == 0:
        return sum(part.total for part in parts) / count, math.sqrt(power / count)
    (above,), (outer,) = parts[0 if mean > 0 else 1].beyond(np.array([abs(mean)]))
    return 2 * (outer - above * abs(mean)) / count, math.sqrt(max(power / count - mean**2, 0.0))


@lru_cache(maxsize=1024)
def _best_scale(format: NumberFormat, prior: Prior) -> float:
    return float(expected_error(format, prior=prior, scale="optimal").scale)


@lru_cache(maxsize=1)
def _ratios() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """E|x| over the root of E[x²], for each shape; ascending."""
    return np.array([GeneralisedNormal(shape).mean_magnitude for shape in SHAPES])


def _shape(ratio: float) -> float:
    """The shape with the nearest ratio."""
    return SHAPES[int(np.argmin(np.abs(_ratios() - ratio)))]
