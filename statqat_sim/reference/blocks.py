"""The oracle of block formats: Definitions 20 to 30 of `formats/LANGUAGE.md`, element by element, in exact arithmetic.

It reads only the declared fields of a spec, and uses the oracle of number formats for every code. Where the Definitions
are silent, the docstring of the function concerned states the decision. Elements with stochastic rounding are not
supported, as no random bits are drawn here. Signs of NaN values are meaningless.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

from numpy.typing import ArrayLike

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference import blocks_level, blocks_offset, blocks_scale
from statqat_sim.reference.blocks_decode import Array, Quantized, dequantize_exactly
from statqat_sim.reference.blocks_elements import element_code, element_value
from statqat_sim.reference.blocks_float32 import is_nan
from statqat_sim.reference.blocks_layer import Layer, anchor, outside, scaling
from statqat_sim.reference.blocks_level import Member, finite
from statqat_sim.reference.blocks_offset import Offsets, added_to
from statqat_sim.reference.blocks_source import Source
from statqat_sim.reference.blocks_tiling import (
    Cells,
    Codes,
    Index,
    Tiling,
    code_array,
    read,
    tiling,
    written,
)
from statqat_sim.spec.block import BlockFormat, Offset, OffsetKind
from statqat_sim.spec.encode import NanInput
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Nonfinite, Quotient, Rule, ScaleLevel

__all__ = ["Quantized", "candidate_errors", "dequantize_exactly", "quantize_exactly"]

Lows: TypeAlias = dict[Index, Fraction]


def quantize_exactly(
    format: BlockFormat,
    x: ArrayLike,
    axis: int = -1,
    scale: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Quantized:
    """The codes and the scales of an array.

    Args:
        format: any block format whose elements do not round stochastically.
        x: numbers, converted to float32.
        axis: the axis along which 1-D blocks run.
        scale: the scale of the level with `rule: given`; otherwise it replaces the outermost level's rule.
        weights: weights of the squared errors under `rule: mse`, in x's shape.

    Raises:
        ValueError: for a scale that is missing, NaN or negative; for an axis that x lacks; for NaN under
            `nan_input: error`.
        UnsupportedError: for combinations that a validated format cannot have.
    """
    source = Source.of(format, x, axis, scale, weights)
    _refuse_nan(format, source)
    layers = _layers(format, source)
    offsets = _offsets(format, source, layers)
    codes = {
        index: element_code(format.element, number, scaling(format, layers, added_to(index, offsets), index))
        for index, number in source.cells.items()
    }
    offset_codes = tuple(map(source.restore, offsets.codes)) if offsets else ()
    return Quantized(
        codes=source.restore(code_array(codes, source.shape)),
        scales=tuple(source.restore(array) for layer in layers for array in layer.codes),
        offset=offset_codes[-1] if offset_codes else None,
        offset_scales=offset_codes[:-1],
        axis=axis,
    )


def candidate_errors(
    format: BlockFormat,
    x: ArrayLike,
    axis: int = -1,
    scale: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> dict[Index, dict[int, float]]:
    """The candidates of `rule: mse`: for each innermost block, the error of each code.

    Arguments are those of `quantize_exactly`. Blocks without a choice, those of zeros or with a NaN scale, are left
    out. Two codes whose errors differ by less than a relative 1e-9 may both be right (30).
    """
    source = Source.of(format, x, axis, scale, weights)
    outer = _layers(format, source, count=len(format.scales) - 1)
    members = _members(format, source, outer, format.scales[-1])
    return {
        block: {choice.code: float(choice.error) for choice in blocks_level.candidates(member, format.element)}
        for block, member in members
        if not (member.is_nan or member.is_all_zero or member.given is not None)
    }


def _refuse_nan(format: BlockFormat, source: Source) -> None:
    """Raises ValueError for NaN under `nan_input: error`, unless it makes its scale NaN (24)."""
    refuses = format.element.encode.nan_input is NanInput.ERROR
    shows = format.scales[anchor(format)].nonfinite is Nonfinite.NAN_BLOCK
    if refuses and not shows and any(map(is_nan, source.cells.values())):
        raise ValueError("NaN in the input, which nan_input: error refuses")


# --- quantize --------------------------------------------------------------------------------------------------


def _layers(format: BlockFormat, source: Source, count: int | None = None) -> tuple[Layer, ...]:
    """The outermost levels, all of them or `count`."""
    layers: tuple[Layer, ...] = ()
    for level in format.scales[:count]:
        layers = (*layers, _layer(format, source, layers, level))
    return layers


def _layer(format: BlockFormat, source: Source, outer: tuple[Layer, ...], level: ScaleLevel) -> Layer:
    """The next level within those outside of it."""
    tiles = tiling(level.block, source.shape, source.axis)
    members = dict(_members(format, source, outer, level))
    amaxes = {block: member.amax for block, member in members.items()}
    if not isinstance(level.format, NumberFormat):
        raws = {block: blocks_level.raw_scale(member, format.element) for block, member in members.items()}
        arrays, scales = _nested(level.format, raws, tiles, source.axis)
        return Layer(level, tiles, scales, arrays, raws, amaxes)
    found = {block: blocks_level.number_scale(member, format.element) for block, member in members.items()}
    codes = {block: code for block, (code, _) in found.items()}
    scales = {block: blocks_scale.scale_value(level, code) for block, code in codes.items()}
    raws = {block: raw for block, (_, raw) in found.items()}
    return Layer(level, tiles, scales, (code_array(codes, tiles.count),), raws, amaxes)


def _members(
    format: BlockFormat, source: Source, outer: tuple[Layer, ...], level: ScaleLevel
) -> Iterator[tuple[Index, Member]]:
    """Every block of a level, in C order."""
    depth, tiles = len(outer), tiling(level.block, source.shape, source.axis)
    given = source.scales_given(depth, tiles)
    for block, cells in tiles.split(source.cells).items():
        member = Member(
            level=level,
            is_anchor=depth == anchor(format),
            cells=cells,
            weights=source.weights,
            outside=outside(format, outer, tiles.first(block)),
            given=given.get(block),
            extremes=_extremes(format, level, cells),
        )
        yield block, member


def _extremes(format: BlockFormat, level: ScaleLevel, cells: Cells) -> tuple[Fraction, Fraction] | None:
    """Lo and hi, if the rule needs them."""
    if level.rule is not Rule.MINMAX:
        return None
    if format.offset is None:
        raise UnsupportedError(f"{format.name}: rule: minmax needs an offset")
    return blocks_offset.bounds(format.offset, finite(cells))


def _nested(format: BlockFormat, raws: Cells, tiles: Tiling, axis: int) -> tuple[tuple[Array, ...], Cells]:
    """Scales quantized as if they were data (28): the stored arrays, and the values that these decode to."""
    quantized = quantize_exactly(format, written(raws, tiles.count), axis)
    return (*quantized.scales, quantized.codes), read(dequantize_exactly(format, quantized))


# --- offsets ---------------------------------------------------------------------------------------------------


def _offsets(format: BlockFormat, source: Source, layers: tuple[Layer, ...]) -> Offsets | None:
    """The offsets of the blocks of the innermost level."""
    if format.offset is None:
        return None
    layer = layers[-1]
    blocks = layer.tiles.split(source.cells)
    lows = {block: blocks_offset.bounds(format.offset, finite(cells))[0] for block, cells in blocks.items()}
    if format.offset.kind is OffsetKind.ZERO_POINT:
        return _zero_points(format, format.offset, layers, lows)
    subtracted = {block: blocks_offset.subtracted(lows[block], cells) for block, cells in blocks.items()}
    return _minima(format.offset, layer, lows, subtracted, source.axis)


def _zero_points(format: BlockFormat, offset: Offset, layers: tuple[Layer, ...], lows: Lows) -> Offsets:
    layer = layers[-1]
    codes = {
        block: blocks_offset.zero_point(
            offset, format.element, low, scaling(format, layers, None, layer.tiles.first(block))
        )
        for block, low in lows.items()
    }
    values = blocks_offset.zero_point_values(offset, codes)
    return Offsets(offset, layer.tiles, values, values, (code_array(codes, layer.tiles.count),))


def _minima(offset: Offset, layer: Layer, lows: Lows, subtracted: Cells, axis: int) -> Offsets:
    """O = sign · decode(encode(sign · lo)), for each block."""
    format = offset.scales[0].format
    raws: Cells = {block: offset.sign * low for block, low in lows.items()}
    if isinstance(format, NumberFormat):
        codes = {block: blocks_offset.minimum_code(format, raw) for block, raw in raws.items()}
        arrays: tuple[Array, ...] = (code_array(codes, layer.tiles.count),)
        stored = _values(format, codes)
    else:
        arrays, stored = _nested(format, raws, layer.tiles, axis)
    values = blocks_offset.minima(offset, stored)
    is_unrounded = layer.level.quotient is Quotient.UNROUNDED
    return Offsets(offset, layer.tiles, values, subtracted if is_unrounded else values, arrays)


def _values(format: NumberFormat, codes: Codes) -> Cells:
    return {block: element_value(format, code) for block, code in codes.items()}
