"""Blocks of which not every one contains the next: as `tiling`, but words lie in grids, and are repeated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from statqat_sim.backends.torch_ops.tiling import ELEMENT, Axis, Sizes, Tiling
from statqat_sim.geometry import Geometry, block_sizes, is_whole_array
from statqat_sim.plan.block import BlockPlan
from statqat_sim.spec.scale import Block


@dataclass(frozen=True, slots=True)
class Grids:
    """An array as batch × rows × columns of blocks; the methods are those of `Tiling`."""

    geometry: Geometry

    def shape(self, block: Block) -> Sizes:
        return self.geometry.grid(block)

    def split(self, array: Tensor, block: Block) -> Tensor:
        return array.reshape(self.shape(block))

    def joined(self, words: Tensor, block: Block) -> Tensor:
        return words.broadcast_to(self.shape(block))

    def spread(self, words: Tensor, block: Block, unit: Block) -> Tensor:
        words = self.joined(words, block)
        if is_whole_array(block):
            return words
        for axis, (count, length) in enumerate(zip(self._units(unit, block), self.shape(unit)[1:], strict=True), 1):
            places = torch.arange(length, device=words.device) // count
            words = words.index_select(axis, places)
        return words

    def gathered(self, words: Tensor, unit: Block, block: Block) -> tuple[Tensor, list[int]]:
        words = self.joined(words, unit)
        if is_whole_array(block):
            return words.reshape(1, 1, 1, -1), [3]
        (batch, down, across), (rows, columns) = self.shape(block), self._units(unit, block)
        whole = pad(words, (0, across * columns - words.shape[2], 0, down * rows - words.shape[1]))
        tiles = whole.reshape(batch, down, rows, across, columns).swapaxes(2, 3)
        return tiles.reshape(batch, down, across, rows * columns), [3]

    def rows_of(self, elements: Tensor, block: Block) -> Tensor:
        return self.gathered(elements, ELEMENT, block)[0]

    def index(self, unit: Block, block: Block, device: torch.device) -> Tensor:
        batch, down, across = self.shape(unit)
        if is_whole_array(block):
            return torch.arange(batch * down * across, dtype=torch.int32, device=device).reshape(batch, down, across)
        rows, columns = self._units(unit, block)
        row, column = (torch.arange(count, dtype=torch.int32, device=device) for count in (down, across))
        return (row % rows * columns).reshape(1, -1, 1) + (column % columns).reshape(1, 1, -1)

    def _units(self, unit: Block, block: Block) -> tuple[int, int]:
        """Rows and columns of a block, counted in blocks `unit`."""
        (rows, columns), (high, wide) = self.geometry.extent(block), self.geometry.extent(unit)
        return -(-rows // high), -(-columns // wide)


def tiling_of(geometry: Geometry, plan: BlockPlan) -> Tiling | Grids:
    """How an array is seen that has a plan's blocks."""
    blocks = [stage.block for stage in (*plan.stages, plan.decoding)] + [one.block for one in plan.stored]
    sizes = [block_sizes(block, along_rows=geometry.along_rows) for block in blocks]
    steps = [tuple(sorted({1, *each} - {0}, reverse=True)) for each in zip(*sizes, strict=True)]
    if any(a % b for each in steps for a, b in zip(each, each[1:], strict=False)):
        return Grids(geometry)
    rows, columns = steps
    return Tiling(geometry, Axis(geometry.rows, rows), Axis(geometry.columns, columns))
