"""Blocks that fill one CPU vector: a form of their maximum that torch's compiler vectorizes across blocks."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from statqat_sim.arrays.tensors import is_tensor

LANES: Final = 16
"""Words in the widest CPU vectors."""

LEAST: Final = 1 << 16
"""The smallest array, in elements, for which the speed of loops matters."""

KEEPS_OFFSETS: Final = torch.__version__ >= "2.13"
"""Whether the compiler keeps the offset of a view passed to `as_strided`; earlier versions start at its base."""


def loops_matter(x: Any) -> bool:
    """Whether torch's compiler makes CPU loops for this array, and it is large enough for their speed to matter."""
    return torch.compiler.is_compiling() and is_tensor(x) and x.device.type == "cpu" and x.numel() >= LEAST


def can_stay(x: Tensor) -> bool:
    """Whether `in_memory` works for this array."""
    return KEEPS_OFFSETS and x.is_contiguous()


def in_memory(x: Tensor) -> Tensor:
    """The same array, materialized: the compiler does not recompute it in every loop that reads it."""
    return x.as_strided(x.shape, x.stride())


def largest_of_vectors(words: Tensor) -> Tensor:
    """The largest of the `LANES` words along the last axis, without top bits; elements must be `in_memory`.

    If an operand is strided along that axis, the compiler transposes tiles of `LANES` blocks and compares vectors with
    one word of each. Otherwise it compares words within a vector, which takes twice as long in float32 and 30 times as
    long in int32. The strided operand is 0, and its memory is not read.
    """
    apart = words.reshape(-1)[: 2 * LANES : 2] & 0
    return (words | apart).amax(-1, keepdim=True)
