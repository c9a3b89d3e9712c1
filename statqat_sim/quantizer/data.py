"""The data that one scale is chosen for: elements, or only their histogram. Both give their magnitudes alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.histogram import Histogram, Sample, Tail

MOST_SORTED = 1 << 20
"""The most elements to sort; more of them are represented by their histogram."""


@dataclass(frozen=True, eq=False)
class Elements:
    """Finite elements, with what is computed from them once.

    Args:
        values: the elements, 1-D.
        weights: one for each element; None: all 1.
    """

    values: NDArray[np.float32]
    weights: Floats | None

    @cached_property
    def wide(self) -> Floats:
        """The elements in float64."""
        return self.values.astype(np.float64)

    def folded(self) -> Tail:
        """All magnitudes; by the histogram, if there are too many to sort."""
        return self._histogram.folded() if self._are_many else self._all

    def sides(self) -> tuple[Tail, Tail]:
        """The magnitudes at and above zero, and those below; by the histogram, if there are too many to sort."""
        return self._histogram.sides() if self._are_many else self._halves

    def samples(self, is_folded: bool) -> tuple[Sample, ...]:
        """All magnitudes, or those at and above zero, and those below; sorted, however many there are."""
        return (self._all,) if is_folded else self._halves

    @property
    def _are_many(self) -> bool:
        """Whether the histogram, which has no weights, represents the elements."""
        return self.weights is None and self.values.size > MOST_SORTED

    @cached_property
    def _histogram(self) -> Histogram:
        return Histogram.of(self.values)

    @cached_property
    def _all(self) -> Sample:
        return self._sample(slice(None))

    @cached_property
    def _halves(self) -> tuple[Sample, Sample]:
        is_below = self.values < 0
        return self._sample(~is_below), self._sample(is_below)

    def _sample(self, part: NDArray[np.bool_] | slice) -> Sample:
        """The magnitudes of some elements."""
        magnitudes = np.abs(self.values[part]).astype(np.float64)
        return Sample.of(magnitudes, None if self.weights is None else self.weights[part])


Data: TypeAlias = Elements | Histogram


def tails(data: Data, is_folded: bool) -> tuple[Tail, ...]:
    """All magnitudes, or those at and above zero, and those below."""
    return (data.folded(),) if is_folded else data.sides()
