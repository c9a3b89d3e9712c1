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
    Elements behind the last whole group stay as they are. Sums are those of the fast Walsh-Hadamard transform: their
    order, and so their bits, are the same on all devices.

    Args:
        x: any tensor.
        axis: counted from the front.
        size: a power of two.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    groups = x.shape[axis] // size
    if not groups:
        return x
    whole, of_place = groups * size, torch.tensor(signs(size), dtype=x.dtype, device=x.device)
    of_place = of_place.repeat(groups).reshape(whole, *[1] * (x.ndim - axis - 1))
    found = x.narrow(axis, 0, whole) * of_place
    for power in range(size.bit_length() - 1):
        one, other = found.unflatten(axis, (-1, 2, 1 << power)).unbind(axis + 1)  # type: ignore[no-untyped-call]
        found = torch.stack((one + other, one - other), axis + 1).flatten(axis, axis + 2)
    return torch.cat((found / math.sqrt(size), x.narrow(axis, whole, x.shape[axis] - whole)), axis)
