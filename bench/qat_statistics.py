"""Paired differences and their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """The mean of seeds, and the ends of its 95 % confidence interval by Student's t."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """The interval of independent values.

        Raises:
            ValueError: for fewer than two values, which have no spread.
        """
        if len(values) < 2:
            raise ValueError(f"an interval of {len(values)} values; allowed: at least 2")
        mean, sigma = float(np.mean(values)), float(np.std(values, ddof=1))
        half = float(student_t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * sigma / math.sqrt(len(values))
        return cls(mean, mean - half, mean + half)

    @property
    def is_below_zero(self) -> bool:
        """Whether all of it is."""
        return self.high < 0

    @property
    def is_above_zero(self) -> bool:
        """Whether all of it is."""
        return self.low > 0


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval | None:
    """The interval of the differences ours - theirs over common seeds; None for fewer than two of these."""
    seeds = sorted(ours.keys() & theirs.keys())
    return Interval.of([ours[seed] - theirs[seed] for seed in seeds]) if len(seeds) > 1 else None
