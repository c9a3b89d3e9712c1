"""The data of a format's plot: its values, its staircase, its relative error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from statqat_sim.arrays import Floats, Integers
from statqat_sim.codec import Codec
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.number import NumberFormat

SEED = 0
"""The seed of stochastic rounding in plots."""

WIDE = 6
"""Unevenly spaced values that span at least this many binades are plotted on a logarithmic scale."""

ALL_STEPS = 32
"""The staircase shows all values if there are at most this many."""

STEPS = 12
"""The number of steps that it otherwise shows on either side of the middle, 1 where possible."""

POINTS = 4001
"""The number of inputs of a staircase."""

BINS = 2400
"""The number of bins of magnitudes: several per pixel."""

POINTS_PER_BIN = 16

MIN_EXPONENT, MAX_EXPONENT = -1074, 1023
"""The least and the greatest exponent of float64."""


@dataclass(frozen=True, slots=True)
class AxisScale:
    """The positions of numbers on an axis: the numbers themselves, if `unit` is None.

    Otherwise the axis is linear from -unit to unit, at positions -1 to 1, and logarithmic beyond, 1 per binade.
    """

    unit: float | None = None

    def place(self, x: Any) -> Floats:
        """Positions of numbers."""
        if self.unit is None:
            return np.asarray(x, np.float64)
        size = np.abs(np.asarray(x, np.float64))
        outside = 1 + np.log2(np.maximum(size, self.unit)) - math.log2(self.unit)
        return _signed(np.where(size < self.unit, np.minimum(size, self.unit) / self.unit, outside), x)

    def number(self, place: Any) -> Floats:
        """The numbers at positions; beyond float64's range, they are ±2^1023."""
        if self.unit is None:
            return np.asarray(place, np.float64)
        size = np.abs(np.asarray(place, np.float64))
        outside = np.exp2(np.minimum(np.maximum(size, 1) - 1 + math.log2(self.unit), MAX_EXPONENT))
        return _signed(np.where(size < 1, size * self.unit, outside), place)


def _signed(magnitudes: Floats, signs: Any) -> Floats:
    return np.asarray(np.copysign(magnitudes, signs), np.float64)


def _scale_from(smallest: float, largest: float) -> AxisScale:
    return AxisScale(smallest) if math.log2(largest) - math.log2(smallest) >= WIDE else AxisScale()


