"""The data that quantizers read."""

from __future__ import annotations

from typing import Any

from statqat_sim.arrays import Array, real_array
from statqat_sim.histogram import lies_elsewhere


def cpu_data(x: Any) -> Array:
    """Data as a numpy array; nothing is copied from a device.

    Raises:
        TypeError: if x is not real numbers, or not in the CPU's memory.
    """
    if lies_elsewhere(x):
        where = getattr(x, "device", "a device")
        raise TypeError(
            f"x is on {where}; allowed: arrays in the CPU's memory, or choose(Histogram.of(x), format), which counts x "
            "where it lies"
        )
    return real_array(x, "x")
