"""What calibration has seen of a tensor: histograms, which merge bit for bit in any order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from statqat_sim.histogram import Histogram

INTEGERS, ENDS = ("keys", "counts", "sums"), ("low", "high")
ARRAYS = (*INTEGERS, *ENDS)
TOLD = 8
"""How many channels an error names."""


def with_batch(seen: Histogram | None, x: Tensor, channel_axis: int | None, *, exact: bool = True) -> Histogram:
    """The histogram of what was seen before and of x, which is counted where it lies; this waits for its device.

    The integers are the same whether kernels count, or, on a device that is to have none, torch's operations.
    """
    backend = "auto" if exact or x.device.type == "cpu" else "torch"
    batch = Histogram.of(x.detach(), channel_axis=channel_axis, backend=backend)
    return batch if seen is None else seen + batch


def told_of_no_numbers(seen: Histogram | None) -> str:
    """What an error says of data that have no finite element, or a channel without one; "" of all else."""
    if seen is None or not seen.nonfinite:
        return ""
    empty = [index for index, channel in enumerate(seen.each_channel()) if channel.elements == channel.nonfinite]
    if not empty:
        return ""
    named = ", ".join(map(str, empty[:TOLD])) + ", ..." * (len(empty) > TOLD)
    where = "" if len(empty) == seen.channels else f" of channels {named}"
    return f"all{where} that calibration saw is NaN or infinite; allowed: batches with numbers"


def as_tensors(seen: Histogram) -> dict[str, Tensor]:
    """A histogram as tensors, from which `from_tensors` makes it again."""
    facts = torch.tensor([seen.channels, seen.mantissa_bits])
    return {"facts": facts, **{name: torch.tensor(getattr(seen, name)) for name in ARRAYS}}


def from_tensors(tensors: Mapping[str, Tensor]) -> Histogram:
    """The histogram of tensors."""
    channels, mantissa_bits = tensors["facts"].tolist()
    keys, counts, sums = (np.array(tensors[name].tolist(), np.int64) for name in INTEGERS)
    low, high = (np.array(tensors[name].tolist(), np.float64) for name in ENDS)
    return Histogram(channels, mantissa_bits, keys, counts, sums, low, high)
