"""Squared errors of blocks, summed in the same order by every backend."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from statqat_sim.backends.torch_ops.grids import Grids
from statqat_sim.backends.torch_ops.tiling import Tiling
from statqat_sim.backends.torch_ops.vectors import LANES, kept, makes_loops
from statqat_sim.plan.block import ELEMENT
from statqat_sim.plan.layout import INFINITY, MAGNITUDE
from statqat_sim.spec.scale import Block


def squared_errors(x: Tensor, y: Tensor, weights: Tensor | None, tiling: Tiling | Grids, block: Block) -> Tensor:
    """The squared error of every block, float64, of shape `tiling.shape(block)`; Inf where an element becomes NaN.

    x and y are float32 of shape `tiling.shape(ELEMENT)`.
    """
    is_finite = (x.view(torch.int32) & MAGNITUDE) < INFINITY
    # not the squares: on CPUs, compiled code takes as long to mask float64 as for all else
    x, y = (torch.where(is_finite, each, 0.0) for each in (x, y))
    difference = x.to(torch.float64) - y.to(torch.float64)
    squares = difference * difference
    if weights is not None:
        squares = squares * torch.where(is_finite, weights, 0.0)
    count = tiling.count_in_row(ELEMENT, block) if makes_loops(squares) else 0
    sums = _added_by_halves(tiling.rows_of(squares, block), LANES if count and not count % LANES else 1)
    return torch.where(torch.isnan(sums), float("inf"), sums).reshape(tiling.shape(block))


def split_weights(weights: Tensor, tiling: Tiling | Grids) -> Tensor:
    """Weights, one for each index along the blocked axis, split to broadcast against the elements."""
    geometry = tiling.geometry
    is_last = geometry.axis == max(len(geometry.shape), 1) - 1
    along = weights.reshape(1, 1, -1) if is_last else weights.reshape(1, -1, 1)
    return tiling.split(along.broadcast_to(geometry.grid(ELEMENT)), ELEMENT)


def _added_by_halves(terms: Tensor, lanes: int) -> Tensor:
    """Sum over the last axis: it is padded with zeros to a power of two, then its upper half added to the lower.

    The last `lanes` sums are kept: compiled loops would compute terms again for halves that fill no vector.
    """
    size = 1 << max(terms.shape[-1] - 1, 0).bit_length()
    sums = pad(terms, (0, size - terms.shape[-1]))
    while size > lanes:
        size //= 2
        sums = sums[..., :size] + sums[..., size:]
    words = kept(sums).unbind(-1)
    while len(words) > 1:
        half = len(words) // 2
        words = tuple(map(torch.add, words[:half], words[half:]))
    return words[0]
