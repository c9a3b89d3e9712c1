"""Iterative, batch by batch: a scale that follows data whose distribution drifts."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from statqat_sim.arrays import left_out
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer.base import scaled_format
from statqat_sim.quantizer.channels import choose_channels
from statqat_sim.quantizer.newton import step
from statqat_sim.quantizer.options import check_count, check_flag
from statqat_sim.quantizer.representable import FLOAT32_SCALES
from statqat_sim.quantizer.scan import scan
from statqat_sim.quantizer.score import Score
from statqat_sim.quantizer.task import Task
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat

NEAR = np.exp2(np.arange(-12, 13) / 48)
"""Factors of a scale within a quarter of an octave."""

TOO_FAR = 1.05
"""All scales are scanned again if the error exceeds this multiple of MinMax's."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The state of `Iterative` over batches, a frozen value: `update` gives the next one.

    Each batch costs one pass over the data, for its histogram; the rest is computed from that. One warm quasi-Newton
    step follows the drift, and a few scales around it are compared. All scales are scanned at the first batch, every
    `rescan` batches, and whenever the step leaves an error above MinMax's · 1.05. If the error is still above MinMax's,
    the scale is MinMax's.

    `seen` is the histogram of all batches. To combine the states of threads or machines, merge their `seen`, bit for
    bit in any order: `Iterative().choose(a.seen + b.seen, format)`.

    Args:
        format: the format in which x / scale is to be encoded.
        rescan: the number of batches between two scans.
        scale: the scale of the last batch; None before the first.
        seen: the histogram of all batches.
        batches: the number of batches.
        zero_point: whether zero-points are chosen, too: see `Iterative`.

    Raises:
        TypeError: if `format` is not a number format, or an option has the wrong type.
        ValueError: if `rescan` is less than 1.

    >>> import numpy as np, statqat_sim as sqs
    >>> stream = Stream(sqs.load_format("int4_narrow"))
    >>> for batch in np.random.default_rng(0).standard_normal((3, 5000)):
    ...     stream = stream.update(batch)
    >>> stream.scale.value.shape, stream.seen.elements
    ((1,), 15000)
    """

    format: NumberFormat
    _: KW_ONLY
    rescan: int = 100
    scale: Scale | None = None
    seen: Histogram = Histogram.empty()
    batches: int = 0
    zero_point: bool = False

    def __post_init__(self) -> None:
        scaled_format(self.format)
        check_count("rescan", self.rescan)
        check_flag("zero_point", self.zero_point)

    @left_out
    def update(self, batch: Any) -> Stream:
        """The state after one more batch, an array as `Histogram.of` takes it; one scale serves all of it.

        A batch without anything finite but zeros leaves the scale as it is.

        Raises:
            TypeError: if the batch is not real numbers.
        """
        return self.update_from(Histogram.of(batch))

    @left_out
    @np.errstate(under="ignore")
    def update_from(self, batch: Histogram) -> Stream:
        """The state after one more batch, given as its histogram."""
        after = replace(self, seen=self.seen + batch, batches=self.batches + 1)
        if not (batch.low.any() or batch.high.any()):
            return after
        scale = None if self.scale is None or self.batches % self.rescan == 0 else float(self.scale.value[0])

        def follow(task: Task) -> float:
            return _followed(task.score, task.minmax, scale)

        return replace(after, scale=choose_channels(follow, batch, self.format, FLOAT32_SCALES, self.zero_point))


def _best_near(score: Score, scale: float) -> float:
    """The best of a few scales around this one; floating-point formats have many shallow local minima."""
    near = scale * NEAR
    if not score.levels.saturates:
        near = near[near >= scale]
    return float(near[np.argmin(score.errors(near))])


def _followed(score: Score, minmax: float, scale: float | None) -> float:
    """The scale of a batch; `scale`: that of the previous batch, or None to scan all scales."""

    def error(at: float) -> float:
        return float(score.errors(np.array([at]))[0])

    def is_allowed(at: float) -> bool:
        """Whether nothing overflows that does not saturate."""
        return score.levels.saturates or at >= minmax

    limit = error(minmax)
    if scale is not None and is_allowed(scale):
        slopes = score.slopes(np.array([scale]))
        slope, cautious, bold = (float(each[0]) for each in slopes)
        scale = _best_near(score, step(scale, slope, cautious, bold, error))
    if scale is None or not is_allowed(scale) or not error(scale) <= TOO_FAR * limit:
        found = scan(score, minmax)
        scale = float(found[0]) if len(found) else minmax
    scale = float(np.float32(scale))
    return scale if error(scale) <= limit else minmax
