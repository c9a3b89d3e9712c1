"""Hadamard transforms with signs at random: outliers are spread over their group before it is quantized."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from statqat_sim.reference.philox import random_field


def signs(size: int) -> tuple[float, ...]:
    """1 or -1 for each place of a group, always the same: each from a bit of Philox4x32-10, at seed 0.

    What is drawn anew torch's compiler may draw twice, once in forward and once in backward.
    """
    return _signs(size)


@cache
def _signs(size: int) -> tuple[float, ...]:
    return tuple(1.0 - 2.0 * random_field(0, place, 1) for place in range(size))


signs._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces


def transformed(x: Tensor, axis: int, size: int) -> Tensor:
    """Each group of `size` elements along an axis times diag(signs) · H / √size, in float32; wider floats stay wide.

    A product that sums over the axis stays what it was where both of its factors are transformed, as H · Hᵀ = size · I.
    Elements behind the last whole group stay as they are. The order of sums is that of the fast Walsh-Hadamard
    transform, everywhere.

    Args:
        x: any tensor.
        axis: counted from the front.
        size: a power of two.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    whole = x.shape[axis] // size * size
    groups = x.narrow(axis, 0, whole).movedim(axis, -1).unflatten(-1, (-1, size))  # type: ignore[no-untyped-call]
    found = groups * torch.tensor(signs(size), device=x.device)
    for power in range(size.bit_length() - 1):
        one, other = found.unflatten(-1, (-1, 2, 1 << power)).unbind(-2)
        found = torch.stack((one + other, one - other), -2).flatten(-3)
    found = (found / math.sqrt(size)).flatten(-2).movedim(-1, axis)
    return torch.cat((found, x.narrow(axis, whole, x.shape[axis] - whole)), axis)
