"""One histogram of data, possibly weighted, that scores every number format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.histogram import Histogram, Tails
from statqat_sim.histogram.state import BIN_MANTISSA_BITS, bin_ends
from statqat_sim.plan.layout import FLOAT32
from statqat_sim.quantizer.levels import Levels, levels
from statqat_sim.quantizer.minmax import least_scales
from statqat_sim.quantizer.scan import scan
from statqat_sim.quantizer.score import Score
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """The finite elements of a tensor.

    Args:
        folded: the magnitudes of all elements.
        sides: the elements at and above zero, and the magnitudes of those below.
        low: the minimum of zero and all elements.
        high: the maximum.
    """

    folded: Tails
    sides: tuple[Tails, Tails]
    low: float
    high: float

    @classmethod
    def of(cls, x: NDArray[np.float32]) -> Distribution:
        """The distribution of an array; NaN and Inf are left out."""
        histogram = Histogram.of(x)
        return cls(histogram.folded(), histogram.sides(), float(histogram.low[0]), float(histogram.high[0]))

    @classmethod
    def weighted(cls, x: NDArray[np.float32], weights: Floats) -> Distribution:
        """The distribution of an array with one weight for each element; NaN and Inf are left out."""
        finite = np.isfinite(x)
        values, each = x[finite], weights[finite]
        up = values >= 0
        sides = _tails(values[up], each[up]), _tails(-values[~up], each[~up])
        low, high = (float(end(values, initial=0)) for end in (np.min, np.max))
        return cls(_tails(np.abs(values), each), sides, low, high)

    @property
    def power(self) -> float | None:
        """Mean of x²; None without elements."""
        return self.folded.power / self.folded.count if self.folded.count else None

    def best(self, format: NumberFormat) -> tuple[float, float | None]:
        """The scale of least squared error, or MinMax's if none is better, and its MSE; None for the MSE without data.

        Raises:
            UnsupportedError: for formats of more than 16 bits.
        """
        steps = levels(format)
        score = self._score(steps)
        minmax = float(least_scales(np.array([self.low]), np.array([self.high]), format)[0])
        found = scan(score, minmax)[:1] if self.low or self.high else np.zeros(0)
        scales = np.append(found, minmax).astype(np.float32).astype(np.float64)
        errors = score.errors(scales)
        place = int(np.argmin(errors))
        return float(scales[place]), float(errors[place] / score.count) if score.count else None

    def _score(self, steps: Levels) -> Score:
        return Score((self.folded,) if steps.is_folded else self.sides, steps)


def _tails(magnitudes: NDArray[np.float32], weights: Floats) -> Tails:
    """The weighted bins of magnitudes."""
    shift = FLOAT32.mantissa_bits - BIN_MANTISSA_BITS
    bins = np.ascontiguousarray(magnitudes).view(np.uint32) >> shift
    counts, sums = (np.bincount(bins, each).astype(np.float64) for each in (weights, weights * magnitudes))
    places = np.flatnonzero(counts)
    exact = np.zeros(len(places), np.bool_)
    return Tails.of(*bin_ends(places, BIN_MANTISSA_BITS), counts[places], sums[places], exact)
