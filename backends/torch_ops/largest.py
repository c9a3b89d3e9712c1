"""The maximum of unsigned words along axes."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.vectors import LANES, LOWEST, kept
from statqat_sim.plan.layout import INFINITY, SIGN

MIDDLE: Final = 1 << 30

FOLDS: Final = 3


class Among(Enum):
    """What the compared words are known to be."""

    WORDS = auto()
    BELOW_SIGN = auto()
    """Words whose top bit is not set."""

    FINITE = auto()
    """0, or `block_statistics.ordered` of a finite float32, inverted or not."""

    @classmethod
    def up_to(cls, limit: int) -> Among:
        """Words that are no larger than a limit."""
        return cls.BELOW_SIGN if limit < SIGN else cls.WORDS


def largest(words: Tensor, axes: list[int], among: Among) -> Tensor:
    """The largest of the unsigned words along `axes`, which are kept with size 1."""
    ordered = words if among is Among.BELOW_SIGN else words ^ LOWEST
    if words.device.type == "cpu":
        ordered = _folded(ordered, axes[-1])
    if words.device.type != "cpu" or axes[-1] != words.ndim - 1 or among is Among.WORDS:
        found = kept(ordered).amax(axes, keepdim=True)  # few rows at a time: more would compete for places in caches
        return found if among is Among.BELOW_SIGN else found ^ LOWEST
    # within a vector, the compiler's loops compare float32 40 times faster than int32
    if among is Among.BELOW_SIGN:
        return _largest_as_float(ordered - MIDDLE, axes) + MIDDLE
    found = _largest_as_float(ordered.clamp_min(-INFINITY - 1) + 1, axes)  # 0 is the only word below what is finite
    return torch.where(found > -INFINITY, (found - 1) ^ LOWEST, 0)


def _largest_as_float(numbers: Tensor, axes: list[int]) -> Tensor:
    """The largest of int32 numbers within ±`INFINITY`."""
    return _as_number(_as_float(numbers).view(torch.float32).amax(axes, keepdim=True).view(torch.int32))


def _folded(words: Tensor, axis: int) -> Tensor:
    """Halve an axis a few times, keeping the larger words: one vector operation instead of many steps of `amax`."""
    lanes = LANES if axis == words.ndim - 1 else 1
    for _ in range(FOLDS):
        if words.shape[axis] % (2 * lanes):
            break
        words = torch.maximum(*words.reshape(*words.shape[:axis], 2, -1, *words.shape[axis + 1 :]).unbind(axis))
    return words


def _as_float(number: Tensor) -> Tensor:
    """Map int32 within ±`INFINITY` to bits of float32 in the same order, none of them NaN or −0."""
    return number.abs() | number & LOWEST


def _as_number(bits: Tensor) -> Tensor:
    """The inverse of `_as_float`."""
    return torch.where(bits < 0, LOWEST - bits, bits)
