"""Reductions executed by numpy: the reference for the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.plan.reduction import Reducer, ReductionPlan
from statqat_sim.reference.interpret import interpret


def reduced(plan: ReductionPlan, x: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """See `runtime.ReductionKernel`; `x`: the bits of the elements, shape `(rows, elements)`."""
    words = interpret(plan.element, [x])
    if plan.reducer is Reducer.MAXIMUM:
        many = np.ascontiguousarray(words).view(np.uint64 if plan.in_pairs else np.uint32)
        return (many.reshape(*words.shape[:2], plan.width).max(axis=1, initial=0),)
    return _histogram(plan, words)


def _histogram(plan: ReductionPlan, elements: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts and sums, each of shape `(rows, bins)`."""
    counts, sums = (np.zeros((len(elements), plan.bins), np.int64) for _ in range(2))
    bins, rest = elements >> np.uint32(plan.shift), elements & np.uint32((1 << plan.shift) - 1)
    row = np.arange(len(elements))[:, None]
    np.add.at(counts, (row, bins), 1)
    np.add.at(sums, (row, bins), rest.astype(np.int64))
    for nonfinite in plan.nonfinite:
        sums[:, nonfinite] = 0
    return counts, sums
