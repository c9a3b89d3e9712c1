"""Blocks that are one vector of a CPU: torch's compiler finds the largest words of many at once, if it is led to it."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from statqat_sim.arrays.tensors import is_tensor

LANES: Final = 16
"""As many words as the widest vectors of CPUs hold."""

LEAST: Final = 1 << 16
"""Elements of arrays that are looked at: of smaller ones the loops take no time."""

KEEPS_OFFSETS: Final = torch.__version__ >= "2.13"
"""Whether the compiler knows where a view begins that is seen with other strides; earlier ones begin with its base."""


def loops_matter(x: Any) -> bool:
    """Whether torch's compiler makes loops for a CPU of this array that take time."""
    return torch.compiler.is_compiling() and is_tensor(x) and x.device.type == "cpu" and x.numel() >= LEAST


def can_stay(x: Tensor) -> bool:
    """Whether `in_memory` is for this array."""
    return KEEPS_OFFSETS and x.is_contiguous()


def in_memory(x: Tensor) -> Tensor:
    """An array that the compiler keeps as one: it does not compute it anew in every loop that reads it."""
    return x.as_strided(x.shape, x.stride())


def largest_of_vectors(words: Tensor) -> Tensor:
    """The largest of the last axis's `LANES` words, none with its top bit set; of elements `in_memory`.

    Where an operand has words apart along that axis, the compiler transposes tiles of as many blocks, and compares
    vectors of one word of each. Else it compares the words within each vector, which takes twice as long in float32,
    and 30 times in int32. The operand is 0 in the end, and not read.
    """
    apart = words.reshape(-1)[: 2 * LANES : 2] & 0
    return (words | apart).amax(-1, keepdim=True)
