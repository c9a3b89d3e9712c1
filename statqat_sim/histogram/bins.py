"""The nonempty bins of rows."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Integers
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.histogram.devices import on_cpu
from statqat_sim.plan.reduction import ReductionPlan

Occupied: TypeAlias = tuple[Integers, Integers, Integers]
"""Keys (row · bins + bin, ascending), counts and sums: int64, one entry per nonempty bin."""


def none_occupied() -> Occupied:
    """No bins."""
    return (np.zeros(0, np.int64),) * 3


def occupied(counts: Any, sums: Any, first: int = 0) -> Occupied:
    """The nonempty bins of tables, copied to the CPU; `first`: the channel of row 0."""
    bins, flat = counts.shape[1], counts.reshape(-1)
    places = flat.nonzero()
    places = places[:, 0] if is_tensor(flat) else places[0]
    keys, *numbers = (on_cpu(each) for each in (places, flat[places], sums.reshape(-1)[places]))
    return keys + first * bins, *numbers


def by_sorting(words: NDArray[np.uint32], plan: ReductionPlan, first: int = 0) -> Occupied:
    """The nonempty bins of short rows, found by sorting their float32 bits; `first`: the channel of row 0."""
    words = np.sort(words, axis=1)
    bins = words >> np.uint32(plan.shift)
    begins = np.ones(words.shape, bool)
    np.not_equal(bins[:, 1:], bins[:, :-1], out=begins[:, 1:])
    places = np.flatnonzero(begins)
    found = bins.reshape(-1)[places].astype(np.int64)
    rest = (words & np.uint32((1 << plan.shift) - 1)).reshape(-1).astype(np.int64)
    sums = np.add.reduceat(rest, places) if len(places) else np.zeros(0, np.int64)
    for nonfinite in plan.nonfinite:
        sums[(found >= nonfinite.start) & (found < nonfinite.stop)] = 0
    rows = places // max(words.shape[1], 1) + first
    return rows * plan.bins + found, np.diff(places, append=words.size), sums
