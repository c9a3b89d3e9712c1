"""From codes and scales to values (26 to 29)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.reference import blocks_offset, blocks_scale
from statqat_sim.reference.blocks_elements import element_value, restored
from statqat_sim.reference.blocks_layer import Layer, scaling
from statqat_sim.reference.blocks_offset import Offsets, added_to
from statqat_sim.reference.blocks_tiling import Cells, Shape, Tiling, read, read_codes, tiling, written
from statqat_sim.spec.block import BlockFormat, OffsetKind
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import ScaleLevel

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Quantized:
    """The codes of an array, as unsigned integers, also for float32 and float16 scales.

    `codes` has x's shape. `scales`, outermost first, have x's shape divided by the blocks; a nested format contributes
    its own scales, then its elements. `offset` has the shape of the innermost scale, `offset_scales` are the scales of
    a nested offset.
    """

    codes: Array
    scales: tuple[Array, ...]
    offset: Array | None = None
    offset_scales: tuple[Array, ...] = ()
    axis: int = -1


def dequantize_exactly(format: BlockFormat, quantized: Quantized) -> NDArray[np.float32]:
    """The float32 values of codes and scales."""
    codes = np.asarray(quantized.codes)
    shape = codes.shape or (1,)
    layers = _decoded_layers(format, quantized, shape)
    offsets = _decoded_offsets(format, quantized, shape)
    cells = {
        index: restored(element_value(format.element, code), scaling(format, layers, added_to(index, offsets), index))
        for index, code in read_codes(codes.reshape(shape)).items()
    }
    return written(cells, shape).reshape(codes.shape)


def _decoded_layers(format: BlockFormat, quantized: Quantized, shape: Shape) -> tuple[Layer, ...]:
    arrays = list(quantized.scales)
    layers = []
    for level in format.scales:
        tiles = tiling(level.block, shape, quantized.axis)
        taken = [arrays.pop(0) for _ in range(_array_count(level.format))]
        layers.append(Layer(level, tiles, _stored(level, taken, tiles, quantized.axis)))
    if arrays:
        raise ValueError(f"{format.name}: {len(arrays)} arrays of scales too many")
    return tuple(layers)


def _array_count(format: NumberFormat | BlockFormat) -> int:
    """The number of arrays that hold the scales of a level."""
    if isinstance(format, NumberFormat):
        return 1
    return 1 + sum(_array_count(level.format) for level in format.scales)


def _stored(level: ScaleLevel, arrays: list[Array], tiles: Tiling, axis: int) -> Cells:
    """The decoded scales of a level, from the arrays that hold them."""
    *scales, codes = arrays
    if isinstance(level.format, NumberFormat):
        cells = read_codes(codes.reshape(tiles.count))
        return {block: blocks_scale.scale_value(level, code) for block, code in cells.items()}
    inner = Quantized(codes=codes.reshape(tiles.count), scales=tuple(scales), axis=axis)
    return read(dequantize_exactly(level.format, inner))


def _decoded_offsets(format: BlockFormat, quantized: Quantized, shape: Shape) -> Offsets | None:
    if format.offset is None or quantized.offset is None:
        return None
    offset, tiles = format.offset, tiling(format.scales[-1].block, shape, quantized.axis)
    if offset.kind is OffsetKind.ZERO_POINT:
        values = blocks_offset.zero_point_values(offset, read_codes(quantized.offset.reshape(tiles.count)))
    else:
        arrays = [*quantized.offset_scales, quantized.offset]
        values = blocks_offset.minima(offset, _stored(offset.scales[0], arrays, tiles, quantized.axis))
    return Offsets(offset, tiles, values, values)
