"""Words of blocks: repeated for smaller blocks, gathered into larger ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.geometry import Geometry
from statqat_sim.reference.streams import Words
from statqat_sim.spec.scale import Block, Whole


@dataclass(frozen=True, slots=True)
class Located:
    """One word per block, of shape batch × rows × columns as in `Geometry.grid`."""

    words: Words
    block: Block

    def spread(self, geometry: Geometry, unit: Block) -> Words:
        """The words, repeated for each block `unit` within a block."""
        grid = geometry.grid(unit)
        if self.block is Whole.TENSOR:
            return np.broadcast_to(self.words, grid)
        rows, columns = units(geometry, self.block, unit)
        return self.words.repeat(rows, axis=1).repeat(columns, axis=2)[:, : grid[1], : grid[2]]


def units(geometry: Geometry, block: Block, unit: Block) -> tuple[int, int]:
    """The rows and columns of a block, counted in blocks `unit`."""
    (rows, columns), (high, wide) = geometry.extent(block), geometry.extent(unit)
    return -(-rows // high), -(-columns // wide)


def tiled(values: Any, geometry: Geometry, unit: Block, block: Block) -> Any:
    """Values of blocks `unit`, shape (batch, rows, columns, places within a `block` in C order); padding is 0."""
    if block is Whole.TENSOR:
        return values.reshape(1, 1, 1, -1)
    batch, down, across = geometry.grid(block)
    rows, columns = units(geometry, block, unit)
    whole = np.zeros((batch, down * rows, across * columns), values.dtype)
    whole[:, : values.shape[1], : values.shape[2]] = values
    tiles = whole.reshape(batch, down, rows, across, columns).swapaxes(2, 3)
    return tiles.reshape(batch, down, across, rows * columns)
