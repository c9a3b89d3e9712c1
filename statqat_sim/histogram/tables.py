"""Histograms that accumulate on the data's device without synchronizing with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.loaded import loaded_torch
from statqat_sim.histogram.devices import where_it_lies
from statqat_sim.histogram.rows import Kernels
from statqat_sim.histogram.state import BIN_MANTISSA_BITS, Histogram


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """A histogram with all its bins, as arrays of the data's library on the data's device.

    `a + b` holds both data together. To reduce over machines, add `counts` and `sums`, and take the minimum of `low`
    and the maximum of `high`. None of this synchronizes; `histogram()` does, and copies the nonempty bins to the CPU.

    Args:
        counts: int64, shape (channels, 2^(9 + mantissa_bits)): the float32 values whose top bits equal the bin's index.
        sums: sums of their remaining bits, int64, same shape; 0 for Inf and NaN.
        low: the minimum of zero and all finite elements of each channel, float64, shape (channels,).
        high: the maximum.
    """

    counts: Any
    sums: Any
    low: Any
    high: Any

    def __add__(self, other: object) -> Tables:
        if not isinstance(other, Tables):
            return NotImplemented
        if tuple(self.counts.shape) != tuple(other.counts.shape):
            raise ValueError(
                f"tables of {_described(other)}; allowed: {_described(self)}, as those that they are added to"
            )
        operations = loaded_torch() if is_tensor(self.low) else np
        with where_it_lies(self.counts):
            low, high = operations.minimum(self.low, other.low), operations.maximum(self.high, other.high)
            return Tables(self.counts + other.counts, self.sums + other.sums, low, high)

    def histogram(self) -> Histogram:
        """The histogram of the counted data. This synchronizes with the device."""
        return Histogram.from_tables(self.counts, self.sums, self.low, self.high)


def _described(tables: Tables) -> str:
    channels, bins = tables.counts.shape
    return f"{channels} channels with {bins} bins"


class Counter:
    """Counts arrays on their device without synchronizing: in every training step, or captured in a CUDA graph.

    torch.compile traces it, for tensors on backend "torch".

    Args:
        channel_axis: the axis whose indices each get a histogram: 512 KiB each, with 6 mantissa bits.
        mantissa_bits: leading mantissa bits that select a bin.
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
        self, *, channel_axis: int | None = None, mantissa_bits: int = BIN_MANTISSA_BITS, backend: str = "auto"
    ) -> None:
        self._channel_axis = channel_axis
        self._kernels = Kernels(mantissa_bits, backend)

    def count(self, x: Any) -> Tables:
        """The tables of an array, as arrays of its library on its device.

        Raises:
            TypeError: if x is not real numbers, or no backend can count it on its device.
            UnsupportedError: if the backend that owns x cannot run here.
            ValueError: if there is no such axis, or the number of mantissa bits is out of range.
        """
        rows = self._kernels.rows(x, self._channel_axis)
        library = rows.kernels.library
        return Tables(*(library.in_kind(each, x) for each in (*rows.tables(), *rows.extremes())))
