"""Many channels at once: scales from moments of rows, each row then measured against MinMax."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.prior import Prior
from statqat_sim.quantizer.better_rows import keep_better, row_sums
from statqat_sim.quantizer.channels import Channels
from statqat_sim.quantizer.data import MOST_SORTED
from statqat_sim.quantizer.levels import levels
from statqat_sim.quantizer.representable import nearest_float32
from statqat_sim.quantizer.shapes import best_scale, best_scales
from statqat_sim.scale import Scale
from statqat_sim.spec.number import NumberFormat
from statqat_sim.theory import nearest


def scales_by_moments(channels: Channels, format: NumberFormat, prior: Prior | None) -> Scale | None:
    """`Analytic`'s float32 scale of each channel; None if channels must be fitted one by one.

    Args:
        channels: the channels, without weights and zero-points.
        format: the format.
        prior: the prior; None: the generalised normal distribution with the channel's ratio of moments.
    """
    rows, sums, minmax = channels.rows, row_sums(), channels.minmax.value.reshape(-1)
    if sums is None or rows.shape[1] > MOST_SORTED:
        return None
    count, total, power = sums.moments(rows)
    some = np.flatnonzero(power > 0)
    if not some.size:
        return channels.minmax
    if not levels(format).is_measured:
        return None
    mean, rms = total[some] / count[some], np.sqrt(power[some] / count[some])
    scales = minmax.copy()
    scales[some] = _scales(format, prior, mean / rms, rms)
    if not levels(format).saturates:
        scales = np.maximum(scales, minmax)
    keep_better(rows, minmax, scales, np.flatnonzero(scales != minmax), format, sums)
    return Scale(scales.reshape(channels.minmax.value.shape))


def _scales(format: NumberFormat, prior: Prior | None, ratios: Floats, rms: Floats) -> NDArray[np.float32]:
    """The best scales if rows had exactly the prior's distribution, scaled to their RMS."""
    like = nearest(format)
    return nearest_float32(rms * (best_scales(like, ratios) if prior is None else best_scale(like, prior)))
