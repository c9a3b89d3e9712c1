"""Histograms that accumulate on the device where the data lie, without waiting for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays.tensors import is_tensor
from statqat_sim.histogram.devices import where_it_lies
from statqat_sim.histogram.rows import Kernels
from statqat_sim.histogram.state import MANTISSA_BITS, Histogram


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """A histogram with all its bins, as arrays of the data's library on the data's device.

    `a + b` is the tables of both data together; of parts on several machines, add counts and sums, and take the least
    of `low` and the greatest of `high`. That waits for nothing; `histogram()` does, and copies the bins that are not
    empty to the CPU.

    Args:
        counts: int64, one row of 2^(9 + mantissa_bits) bins for each channel: how many float32 values begin with these
            bits.
        sums: of their other bits, in the same shape; 0 for Inf and NaN.
        low: float64, the least of zero and all finite elements, for each channel.
        high: the greatest.
    """

    counts: Any
    sums: Any
    low: Any
    high: Any

    def __add__(self, other: Tables) -> Tables:
        if tuple(self.counts.shape) != tuple(other.counts.shape):
            raise ValueError(
                f"tables of {_described(other)}; allowed: {_described(self)}, as those that they are added to"
            )
        operations = sys.modules["torch"] if is_tensor(self.low) else np
        with where_it_lies(self.counts):
            low, high = operations.minimum(self.low, other.low), operations.maximum(self.high, other.high)
            return Tables(self.counts + other.counts, self.sums + other.sums, low, high)

    def histogram(self) -> Histogram:
        """What was counted. This waits for the device."""
        return Histogram.from_tables(self.counts, self.sums, self.low, self.high)


def _described(tables: Tables) -> str:
    channels, bins = tables.counts.shape
    return f"{channels} channels with {bins} bins"


class Counter:
    """Counts arrays where they lie, and waits for no device: in every step of a training, or captured in a graph.

    torch's compiler traces it, for tensors on backend "torch".

    Args:
        channel_axis: the axis that keeps its own histograms: 512 KiB for each, with 6 mantissa bits.
        mantissa_bits: first bits of the mantissa that tell bins apart.
        backend: a backend's name; "auto": the one that owns each array.

    Raises:
        LookupError: if no backend has this name.
        UnsupportedError: if the backend cannot run here.

    >>> import numpy as np
    >>> counter = Counter()
    >>> seen = counter.count(np.float32([1, -2, 3])) + counter.count(np.float32([0.5]))
    >>> seen.counts.shape, seen.histogram().elements
    ((1, 32768), 4)
    """

    def __init__(
        self, *, channel_axis: int | None = None, mantissa_bits: int = MANTISSA_BITS, backend: str = "auto"
    ) -> None:
        self._channel_axis = channel_axis
        self._kernels = Kernels(mantissa_bits, backend)

    def count(self, x: Any) -> Tables:
        """The tables of an array, of its kind.

        Raises:
            TypeError: if x is not real numbers, or nothing here can count it where it lies.
            UnsupportedError: if the backend that owns x cannot run here.
            ValueError: if there is no such axis, or there cannot be so many mantissa bits.
        """
        rows = self._kernels.rows(x, self._channel_axis)
        library = rows.kernels.library
        return Tables(*(library.in_kind(each, x) for each in (*rows.tables(), *rows.extremes())))