class Curves:
    """The curves of one format. Above 16 bits, its values are those of every `stride`-th code."""

    def __init__(self, fmt: NumberFormat) -> None:
        self.format = fmt
        self.stride = 1 << max(fmt.bits - MAX_TABLE_BITS, 0)
        self._codec = Codec(fmt)

    def quantized(self, x: Floats) -> Floats:
        """The values decode(encode(x)), with a fixed seed."""
        return np.asarray(self._codec.fake_quantize(x, seed=SEED))

    @cached_property
    def values(self) -> Floats:
        """The finite values, ascending."""
        if self.stride == 1:
            return self.format.grid()
        codes = np.arange(0, 1 << self.format.bits, self.stride).astype(np.uint32)
        values = self._codec.decode(codes, dtype="float64")
        return np.unique(values[np.isfinite(values)] + 0.0)

    @cached_property
    def scale(self) -> AxisScale:
        """The scale of an axis with all values."""
        gaps = np.diff(self.values / 2)  # halved first: a gap may exceed float64
        even = len(gaps) == 0 or np.ptp(gaps) <= 1e-9 * gaps.max()
        sizes = np.abs(self.values[self.values != 0])
        return AxisScale() if even else _scale_from(float(sizes.min()), float(sizes.max()))

    def binades(self, sign: int) -> tuple[Integers, Integers]:
        """The exponents of the values of one sign, and the number of values in each binade."""
        values = sign * self.values
        exponents, counts = np.unique(np.frexp(values[values > 0])[1] - 1, return_counts=True)
        return exponents.astype(np.int64), counts * self.stride

    @cached_property
    def density(self) -> tuple[Floats, Floats]:
        """Values per unit, or per binade on a logarithmic scale: positions of edges, and the density between them."""
        if self.scale.unit is None:
            return self.values, 1 / np.diff(self.values)
        below, above = self._binade_density(-1), self._binade_density(1)
        edges = np.concatenate((-below[0][::-1], above[0]))
        return edges, np.concatenate((below[1][::-1], [0.0] * bool(below[1].size and above[1].size), above[1]))

    def _binade_density(self, sign: int) -> tuple[Floats, Floats]:
        """The density of one sign per binade, outward; 0 between binades."""
        exponents, counts = self.binades(sign)
        starts = self.scale.place(np.exp2(exponents))
        ends = exponents + 2 - math.log2(self.scale.unit or 1)
        edges = np.asarray(np.column_stack((starts, ends)), np.float64)
        heights = np.asarray(np.column_stack((counts, np.zeros(len(counts)))), np.float64)
        return edges.ravel(), heights.ravel()[:-1]

    @cached_property
    def staircase(self) -> tuple[AxisScale, Floats, Floats]:
        """The scale of both axes, inputs, and their values: over all values, or over those around 1."""
        levels = self._steps()
        is_whole = len(levels) == len(self.values)
        scale = self.scale if is_whole else self._window_scale(levels)
        first, last = scale.place(levels[[0, -1]])
        margin = 0.12 * (last - first) if is_whole else 0.0
        x = scale.number(np.linspace(first - margin, last + margin, POINTS))
        return scale, x, self.quantized(x)

    def _steps(self) -> Floats:
        if len(self.values) <= ALL_STEPS:
            return self.values
        fmt = self.format
        middle = 1.0 if fmt.smallest < 1 <= fmt.max else math.sqrt(abs(fmt.smallest)) * math.sqrt(abs(fmt.max))
        middle = 0.0 if self.scale.unit is None and fmt.min < 0 else middle
        if self.stride == 1:
            nearest = int(self.values.searchsorted(middle))
            return self.values[max(nearest - STEPS, 0) : nearest + STEPS + 1]
        code = int(self._codec.encode(np.array([middle]), seed=SEED)[0])
        codes = np.arange(code - STEPS, code + STEPS + 1).astype(np.uint32)
        return np.sort(self._codec.decode(codes, dtype="float64"))

    def _window_scale(self, levels: Floats) -> AxisScale:
        return _scale_from(float(levels[0]), float(levels[-1])) if levels[0] > 0 else AxisScale()

    @cached_property
    def relative_error(self) -> tuple[Floats, Floats]:
        """Exponents, to two binades beyond the values on either side, and the largest |y - x| / |x| around each.

        NaN where y is not finite.
        """
        fmt = self.format
        sign = 1 if fmt.max > 0 else -1
        low = max(math.log2(abs(fmt.smallest)) - 2, MIN_EXPONENT)
        high = min(math.log2(max(fmt.max, -fmt.min)) + 2, MAX_EXPONENT)
        edges = np.linspace(low, high, BINS + 1)
        x = np.concatenate((np.exp2(np.linspace(low, high, BINS * POINTS_PER_BIN)), self._peaks(sign)))
        x = x[(x > 2.0**low) & (x < 2.0**high)]
        places = np.log2(x)
        with np.errstate(invalid="ignore"):
            error = np.abs(self.quantized(sign * x) * sign - x) / x
        largest = np.zeros(BINS)
        np.maximum.at(largest, np.minimum(edges.searchsorted(places) - 1, BINS - 1), error)
        return (edges[1:] + edges[:-1]) / 2, np.where(np.isfinite(largest), largest, np.nan)

    def _peaks(self, sign: int) -> Floats:
        """The inputs with the largest errors: those next to values and next to their midpoints."""
        if self.stride > 1:
            return np.empty(0)
        values = np.sort(sign * self.values)
        values = values[values > 0]
        points = np.concatenate((values, values[1:] / 2 + values[:-1] / 2))
        return np.concatenate((np.nextafter(points, 0), np.nextafter(points, np.inf)))
