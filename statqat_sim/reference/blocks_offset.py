"""Offsets (27): the minimum or the zero-point of a block, and the raw scale under `rule: minmax`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from statqat_sim.reference import exact
from statqat_sim.reference.blocks_elements import Added, Minimum, Scaling, ZeroPoint, divided, element_value
from statqat_sim.reference.blocks_float32 import ZERO, fl, is_nan, is_zero, minus, nearest_integer, negated, over
from statqat_sim.reference.blocks_scale import saturated
from statqat_sim.reference.blocks_tiling import Cells, Codes, Index, Tiling
from statqat_sim.reference.grid import Grid, Number, Special
from statqat_sim.spec.block import AddedWhen, Offset, OffsetKind
from statqat_sim.spec.encode import Rounding, Underflow
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True)
class Offsets:
    """The offsets of all blocks: decoded, and the values that the encoder subtracts instead of them."""

    offset: Offset
    tiles: Tiling
    values: Cells
    subtracted: Cells
    codes: tuple[NDArray[Any], ...] = ()

    def at(self, element: Index) -> Added:
        block = self.tiles.block_of(element)
        if self.offset.kind is OffsetKind.ZERO_POINT:
            return ZeroPoint(self.values[block], self.offset.added is AddedWhen.AFTER_ROUNDING)
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


def zero_point(offset: Offset, element: NumberFormat, low: Fraction, scaling: Scaling) -> int:
    """Z = RNE(v_min - lo/S), clamped to the format; lo/S is 0 without a quotient and under a NaN S.

    Under `added: after_rounding` it is v_min less the rounded quotient of lo.
    """
    grid, scale = _grid(element), scaling.scale
    steps: Number = ZERO
    if scaling.has_quotient and not is_nan(scale):
        rounds_first = offset.added is AddedWhen.AFTER_ROUNDING
        steps = nearest_integer(divided(low, scaling)) if rounds_first else over(low, scale)
    return saturated(_format(offset), minus(fl(grid.value(grid.lowest)), steps), Rounding.NEAREST_EVEN, Underflow.ZERO)


def subtracted(low: Fraction, cells: Cells) -> Number:
    """Lo as `quotient: unrounded` subtracts it; -0 lies below +0."""
    return Special.NEGATIVE_ZERO if low == 0 and Special.NEGATIVE_ZERO in cells.values() else low


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
