"""Blocks as axes: rows and columns are split where blocks end.

The words of a block have size 1 along the axes within the block, and reach its elements by broadcasting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from statqat_sim.geometry import Geometry, block_sizes, is_whole_array
from statqat_sim.plan.block import ELEMENT
from statqat_sim.spec.scale import Block

Sizes: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """The rows or columns of a matrix, split where blocks of the sizes `steps` end: largest first, 1 last.

    A block of size 0 extends to the end of the matrix.
    """

    length: int
    steps: Sizes

    @property
    def padded(self) -> int:
        """The length, rounded up to whole blocks of the largest size."""
        return -(-self.length // self.steps[0]) * self.steps[0]

    def shape(self, size: int) -> Sizes:
        """The split shape of one word per block of this size."""
        if not size:
            return (min(self.length, 1), *[1] * (len(self.steps) - 1))
        outer = (self.padded, *self.steps)
        return tuple(a // b if b >= size else 1 for a, b in zip(outer, self.steps, strict=False))

    def count(self, size: int) -> int:
        """The number of blocks of this size that hold elements."""
        return -(-self.length // size) if size else min(self.length, 1)

    def places(self, size: int, unit: int, device: torch.device) -> Tensor:
        """The index of each block `unit` within its block of `size`, int32."""
        shape = self.shape(unit)
        place = torch.zeros([1] * len(shape), dtype=torch.int32, device=device)
        for index, step in enumerate(self.steps):
            if shape[index] > 1 and (step < size or not size):
                along = torch.arange(shape[index], dtype=torch.int32, device=device) * (step // unit)
                place = place + along.reshape([-1 if each == index else 1 for each in range(len(shape))])
        return place


@dataclass(frozen=True, slots=True)
class Tiling:
    """An array as batch × split rows × split columns, for nested blocks: each size is a multiple of the next."""

    geometry: Geometry
    rows: Axis
    columns: Axis

    def sizes(self, block: Block) -> tuple[int, int]:
        """The rows and columns of a block; 0 where it extends to the end of the matrix."""
        return block_sizes(block, along_rows=self.geometry.along_rows)

    def shape(self, block: Block) -> Sizes:
        """The split shape of one word per block."""
        rows, columns = self.sizes(block)
        shape = (self.geometry.batch, *self.rows.shape(rows), *self.columns.shape(columns))
        return (1,) * len(shape) if is_whole_array(block) else shape

    def split(self, array: Tensor, block: Block) -> Tensor:
        """Split the axes of an array with one element per block; padding blocks get 0."""
        grid = array.reshape(self.geometry.grid(block))
        shape = self.shape(block)
        if not is_whole_array(block):
            count = len(self.rows.steps)
            rows, columns = math.prod(shape[1 : 1 + count]), math.prod(shape[1 + count :])
            if (rows, columns) != tuple(grid.shape[1:]):
                grid = pad(grid, (0, columns - grid.shape[2], 0, rows - grid.shape[1]))
        return grid.reshape(shape)

    def joined(self, words: Tensor, block: Block) -> Tensor:
        """The inverse of `split`: one word per block, of shape (batch, rows, columns)."""
        grid, shape = self.geometry.grid(block), self.shape(block)
        count = 1 + len(self.rows.steps)
        rows, columns = math.prod(shape[1:count]), math.prod(shape[count:])
        whole = words.broadcast_to(shape).contiguous()
        # not a slice: the compiler's code leaves elements out in loops over parts of blocks
        return whole.as_strided(grid, (rows * columns, columns, 1))

    def spread(self, words: Tensor, block: Block, unit: Block) -> Tensor:
        """The words of blocks, broadcast against those of the blocks `unit` within; split axes need no change."""
        return words

    def gathered(self, words: Tensor, unit: Block, block: Block) -> tuple[Tensor, list[int]]:
        """The words of blocks `unit`, and the axes along which they lie within one `block`; padding is 0."""
        shape, whole = self.shape(block), self.shape(unit)
        words = self._filled(words, unit)
        return words, [axis for axis, size in enumerate(whole) if size != shape[axis]]

    def count_in_row(self, unit: Block, block: Block) -> int:
        """How many blocks `unit` follow each other in a row of every `block`; 0 where arrays end within blocks."""
        return 0

    def rows_of(self, elements: Tensor, block: Block) -> Tensor:
        """The elements of each block in C order along a last axis."""
        if is_whole_array(block):
            return self.joined(elements, ELEMENT).reshape(1, -1)
        whole, outer = self.shape(ELEMENT), self.shape(block)
        inside = [axis for axis, (size, count) in enumerate(zip(whole, outer, strict=True)) if size != count]
        kept = [axis for axis in range(len(whole)) if axis not in inside]
        ordered = self._filled(elements, ELEMENT).permute(*kept, *inside)
        return ordered.reshape([whole[axis] for axis in kept] + [math.prod([whole[axis] for axis in inside])])

    def _filled(self, words: Tensor, unit: Block) -> Tensor:
        """One word per block `unit`; 0 for blocks that are only padding."""
        words, exists = words.broadcast_to(self.shape(unit)), self._exists(unit, words.device)
        return words if exists is None else torch.where(exists, words, 0)

    def _exists(self, unit: Block, device: torch.device) -> Tensor | None:
        """Which blocks hold an element, as bool; None if all do."""
        found = None
        for axis, size, is_column in zip((self.rows, self.columns), self.sizes(unit), (False, True), strict=True):
            if size and axis.padded != axis.length:
                inside = self._aligned(axis.places(0, size, device) * size < axis.length, is_column)
                found = inside if found is None else found & inside
        return found

    def index(self, unit: Block, block: Block, device: torch.device) -> Tensor:
        """The index in C order of each block `unit` within its `block`, int32."""
        (high, wide), (rows, columns) = self.sizes(unit), self.sizes(block)
        row = self._aligned(self.rows.places(rows, high, device), False)
        column = self._aligned(self.columns.places(columns, wide, device), True)
        _, down, across = self.geometry.grid(unit)
        if is_whole_array(block):
            batch = torch.arange(self.shape(unit)[0], dtype=torch.int32, device=device)
            row = row + down * batch.reshape(-1, *[1] * (row.ndim - 1))
        return row * (columns // wide if columns else across) + column

    def _aligned(self, places: Tensor, is_column: bool) -> Tensor:
        """Reshape words of rows, or of columns, to broadcast against elements."""
        others = [1] * len((self.rows if is_column else self.columns).steps)
        return places.reshape([1, *others, *places.shape] if is_column else [1, *places.shape, *others])
