"""One level of the scales of an array, and how the levels scale an element (20, 25)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from statqat_sim.reference import blocks_rules
from statqat_sim.reference.blocks_elements import Added, Scaling
from statqat_sim.reference.blocks_float32 import fl
from statqat_sim.reference.blocks_rules import Outside
from statqat_sim.reference.blocks_tiling import Cells, Index, Tiling
from statqat_sim.reference.grid import Number
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Combine, Quotient, ScaleLevel


@dataclass(frozen=True, slots=True)
class Layer:
    """A level with the scales of its blocks.

    `codes` are its stored arrays: one, or those of a nested format. `raws` are the scales before encoding, `amaxes` the
    largest finite magnitudes; a decoder has neither.
    """

    level: ScaleLevel
    tiles: Tiling
    scales: Cells
    codes: tuple[NDArray[Any], ...] = ()
    raws: Cells = field(default_factory=dict)
    amaxes: dict[Index, Fraction] = field(default_factory=dict)

    def scale_at(self, element: Index) -> Number:
        return self.scales[self.tiles.block_of(element)]

    def divisor_at(self, element: Index) -> Number:
        """The scale that the encoder divides by (25)."""
        chosen = self.raws if self.raws and self.level.quotient is Quotient.UNROUNDED else self.scales
        return chosen[self.tiles.block_of(element)]


def anchor(format: BlockFormat) -> int:
    """The index of the innermost level that multiplies."""
    return max(i for i, level in enumerate(format.scales) if level.combine is Combine.MULTIPLY)


def scaling(format: BlockFormat, layers: tuple[Layer, ...], added: Added, element: Index) -> Scaling:
    """The scales of one element, with the anchor's `apply` and `quotient`."""
    factors = [layer.scale_at(element) for layer in layers]
    divisors = list(factors)
    divisors[anchor(format)] = layers[anchor(format)].divisor_at(element)
    level = format.scales[anchor(format)]
    return Scaling(tuple(factors), tuple(divisors), level.apply, level.quotient, added)


def outside(format: BlockFormat, outer: tuple[Layer, ...], element: Index) -> Outside:
    """The outer levels, already computed, around the block of an element."""
    if not outer:
        return Outside()
    nearest = outer[-1]
    return Outside(
        factors=tuple(layer.scale_at(element) for layer in outer),
        target=fl(blocks_rules.target_of(nearest.level.target, format.element)),
        amax=nearest.amaxes[nearest.tiles.block_of(element)],
    )
