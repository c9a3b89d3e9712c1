"""Offsets (27): the minimum or the zero-point of a block, and the raw scale under `rule: minmax`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from statqat_sim.reference import exact
from statqat_sim.reference.blocks_elements import Added, Minimum, ZeroPoint, element_value
from statqat_sim.reference.blocks_float32 import ZERO, fl, is_finite, is_nan, is_zero, minus, negated, over, real
from statqat_sim.reference.blocks_scale import saturated
from statqat_sim.reference.blocks_tiling import Cells, Codes, Index, Tiling
from statqat_sim.reference.grid import Grid, Number
from statqat_sim.spec.block import Offset, OffsetKind
from statqat_sim.spec.encode import Rounding, Underflow
from statqat_sim.spec.number import NumberFormat

MOST_EXACT = 1 << 24
"""Every integer up to this magnitude is exact in float32."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """The offsets of all blocks: decoded, and the values that the encoder subtracts instead of them."""

    kind: OffsetKind
    tiles: Tiling
    values: Cells
    subtracted: Cells
    codes: tuple[NDArray[Any], ...] = ()

    def at(self, element: Index) -> Added:
        block = self.tiles.block_of(element)
        if self.kind is OffsetKind.ZERO_POINT:
            return ZeroPoint(self.values[block])
        return Minimum(self.values[block], self.subtracted[block])


def added_to(element: Index, offsets: Offsets | None) -> Added:
    """The offset of the element's block, if the format has offsets."""
    return offsets.at(element) if offsets else None


def bounds(offset: Offset, values: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """Lo and hi of the finite elements of a block; a block without any counts as one of zeros."""
    low, high = min(values, default=ZERO), max(values, default=ZERO)
    if offset.kind is OffsetKind.ZERO_POINT:
        return min(low, ZERO), max(high, ZERO)
    return (min(low, ZERO) if offset.sign < 0 else low), high


def minmax(element: NumberFormat, low: Fraction, high: Fraction) -> Number:
    """The raw scale of a block with low < high."""
    grid = _grid(element)
    return over(minus(high, low), minus(fl(grid.value(grid.highest)), fl(grid.value(grid.lowest))))


def minimum_code(format: NumberFormat, raw: Number) -> int:
    """The code of O, rounded to nearest even, saturating; zero becomes +0."""
    return saturated(format, ZERO if is_zero(raw) else raw, Rounding.NEAREST_EVEN, Underflow.ZERO)


def zero_point(offset: Offset, element: NumberFormat, low: Fraction, scale: Number) -> int:
    """Z = RNE(v_min - lo/S), clamped to the format; lo/S is 0 if lo is 0, or S is 0 or NaN."""
    grid, target = _grid(element), _grid(_format(offset))
    steps = ZERO if is_zero(scale) or is_nan(scale) else over(low, scale)
    z = minus(fl(grid.value(grid.lowest)), steps)
    least, most = max(target.lowest, -MOST_EXACT), min(target.highest, MOST_EXACT)
    if not is_finite(z):
        return target.code(most if low < 0 else least, False)
    return target.code(min(max(round(real(z)), least), most), False)


def minima(offset: Offset, stored: Cells) -> Cells:
    """Every O, from the stored numbers."""
    return {block: negated(value) if offset.sign < 0 else value for block, value in stored.items()}


def zero_point_values(offset: Offset, codes: Codes) -> Cells:
    """Every Z."""
    return {block: element_value(_format(offset), code) for block, code in codes.items()}


def _format(offset: Offset) -> NumberFormat:
    assert offset.format is not None  # a validated zero_point has one
    return offset.format


def _grid(format: NumberFormat) -> Grid:
    return exact.grid_of(format.element)
