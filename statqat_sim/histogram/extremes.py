"""The range of data on either side of zero."""

from __future__ import annotations

import numpy as np

from statqat_sim.arrays import Array, Floats


def extremes(x: Array, axes: tuple[int, ...]) -> tuple[Floats, Floats]:
    """The minimum and maximum of zero and all finite values, reduced over `axes`, float64."""
    if x.dtype not in (np.float16, np.float32, np.float64):
        x = x.astype(np.float64)
    low, high = x.min(axes, initial=0), x.max(axes, initial=0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        finite = np.isfinite(x)
        low = x.min(axes, initial=0, where=finite)
        high = x.max(axes, initial=0, where=finite)
    return np.asarray(low, np.float64) + 0.0, np.asarray(high, np.float64) + 0.0  # not -0.0
