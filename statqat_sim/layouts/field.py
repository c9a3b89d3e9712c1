"""The arrays of codes that a block tensor is made of, and their rows: the axis of its blocks last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.geometry import Geometry
from statqat_sim.layouts.bits import Words
from statqat_sim.layouts.coding import Shape
from statqat_sim.plan.lower import code_storage
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Storage
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Block, Whole

ELEMENTS: Final = "elements"
SCALE: Final = "scale"
OFFSET: Final = "offset"
"""Names of fields, or how they begin; `BlockFormat.stored` gives them."""


@dataclass(frozen=True, slots=True)
class Field:
    """One array of codes, or of scales that are stored as floats."""

    name: str
    bits: int
    storage: Storage
    block: Block
    """How many elements share a code."""

    geometry: Geometry

    @property
    def is_float(self) -> bool:
        return self.storage in (Storage.FLOAT16, Storage.FLOAT32)

    @property
    def shape(self) -> Shape:
        """The shape of the array."""
        return self.geometry.shape if self.block == 1 else self.geometry.scale_shape(self.block)

    @property
    def row_shape(self) -> Shape:
        """The shape as rows: (..., codes of a row). One code for the whole array is a row of its own."""
        shape = self.shape
        if self.block is Whole.TENSOR or not shape:
            return (1,)
        axis = self._axis % len(shape)
        return (*shape[:axis], *shape[axis + 1 :], shape[axis])

    def rows(self, array: Array) -> Words:
        """The array's bits, as rows of unsigned integers."""
        words = np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(array.shape)
        return words.reshape(self.row_shape) if self.row_shape == (1,) else np.moveaxis(words, self._axis, -1)

    def array(self, rows: Words) -> Array:
        """The array of these rows."""
        words = rows.reshape(self.shape) if self.row_shape == (1,) else np.moveaxis(rows, -1, self._axis)
        return np.ascontiguousarray(words, f"u{self.storage.bits // BYTE}").reshape(self.shape).view(self.storage.value)

    @property
    def _axis(self) -> int:
        return -1 if self.geometry.along_rows else self.geometry.axis


def fields_of(format: BlockFormat, geometry: Geometry) -> dict[str, Field]:
    """The arrays of a tensor, by their names in `pack.fields`, in the order of `BlockFormat.stored`."""
    return {
        stored.name: Field(stored.name, stored.format.bits, Storage(storage), stored.block, geometry)
        for stored, storage in zip(format.stored, _storages(format).split(), strict=True)
    }


def _storages(format: BlockFormat) -> str:
    """The storages of all fields as one string: torch's compiler keeps no tuples that it did not trace."""
    return " ".join([*(stored.storage for stored in lower_block(format).stored), code_storage(format.element)])


_storages._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces
