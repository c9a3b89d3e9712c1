"""Analytic: the best scale of a distribution with the data's moments."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import left_out
from statqat_sim.histogram import Tail
from statqat_sim.prior import Prior, checked_prior
from statqat_sim.quantizer.channels import Channels
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.guard import guarded
from statqat_sim.quantizer.moment_rows import scales_by_moments
from statqat_sim.quantizer.objective import SQUARED, Objective
from statqat_sim.quantizer.options import check_flag
from statqat_sim.quantizer.representable import Scales, scales_of
from statqat_sim.quantizer.scan import best_first
from statqat_sim.quantizer.shapes import best_scale, best_scales
from statqat_sim.quantizer.task import Task
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import integers, with_zero_point
from statqat_sim.theory import nearest

AUTO = "auto"


@dataclass(frozen=True, slots=True, repr=False)
class Analytic(Chooser):
    """The scale of least expected error under a prior with the data's mean of x²; never worse than MinMax.

    The optimum is solved exactly for each format and prior, and cached: fitting is one pass over the data, for
    moments and for the proof that the scale is no worse than MinMax's. Stochastic rounding is modelled as in
    `Iterative`.

    Args:
        prior: a prior or its name; "auto": the generalised normal distribution with the data's ratio E|x| / √E[x²].
        scale_format: a number format, or its name, that holds the scale; None: float32.
        zero_point: whether to choose zero-points, too: see `Iterative`. The prior then has the data's mean and
            variance.

    Raises:
        LookupError: for an unknown prior or scale format.
        TypeError: if an option has the wrong type.
        ValueError: if an option has an invalid value.
    """

    prior: Prior | str = AUTO
    _: KW_ONLY
    scale_format: NumberFormat | str | None = None
    zero_point: bool = False

    def __post_init__(self) -> None:
        if self.prior != AUTO:
            checked_prior(self.prior)
        check_flag("zero_point", self.zero_point)
        scales_of(self.scale_format)

    @left_out
    @np.errstate(under="ignore")
    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """See `Quantizer.fit`."""
        objective, scales = self._options()
        channels = Channels.of(x, format, channel_axis, objective, scales, self.zero_point)
        found = None
        if scales.listed is None and not self.zero_point:
            found = scales_by_moments(channels, format, self._prior())
        return channels.choose(self._choice, format, objective, scales) if found is None else found

    def _options(self) -> tuple[Objective, Scales]:
        return SQUARED, scales_of(self.scale_format)

    def _choice(self, task: Task) -> float:
        mean, rms = _deviations(task.parts)
        if not rms > 0:
            return task.minmax
        prior, format = self._prior(), nearest(_centred(task.format) if self.zero_point else task.format)
        best = best_scales(format, np.array([mean / rms]))[0] if prior is None else best_scale(format, prior)
        scale = rms * best
        if not task.levels.saturates:
            scale = max(scale, task.minmax)
        return guarded(task, best_first(task, np.array([scale])))

    def _prior(self) -> Prior | None:
        """The prior; None if it is chosen by the data's moments."""
        return None if self.prior == AUTO else checked_prior(self.prior)


def _centred(format: NumberFormat) -> NumberFormat:
    """The format with zero in the middle of its range, as a symmetric prior sees it."""
    return with_zero_point(format, sum(integers(format).range) // 2)


def _deviations(parts: tuple[Tail, ...]) -> tuple[float, float]:
    """E|x − m| and √E[(x − m)²], where m is the data's mean if `parts` are two sides of zero, else 0."""
    count, power = sum(part.count for part in parts), sum(part.power for part in parts)
    mean = (parts[0].total - parts[-1].total) / count
    if mean == 0:
        return sum(part.total for part in parts) / count, math.sqrt(power / count)
    (above,), (outer,) = parts[0 if mean > 0 else 1].beyond(np.array([abs(mean)]))
    return 2 * (outer - above * abs(mean)) / count, math.sqrt(max(power / count - mean**2, 0.0))
