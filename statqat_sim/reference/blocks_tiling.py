"""The elements that share a scale (20): an array as cells by index, tiled by blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from statqat_sim.reference.grid import Number
from statqat_sim.reference.ieee import FLOAT32
from statqat_sim.spec.scale import Block, Whole

Index: TypeAlias = tuple[int, ...]
Shape: TypeAlias = tuple[int, ...]
Cells: TypeAlias = dict[Index, Number]
Codes: TypeAlias = dict[Index, int]
Value = TypeVar("Value")


WHOLE = 0
"""The size of the one block of `tensor`, in each dimension."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Blocks of `size` elements in each dimension of an array of `shape`; the last ones may be short."""

    shape: Shape
    size: Shape

    @property
    def count(self) -> Shape:
        """The number of blocks in each dimension: the shape of the scales. An empty `tensor` is one block, too."""
        return tuple(-(-length // size) if size else 1 for length, size in zip(self.shape, self.size, strict=True))

    def block_of(self, element: Index) -> Index:
        """The block that an element lies in."""
        return tuple(place // size if size else 0 for place, size in zip(element, self.size, strict=True))

    def first(self, block: Index) -> Index:
        """The first element of a block."""
        return tuple(place * size for place, size in zip(block, self.size, strict=True))

    def split(self, cells: dict[Index, Value]) -> dict[Index, dict[Index, Value]]:
        """The cells of every block, in C order."""
        blocks: dict[Index, dict[Index, Value]] = {block: {} for block in indices(self.count)}
        for index, value in cells.items():
            blocks[self.block_of(index)][index] = value
        return blocks


def tiling(block: Block, shape: Shape, axis: int) -> Tiling:
    """The blocks of an array with at least one dimension.

    Raises:
        ValueError: for an axis that the array lacks, and for blocks of rows and columns in an array without rows.
    """
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} of an array of shape {shape}; allowed: {-len(shape)} to {len(shape) - 1}")
    size = [1] * len(shape)
    match block:
        case Whole.TENSOR:
            size = [WHOLE] * len(shape)
        case Whole.CHANNEL:
            size[axis] = max(shape[axis], 1)  # an axis without elements has no block
        case int():
            size[axis] = block
        case (rows, columns):
            if len(shape) < 2:
                raise ValueError(f"blocks of {rows} x {columns} in an array of shape {shape}; allowed: 2 dimensions")
            size[-2:] = [rows, columns]
    return Tiling(shape, tuple(size))


def indices(shape: Shape) -> Iterator[Index]:
    """All indices of an array in C order."""
    return product(*map(range, shape))


def read(array: NDArray[np.float32]) -> Cells:
    """The numbers of an array, by index."""
    words = np.ascontiguousarray(array).reshape(array.shape).view(np.uint32)
    return {index: FLOAT32.number(int(words[index])) for index in indices(array.shape)}


def written(cells: Cells, shape: Shape) -> NDArray[np.float32]:
    """The array of these numbers."""
    words = np.array([FLOAT32.nearest(cells[index]) for index in indices(shape)], np.uint32)
    return words.view(np.float32).reshape(shape)


def code_array(codes: Codes, shape: Shape) -> NDArray[np.uint32]:
    """The array of these codes."""
    return np.array([codes[index] for index in indices(shape)], np.uint32).reshape(shape)


def read_codes(array: NDArray[Any]) -> Codes:
    """The codes of an array of integers."""
    return {index: int(array[index]) for index in indices(array.shape)}


def as_float32(x: ArrayLike) -> NDArray[np.float32]:
    """Any numbers, rounded once to float32 (20)."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.asarray(x).astype(np.float32)
