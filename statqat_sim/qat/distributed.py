"""What the processes of a training have seen together: counts are integers, whose sums are exact."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed import ProcessGroup, ReduceOp

from statqat_sim.errors import shown
from statqat_sim.histogram import BIN_MANTISSA_BITS, Histogram
from statqat_sim.histogram.bins import Occupied, occupied
from statqat_sim.plan.reduction import SIGN_AND_EXPONENT

BINS = 1 << (SIGN_AND_EXPONENT + BIN_MANTISSA_BITS)
ROWS = 16
"""Channels whose tables go over the wire together: 8 MiB of counts and sums."""


def summed_over_processes(
    seen: Mapping[str, Histogram | None], device: torch.device, group: ProcessGroup | None = None
) -> dict[str, Histogram]:
    """All that the processes of a group have seen, by name; every one of them calls it, with the same names.

    Args:
        seen: None where nothing came by in this process.
        device: where the group's processes exchange tensors.
        group: None: torch's default group; without one, this process is alone.

    Raises:
        ValueError: in all processes, if they have other names or other channels.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return {name: one for name, one in seen.items() if one is not None}
    _require_names(seen, device, group)
    channels = zip(seen, _channels(seen, device, group), strict=True)
    return {name: _summed(seen[name] or Histogram.empty(count), device, group) for name, count in channels if count}


def _require_names(seen: Mapping[str, object], device: torch.device, group: ProcessGroup | None) -> None:
    mark = zlib.crc32("\n".join(seen).encode())
    greatest, least = _extremes([mark], device, group)
    if greatest != least:
        raise ValueError("processes calibrate models with different quantizers; allowed: one model in a process group")


def _channels(seen: Mapping[str, Histogram | None], device: torch.device, group: ProcessGroup | None) -> list[int]:
    """Of each, 0 if it has come by nowhere."""
    here = [0 if one is None else one.channels for one in seen.values()]
    greatest, _ = _extremes(here, device, group)
    _, least = _extremes([mine or most for mine, most in zip(here, greatest, strict=True)], device, group)
    for name, few, many in zip(seen, least, greatest, strict=True):
        if few != many:
            raise ValueError(
                f"{shown(name)} has {few} channels in a process, and {many} in another; allowed: one number"
            )
    return greatest


def _extremes(numbers: Sequence[int], device: torch.device, group: ProcessGroup | None) -> tuple[list[int], list[int]]:
    """The greatest and the least that a process has, of each."""
    both = torch.tensor([[*numbers], [-number for number in numbers]], dtype=torch.int64, device=device)
    distributed.all_reduce(both, ReduceOp.MAX, group)
    greatest, least = both.tolist()
    return greatest, [-number for number in least]


def _summed(seen: Histogram, device: torch.device, group: ProcessGroup | None) -> Histogram:
    ends = torch.tensor(np.stack((-seen.low, seen.high)), device=device)
    distributed.all_reduce(ends, ReduceOp.MAX, group)
    low, high = ends.cpu()
    parts = [_part(seen, first, device, group) for first in range(0, seen.channels, ROWS)]
    keys, counts, sums = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Histogram(seen.channels, seen.mantissa_bits, keys, counts, sums, _floats(0.0 - low), _floats(high + 0.0))


def _part(seen: Histogram, first: int, device: torch.device, group: ProcessGroup | None) -> Occupied:
    """The bins of `ROWS` channels that are not empty in some process."""
    rows = min(ROWS, seen.channels - first)
    start, stop = np.searchsorted(seen.keys, np.array([first, first + rows]) * BINS)
    tables = torch.zeros((2, rows * BINS), dtype=torch.int64, device=device)
    here = np.stack((seen.keys - first * BINS, seen.counts, seen.sums))[:, start:stop]
    places, *numbers = torch.tensor(here, device=device)
    tables[:, places] = torch.stack(numbers)
    distributed.all_reduce(tables, ReduceOp.SUM, group)
    counts, sums = tables.reshape(2, rows, BINS)
    return occupied(counts, sums, first)


def _floats(tensor: Tensor) -> NDArray[np.float64]:
    return np.array(tensor.tolist(), np.float64)
