"""The loops that torch's compiler makes for CPUs, and a maximum that it vectorizes across blocks."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.backends.torch_ops.operations import signed
from statqat_sim.plan.layout import SIGN

LANES: Final = 16
"""Words in the widest CPU vectors."""

LOWEST: Final = signed(SIGN)

LEAST: Final = 1 << 16
"""The smallest array, in elements, for which the speed of loops matters."""

KEEPS_OFFSETS: Final = torch.__version__ >= "2.13"
"""Whether the compiler keeps the offset of a view passed to `as_strided`; earlier versions start at its base."""


def makes_loops(x: Tensor) -> bool:
    """Whether torch's compiler makes CPU loops for this array."""
    return torch.compiler.is_compiling() and x.device.type == "cpu"


def loops_matter(x: Any) -> bool:
    """Whether torch's compiler makes CPU loops for this array, and it is large enough for their speed to matter."""
    return is_tensor(x) and makes_loops(x) and x.numel() >= LEAST


def can_stay(x: Tensor) -> bool:
    """Whether `in_memory` works for this array."""
    return KEEPS_OFFSETS and x.is_contiguous()


def in_memory(x: Tensor) -> Tensor:
    """The same array, materialized: the compiler does not recompute it in every loop that reads it."""
    return x.as_strided(x.shape, x.stride())


def kept(words: Tensor) -> Tensor:
    """Words of blocks `in_memory`, where the compiler makes loops.

    Else what reads them computes them again, and if that is long, the compiler keeps its results for all elements.
    """
    if not makes_loops(words):
        return words
    return in_memory((words if KEEPS_OFFSETS else words ^ 0).contiguous())


def largest_of_vectors(words: Tensor, *, is_below_sign: bool) -> Tensor:
    """The largest of the unsigned words along the last axis; elements must be `in_memory`.

    If an operand is strided along that axis, the compiler transposes tiles of `LANES` blocks and compares vectors with
    one word of each. Otherwise it compares words within a vector, which takes twice as long in float32 and 30 times as
    long in int32. The strided operand is 0, and its memory is not read.

    Args:
        words: two blocks at least, of a length that `LANES` divides.
        is_below_sign: whether no word's top bit is set.
    """
    apart = words.reshape(-1)[: 2 * words.shape[-1] : 2] & 0
    if is_below_sign:
        return (words | apart).amax(-1, keepdim=True)
    return ((words ^ LOWEST) | apart).amax(-1, keepdim=True) ^ LOWEST
