"""The signed log-histogram: counts and sums of mantissas are integers, so merging is exact in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats, Integers, left_out
from statqat_sim.histogram.bins import none_occupied, occupied
from statqat_sim.histogram.devices import on_cpu, where_it_lies
from statqat_sim.histogram.rows import Kernels
from statqat_sim.histogram.tails import Tails
from statqat_sim.plan.layout import FLOAT32
from statqat_sim.plan.reduction import MOST_MANTISSA_BITS, SIGN_AND_EXPONENT
from statqat_sim.rebuilt import Rebuilt

BIN_MANTISSA_BITS = 6
"""Leading mantissa bits that select a bin: 64 bins per octave."""

NONFINITE = FLOAT32.infinity >> FLOAT32.mantissa_bits
"""The exponent field of Inf and NaN, the largest there is."""

TWO_128 = 2.0**128
"""The upper edge of the last finite bin: the first power of two beyond float32."""


class Moments(NamedTuple):
    """Counts (m0) and sums (m1) of the elements between neighbouring edges, with bounds of their absolute errors."""

    m0: Floats
    m1: Floats
    m0_error: Floats
    m1_error: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Histogram(Rebuilt):
    """Counts and exact sums of float32 values, binned by sign, exponent and leading mantissa bits.

    It covers one tensor, or each channel of one. `a.merge(b)`, or a + b, is bit for bit the histogram of both data
    together, in any order: parts may come from threads, from machines, or one after the other.

    Args:
        channels: the number of channels.
        mantissa_bits: leading mantissa bits that select a bin.
        keys: nonempty bins, ascending: channel · 2^(9 + mantissa_bits) + the top bits of the float32.
        counts: elements in each bin.
        sums: sums of the remaining mantissa bits of these elements, as integers; 0 for Inf and NaN.
        low: the minimum of zero and all finite elements of each channel.
        high: the maximum.
    """

    channels: int
    mantissa_bits: int
    keys: Integers
    counts: Integers
    sums: Integers
    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        for name in ("keys", "counts", "sums", "low", "high"):
            array = getattr(self, name)
            if array.flags.writeable:  # its owner may write to it
                array = array.copy()
                array.flags.writeable = False
                object.__setattr__(self, name, array)

    @classmethod
    @left_out
    def of(
        cls, x: Any, *, channel_axis: int | None = None, mantissa_bits: int = BIN_MANTISSA_BITS, backend: str = "auto"
    ) -> Histogram:
        """The histogram of an array of real numbers, or of each slice along `channel_axis`.

        An array on a GPU is counted there: only the nonempty bins are copied to the CPU, never the data. The copy
        synchronizes with the device; a `Counter` does not. Dtypes other than float16, bfloat16 and float32 are
        converted to float32: float64 is rounded to odd, and values beyond float32 saturate.

        Args:
            x: a numpy array, a tensor, an array on a GPU, or a sequence.
            channel_axis: the axis whose indices each get a histogram; None: one histogram of all elements.
            mantissa_bits: leading mantissa bits that select a bin.
            backend: a backend's name; "auto": the one that owns x, numba in CPU memory.

        Raises:
            TypeError: if x is not real numbers, no backend can count it on its device, or the axis is not an integer.
            LookupError: if no backend has this name.
            UnsupportedError: if the backend cannot run here.
            ValueError: if there is no such axis, or the number of mantissa bits is out of range.
        """
        rows = Kernels(mantissa_bits, backend).rows(x, channel_axis)
        keys, counts, sums = rows.occupied()
        low, high = (on_cpu(each) for each in rows.extremes())
        return cls(rows.channels, mantissa_bits, keys, counts, sums, low, high)

    @classmethod
    @left_out
    def from_tables(cls, counts: Any, sums: Any, low: Any, high: Any) -> Histogram:
        """The histogram of dense tables, arrays as in `Tables`, on any device; this synchronizes with it.

        Raises:
            ValueError: if the shapes do not match.
        """
        channels, mantissa_bits = _table_size(tuple(counts.shape))
        shapes = [tuple(each.shape) for each in (sums, low, high)]
        if shapes != [tuple(counts.shape), (channels,), (channels,)]:
            named = ", ".join(f"{name} {shape}" for name, shape in zip(("sums", "low", "high"), shapes, strict=True))
            raise ValueError(f"counts have shape {tuple(counts.shape)}, {named}; allowed: as `Tables` has them")
        ends = (np.asarray(on_cpu(each), np.float64) + 0.0 for each in (low, high))  # not -0.0
        with where_it_lies(counts):
            return cls(channels, mantissa_bits, *occupied(counts, sums), *ends)

    @classmethod
    def empty(cls, channels: int = 1, mantissa_bits: int = BIN_MANTISSA_BITS) -> Histogram:
        """The histogram of no elements: the neutral element of `merge`."""
        low, high = np.zeros((2, channels))
        return cls(channels, mantissa_bits, *none_occupied(), low, high)

    @left_out
    def merge(self, *others: Histogram) -> Histogram:
        """The histogram of all data together.

        Raises:
            TypeError: if one is not a histogram.
            ValueError: if they differ in channels or bins.
        """
        return reduce(add, others, self)

    def __add__(self, other: object) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        if (self.channels, self.mantissa_bits) != (other.channels, other.mantissa_bits):
            raise ValueError(
                f"a histogram of {other.channels} channels and {other.mantissa_bits} mantissa bits; "
                f"allowed: {self.channels} and {self.mantissa_bits}, as the one it is merged with"
            )
        keys, places = np.unique(np.concatenate((self.keys, other.keys)), return_inverse=True)
        both = (np.concatenate(pair) for pair in ((self.counts, other.counts), (self.sums, other.sums)))
        counts, sums = _added(places, len(keys), *both)
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Histogram(self.channels, self.mantissa_bits, keys, counts, sums, low, high)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def each_channel(self) -> Iterator[Histogram]:
        """The histogram of each channel."""
        bits = SIGN_AND_EXPONENT + self.mantissa_bits
        ends = np.searchsorted(self.keys, np.arange(self.channels + 1) << bits)
        for channel, (a, b) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
            keys, here = self.keys[a:b] - (channel << bits), slice(channel, channel + 1)
            arrays = keys, self.counts[a:b], self.sums[a:b], self.low[here], self.high[here]
            yield Histogram(1, self.mantissa_bits, *arrays)

    @property
    def elements(self) -> int:
        """The number of elements, including NaN and Inf."""
        return int(self.counts.sum())

    @property
    def nonfinite(self) -> int:
        """The number of elements that are NaN or Inf."""
        return int(self.counts[self._exponents() == NONFINITE].sum())

    @left_out
    def sides(self) -> tuple[Tails, Tails]:
        """The elements at and above zero, and the magnitudes of those below; all channels together."""
        keys, counts, sums = self._merged()
        is_below = keys & self._sign != 0
        above, below = (
            self._tails(keys[part] & ~self._sign, counts[part], sums[part]) for part in (~is_below, is_below)
        )
        return above, below

    @left_out
    def folded(self) -> Tails:
        """The magnitudes of all elements; all channels together."""
        keys, counts, sums = self._merged()
        magnitudes, places = np.unique(keys & ~self._sign, return_inverse=True)
        return self._tails(magnitudes, *_added(places, len(magnitudes), counts, sums))

    @left_out
    def cell_moments(self, edges: Any) -> Moments:
        """Counts and sums of the elements between neighbouring edges; all channels together.

        Args:
            edges: ascending, may be infinite.

        Returns:
            Estimates that interpolate the bins cut by an edge, with rigorous bounds of the interpolation error.
        """
        at = np.asarray(edges, np.float64)
        beyond = [_beyond(tails, at * sign) for sign, tails in zip((1, -1), self.sides(), strict=True)]
        (up, up_error), (down, down_error) = beyond
        is_up = at >= 0
        whole = np.array([[tails.count, tails.total] for tails in self.sides()])
        # moments of the elements above each edge
        m0 = np.where(is_up, up[0], whole[0, 0] + whole[1, 0] - down[0])
        m1 = np.where(is_up, up[1], whole[0, 1] - whole[1, 1] + down[1])
        errors = np.where(is_up, up_error, down_error)
        return Moments(-np.diff(m0), -np.diff(m1), *(errors[:, 1:] + errors[:, :-1]))

    def _facts(self) -> tuple[object, ...]:
        arrays = (self.keys, self.counts, self.sums, self.low, self.high)
        return self.channels, self.mantissa_bits, *(array.tobytes() for array in arrays)

    @property
    def _sign(self) -> int:
        """The sign bit of a bin of one channel."""
        return 1 << (SIGN_AND_EXPONENT - 1 + self.mantissa_bits)

    def _exponents(self) -> Integers:
        """The exponent field of each bin."""
        return (self.keys >> self.mantissa_bits) & ((1 << FLOAT32.exponent_bits) - 1)

    def _merged(self) -> tuple[Integers, Integers, Integers]:
        """Bins, counts and sums of the finite elements; all channels together."""
        finite = self._exponents() < NONFINITE
        bins, counts, sums = self.keys[finite], self.counts[finite], self.sums[finite]
        if self.channels == 1:
            return bins, counts, sums
        bins, places = np.unique(bins & ((1 << (SIGN_AND_EXPONENT + self.mantissa_bits)) - 1), return_inverse=True)
        return bins, *_added(places, len(bins), counts, sums)

    def _tails(self, magnitudes: Integers, counts: Integers, sums: Integers) -> Tails:
        """One side of zero from its bins of magnitudes."""
        lower, upper = bin_ends(magnitudes, self.mantissa_bits)
        exponents = np.maximum(magnitudes >> self.mantissa_bits, 1)
        totals = counts * lower + np.ldexp(sums.astype(np.float64), exponents - FLOAT32.bias - FLOAT32.mantissa_bits)
        # a single element, or elements all at the lower edge, are known exactly
        return Tails.of(lower, upper, counts.astype(np.float64), totals, (counts == 1) | (sums == 0))


def bin_ends(magnitudes: Integers, mantissa_bits: int) -> tuple[Floats, Floats]:
    """Lower and upper edges of bins of magnitudes, given by their top bits as integers."""
    ends = (magnitudes + np.arange(2)[:, None]) << (FLOAT32.mantissa_bits - mantissa_bits)
    lower, upper = ends.astype(np.uint32).view(np.float32).astype(np.float64)
    return lower, np.minimum(upper, TWO_128)


def _beyond(tails: Tails, at: Floats) -> tuple[Floats, Floats]:
    """Counts and sums beyond points, and bounds of their errors: two arrays of shape `(2, points)`."""
    at = np.maximum(at, 0)
    bounded = np.where(np.isinf(at), tails.largest, at)
    count, total = tails.beyond(bounded)
    least, most = tails.count_bounds(bounded)
    error = np.maximum(most - count, count - least)
    low, high = tails.excess_bounds(bounded)
    excess = total - count * bounded
    return np.stack((count, total)), np.stack((error, np.maximum(high - excess, excess - low) + error * bounded))


def _added(places: NDArray[np.intp], size: int, *numbers: Integers) -> list[Integers]:
    """For each array of `numbers`, int64 sums of its entries by place."""
    sums = [np.zeros(size, np.int64) for _ in numbers]
    for each, total in zip(numbers, sums, strict=True):
        np.add.at(total, places, each)
    return sums


def _table_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """The channels and mantissa bits of tables of this shape."""
    bits = shape[-1].bit_length() - 1 - SIGN_AND_EXPONENT if len(shape) == 2 else -1
    if not 0 <= bits <= MOST_MANTISSA_BITS or shape[-1] != 1 << (SIGN_AND_EXPONENT + bits):
        raise ValueError(f"counts have shape {shape}; allowed: (channels, 2^(9 + mantissa_bits))")
    return shape[0], bits
