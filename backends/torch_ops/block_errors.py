"""Squared errors of blocks, summed in the same order by every backend."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from statqat_sim.backends.torch_ops.grids import Grids
from statqat_sim.backends.torch_ops.tiling import Tiling
from statqat_sim.plan.block import ELEMENT
from statqat_sim.spec.scale import Block


def squared_errors(x: Tensor, y: Tensor, weights: Tensor | None, tiling: Tiling | Grids, block: Block) -> Tensor:
    """The squared error of every block, float64, of shape `tiling.shape(block)`; Inf where an element becomes NaN.

    x and y are float32 of shape `tiling.shape(ELEMENT)`.
    """
    difference = x.to(torch.float64) - y.to(torch.float64)
    squares = difference * difference
    if weights is not None:
        squares = squares * weights
    terms = torch.where(torch.isfinite(x), squares, 0.0)
    sums = _added_by_halves(tiling.rows_of(terms, block))
    return torch.where(torch.isnan(sums), float("inf"), sums).reshape(tiling.shape(block))


def split_weights(weights: Tensor, tiling: Tiling | Grids) -> Tensor:
    """Weights, one for each index along the blocked axis, split to broadcast against the elements."""
    geometry = tiling.geometry
    is_last = geometry.axis == max(len(geometry.shape), 1) - 1
    along = weights.reshape(1, 1, -1) if is_last else weights.reshape(1, -1, 1)
    return tiling.split(along.broadcast_to(geometry.grid(ELEMENT)), ELEMENT)


def _added_by_halves(terms: Tensor) -> Tensor:
    """Sum over the last axis: it is padded with zeros to a power of two, then its upper half added to the lower."""
    size = 1 << max(terms.shape[-1] - 1, 0).bit_length()
    sums = pad(terms, (0, size - terms.shape[-1]))
    while size > 1:
        size //= 2
        sums = sums[..., :size] + sums[..., size:]
    return sums[..., 0]
