"""The layout of blocks in an array: every array is a batch of matrices whose blocks are rectangles."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, SupportsIndex

from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Block, Whole

WHOLE: Final = 0
"""The block size that stands for the whole extent of the matrix."""


class Weighted(StrEnum):
    """Which index of an element selects its weight."""

    ROW = "row"
    COLUMN = "column"


def checked_axis(axis: object, shape: tuple[int, ...]) -> int:
    """An axis of an array, counted from 0; a number counts as an axis of one element.

    Raises:
        TypeError: if `axis` is not an integer.
        ValueError: if there is no such axis.
    """
    rank = max(len(shape), 1)
    if type(axis) is not int and (isinstance(axis, bool) or not isinstance(axis, SupportsIndex)):
        raise TypeError(f"axis is {axis!r}; {_axes(shape)}")
    place = operator.index(axis)
    if not -rank <= place < rank:
        raise ValueError(f"axis is {place}; {_axes(shape)}")
    return place % rank


def _axes(shape: tuple[int, ...]) -> str:
    rank = max(len(shape), 1)
    return f"allowed: {-rank} to {rank - 1} for shape {shape}"


def block_sizes(block: Block, *, along_rows: bool) -> tuple[int, int]:
    """Rows and columns of a block; both are `WHOLE` for `tensor`."""
    match block:
        case Whole.TENSOR:
            return WHOLE, WHOLE
        case Whole.CHANNEL:
            return (1, WHOLE) if along_rows else (WHOLE, 1)
        case int():
            return (1, block) if along_rows else (block, 1)
    return block


def is_whole_array(block: Block) -> bool:
    """Whether the array is one block, which all its matrices share."""
    return block is Whole.TENSOR


@dataclass(frozen=True, slots=True)
class Geometry:
    """An array of `shape` as `batch` matrices of `rows` × `columns`, all in C order.

    Blocks along the last axis are parts of a row; along another axis parts of a column; of two axes both.
    """

    shape: tuple[int, ...]
    axis: int
    batch: int
    rows: int
    columns: int
    along_rows: bool
    """Whether one-dimensional blocks are parts of a row, not of a column."""

    @classmethod
    def of(cls, shape: tuple[int, ...], axis: int, format: BlockFormat) -> Geometry:
        """The geometry of a format's blocks along `axis`; a number counts as an axis of one element.

        Raises:
            TypeError: if `axis` is not an integer.
            ValueError: if there is no such axis, or two-dimensional blocks meet an array of one axis.
        """
        lengths = shape or (1,)
        axis = checked_axis(axis, shape)
        if any(isinstance(level.block, tuple) for level in format.scales):
            if len(lengths) < 2 or axis < len(lengths) - 2:
                what = f"axis {axis} of shape {shape}"
                raise ValueError(f"{format.name}: blocks of two axes lie in the last two, not in {what}")
            return cls(shape, axis, math.prod(lengths[:-2]), lengths[-2], lengths[-1], True)
        batch, rows, columns = math.prod(lengths[:axis]), lengths[axis], math.prod(lengths[axis + 1 :])
        if axis == len(lengths) - 1:
            return cls(shape, axis, 1, batch, rows, True)
        return cls(shape, axis, batch, rows, columns, False)

    @property
    def weighted(self) -> Weighted:
        """The index that selects a weight, one for each place along the axis; matrices of one column are rows."""
        is_last = self.axis == max(len(self.shape), 1) - 1
        return Weighted.COLUMN if is_last or (not self.along_rows and self.columns == 1) else Weighted.ROW

    def extent(self, block: Block) -> tuple[int, int]:
        """Rows and columns of a full block, at least 1; for `tensor`, which spans all matrices, those of one matrix."""
        rows, columns = block_sizes(block, along_rows=self.along_rows)
        return rows or max(self.rows, 1), columns or max(self.columns, 1)

    def grid(self, block: Block) -> tuple[int, int, int]:
        """The number of blocks: batch, rows, columns. An empty array has one block of `tensor`, else none."""
        if is_whole_array(block):
            return 1, 1, 1
        rows, columns = self.extent(block)
        return self.batch, -(-self.rows // rows), -(-self.columns // columns)

    def scale_shape(self, block: Block) -> tuple[int, ...]:
        """The shape of an array with one scale per block, as users see it: as many axes as the array has."""
        if is_whole_array(block) or not self.shape:
            return (1,) * len(self.shape)
        batch, rows, columns = self.grid(block)
        if isinstance(block, tuple):
            return (*self.shape[:-2], rows, columns)
        along = columns if self.along_rows else rows
        return (*self.shape[: self.axis], along, *self.shape[self.axis + 1 :])
