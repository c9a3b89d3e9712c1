"""The maximum of unsigned words along axes."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.vectors import LANES, LOWEST, kept

MIDDLE: Final = 1 << 30

FOLDS: Final = 3


def largest(words: Tensor, axes: list[int], *, is_below_sign: bool) -> Tensor:
    """The largest words along `axes`, which are kept with size 1; `is_below_sign`: whether no word's top bit is set."""
    ordered = words if is_below_sign else words ^ LOWEST
    if words.device.type == "cpu":
        ordered = _folded(ordered, axes[-1])
    if words.device.type != "cpu" or axes[-1] != words.ndim - 1 or not is_below_sign:
        found = kept(ordered).amax(axes, keepdim=True)  # few rows at a time: more would compete for places in caches
        return found if is_below_sign else found ^ LOWEST
    # within a vector, the compiler's loops compare float32 40 times faster than int32
    floats = _as_float(ordered - MIDDLE).view(torch.float32)
    return _as_number(floats.amax(axes, keepdim=True).view(torch.int32)) + MIDDLE


def _folded(words: Tensor, axis: int) -> Tensor:
    """Halve an axis a few times, keeping the larger words: one vector operation instead of many steps of `amax`."""
    lanes = LANES if axis == words.ndim - 1 else 1
    for _ in range(FOLDS):
        if words.shape[axis] % (2 * lanes):
            break
        words = torch.maximum(*words.reshape(*words.shape[:axis], 2, -1, *words.shape[axis + 1 :]).unbind(axis))
    return words


def _as_float(number: Tensor) -> Tensor:
    """Map int32 within ±2^30 to bits of float32 in the same order, none of them NaN or −0."""
    return number.abs() | number & LOWEST


def _as_number(bits: Tensor) -> Tensor:
    """The inverse of `_as_float`."""
    return torch.where(bits < 0, LOWEST - bits, bits)
