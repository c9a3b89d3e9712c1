"""The input of the oracle: elements as exact numbers, with the caller's scale and weights."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from statqat_sim.reference.blocks_tiling import Cells, Index, Shape, Tiling, as_float32, indices, read
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Rule, ScaleLevel


@dataclass(frozen=True, slots=True)
class Source:
    """The array to quantize. A scalar counts as an array of one element."""

    cells: Cells
    weights: dict[Index, Fraction]
    shape: Shape
    outer_shape: Shape
    axis: int
    given: NDArray[np.float32] | None
    given_level: int | None

    @classmethod
    def of(
        cls, format: BlockFormat, x: ArrayLike, axis: int, scale: ArrayLike | None, weights: ArrayLike | None
    ) -> Source:
        array = as_float32(x)
        shape = array.shape or (1,)
        given_level = next((i for i, level in enumerate(format.scales) if level.rule is Rule.GIVEN), None)
        if scale is None and given_level is not None:
            raise ValueError(f"{format.name}: rule: given needs a scale")
        weight = np.broadcast_to(np.asarray(1.0 if weights is None else weights, np.float64), shape)
        return cls(
            cells=read(array.reshape(shape)),
            weights={index: Fraction(float(weight[index])) for index in indices(shape)},
            shape=shape,
            outer_shape=array.shape,
            axis=axis,
            given=None if scale is None else checked_scale(scale, format.scales[given_level or 0]),
            given_level=None if scale is None else given_level or 0,
        )

    def scales_given(self, level: int, tiles: Tiling) -> Cells:
        """The caller's scales for the blocks of a level; empty if the level computes its own."""
        if self.given is None or level != self.given_level:
            return {}
        return read(np.broadcast_to(self.given, tiles.count))

    def restore(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array of scales, without the dimension that was added to a scalar input."""
        return array if self.outer_shape else array.reshape(())


def checked_scale(scale: ArrayLike, level: ScaleLevel) -> NDArray[np.float32]:
    """The caller's scale of a level as float32.

    Raises:
        ValueError: for NaN, and for negative numbers if the level's own rule never gives any.
    """
    given = as_float32(scale)
    if np.isnan(given).any() or ((given < 0).any() and not level.may_be_negative):
        raise ValueError("a scale is NaN or negative; allowed: numbers from 0 on")
    return given
