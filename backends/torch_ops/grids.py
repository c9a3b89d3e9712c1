"""Blocks as grids: elements keep the array's shape, words of blocks form grids and are repeated where they are read.

Used for blocks that divide the array evenly, and for block sizes that are not multiples of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from statqat_sim.backends.torch_ops.program import look_up
from statqat_sim.backends.torch_ops.tiling import Axis, Sizes, Tiling
from statqat_sim.backends.torch_ops.vectors import LANES, in_memory, kept, makes_loops
from statqat_sim.geometry import Geometry, block_sizes, is_whole_array
from statqat_sim.plan.block import ELEMENT, BlockPlan
from statqat_sim.spec.scale import Block

FEW: Final = 4
"""The most words that one element selects from: what reads more is stored for all elements by the compiler."""


@dataclass(frozen=True, slots=True)
class Grids:
    """An array, and its blocks as a grid of batch × rows × columns. The methods are those of `Tiling`."""

    geometry: Geometry

    def shape(self, block: Block) -> Sizes:
        # torch's compiler fuses loops over elements with other operations only if their shapes are equal
        return self.geometry.shape if block == ELEMENT else self.geometry.grid(block)

    def split(self, array: Tensor, block: Block) -> Tensor:
        return array.reshape(self.shape(block))

    def joined(self, words: Tensor, block: Block) -> Tensor:
        shape = self.shape(block)
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        # not a slice: the compiler splits loops at block ends, and leaves elements out if a slice ends within a block
        return words.broadcast_to(shape).contiguous().as_strided(shape, strides)

    def spread(self, words: Tensor, block: Block, unit: Block) -> Tensor:
        if is_whole_array(block):
            return words.reshape(())
        words = self._grid(words, block)
        (high, wide), (_, down, across) = self._units(unit, block), self.geometry.grid(unit)
        return _repeated(_repeated(words, 2, wide, across), 1, high, down).reshape(self.shape(unit))

    def gathered(self, words: Tensor, unit: Block, block: Block) -> tuple[Tensor, list[int]]:
        words = self._grid(words, unit)
        if is_whole_array(block):
            return words.reshape(1, 1, 1, -1), [3]
        (batch, down, across), (rows, columns) = self.geometry.grid(block), self._units(unit, block)
        filled = (0, across * columns - words.shape[2], 0, down * rows - words.shape[1])
        whole = pad(words, filled) if any(filled) else words
        tiles = whole.reshape(batch, down, rows, across, columns)
        if columns == 1:
            return tiles.reshape(batch, down, rows, across), [2]
        return tiles.swapaxes(2, 3).reshape(batch, down, across, rows * columns), [3]

    def count_in_row(self, unit: Block, block: Block) -> int:
        (rows, columns), (high, wide) = self.geometry.extent(block), self.geometry.extent(unit)
        is_even = rows == high == 1 and not (self.geometry.columns % columns or columns % wide)
        return columns // wide if is_even and math.prod(self.geometry.grid(block)) > 1 else 0

    def rows_of(self, elements: Tensor, block: Block) -> Tensor:
        rows, axes = self.gathered(elements, ELEMENT, block)
        return rows.movedim(axes, [-1])

    def index(self, unit: Block, block: Block, device: torch.device) -> Tensor:
        batch, down, across = grid = self.geometry.grid(unit)
        if is_whole_array(block):
            return torch.arange(batch * down * across, dtype=torch.int32, device=device).reshape(self.shape(unit))
        rows, columns = self._units(unit, block)
        row, column = (torch.arange(count, dtype=torch.int32, device=device) for count in (down, across))
        places = (row % rows * columns).reshape(1, -1, 1) + (column % columns).reshape(1, 1, -1)
        return places.broadcast_to(grid).reshape(self.shape(unit))

    def _grid(self, words: Tensor, block: Block) -> Tensor:
        """The words of blocks, or of elements, as a grid of batch × rows × columns."""
        return words.broadcast_to(self.shape(block)).reshape(self.geometry.grid(block))

    def _units(self, unit: Block, block: Block) -> tuple[int, int]:
        """The rows and columns of `block`, counted in blocks `unit`."""
        (rows, columns), (high, wide) = self.geometry.extent(block), self.geometry.extent(unit)
        return -(-rows // high), -(-columns // wide)


def _repeated(words: Tensor, axis: int, count: int, length: int) -> Tensor:
    """Repeat each word `count` times along an axis, and cut the result to `length`."""
    if 1 < count < LANES and axis == words.ndim - 1 and makes_loops(words):
        is_aligned = not (LANES % count or length % LANES)
        return (_selected if is_aligned and LANES // count <= FEW else _looked_up)(words, count, length)
    if words.shape[axis] * count == length:
        shape = (*words.shape[: axis + 1], count, *words.shape[axis + 1 :])
        return words.unsqueeze(axis + 1).broadcast_to(shape).flatten(axis, axis + 1)
    return words.index_select(axis, torch.arange(length, device=words.device) // count)


def _selected(words: Tensor, count: int, length: int) -> Tensor:
    """`_repeated` along the last axis, where vectors span whole repetitions: each lane selects one of a few words."""
    *outer, _ = words.shape
    *others, last = kept(words).reshape(*outer, length // LANES, LANES // count, 1).unbind(-2)
    lane = torch.arange(LANES, dtype=torch.int32, device=words.device)
    for place in reversed(range(len(others))):
        last = torch.where(lane < (place + 1) * count, others[place], last)
    return last.reshape(*outer, length)


def _looked_up(words: Tensor, count: int, length: int) -> Tensor:
    """`_repeated` along the last axis by indexes in memory: the compiler's vectors do not span short repetitions."""
    *outer, width = words.shape
    rows = torch.arange(math.prod(outer), device=words.device).reshape(*outer, 1)
    places = in_memory(torch.arange(length, device=words.device) // count)
    return look_up(kept(words).reshape(-1), rows * width + places)


def tiling_of(geometry: Geometry, plan: BlockPlan) -> Tiling | Grids:
    """How an array is split into a plan's blocks: a `Tiling` if they nest and the last need padding, else `Grids`."""
    blocks = [stage.block for stage in (*plan.stages, plan.decoding)] + [one.block for one in plan.stored]
    sizes = [block_sizes(block, along_rows=geometry.along_rows) for block in blocks]
    steps = [tuple(sorted({1, *each} - {0}, reverse=True)) for each in zip(*sizes, strict=True)]
    axes = [Axis(*each) for each in zip((geometry.rows, geometry.columns), steps, strict=True)]
    if not all(map(_are_nested, steps)) or all(axis.padded == axis.length for axis in axes):
        return Grids(geometry)
    return Tiling(geometry, *axes)


def _are_nested(sizes: Sizes) -> bool:
    """Whether each size is a multiple of the next."""
    return all(not a % b for a, b in zip(sizes, sizes[1:], strict=False))
