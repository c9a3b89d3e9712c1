"""A block tensor's arrays as one string of bytes, and back. See `formats/LANGUAGE.md`, Definition 32."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.geometry import Geometry
from statqat_sim.layouts.bits import Bytes, padded
from statqat_sim.layouts.block import BlockLayout, Part
from statqat_sim.layouts.coding import BitString, Coding, HalfSplit, Swizzle128x4
from statqat_sim.layouts.field import ELEMENTS, SCALE, Field, fields_of
from statqat_sim.layouts.mapped import MappedBlock
from statqat_sim.plan.program import Packed
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.pack import BitOrder, BlockNibbles, Layout, Swizzle
from statqat_sim.spec.scale import Whole


def pack(format: BlockFormat, geometry: Geometry, arrays: Mapping[str, Array], dense: bool = False) -> bytes:
    """The bytes of a tensor, in its format's layout.

    Args:
        format: a block format.
        geometry: the layout of the tensor's blocks.
        arrays: the arrays that `fields_of` names.
        dense: whether the elements are bytes already, as `dense_elements` says.

    Raises:
        ValueError: if the layout has no bytes for a code.
    """
    ready = frozenset({ELEMENTS} if dense else ())
    return b"".join(np.ascontiguousarray(section).data for section in _layout(format, geometry, ready).pack(arrays))


def dense_elements(format: BlockFormat, geometry: Geometry) -> Packed | None:
    """How a kernel may write the elements itself: where they are dense rows of the array's own last axis."""
    coding = _coding(format, fields_of(format, geometry)[ELEMENTS])
    if format.pack.layout is not Layout.SEPARATE or not geometry.along_rows or not isinstance(coding, BitString):
        return None
    return Packed(coding.bits, coding.big_endian) if coding.bits < BYTE else None


def unpack(octets: Bytes, format: BlockFormat, geometry: Geometry) -> dict[str, Array]:
    """The arrays of a tensor, from its bytes.

    Raises:
        ValueError: if there are too many bytes, or too few.
    """
    layout = _layout(format, geometry)
    if octets.size != layout.size:
        told = f"{format.name} of shape {geometry.shape} has {layout.size} bytes, not {octets.size}"
        raise ValueError(f"{told}; allowed: {layout}")
    return layout.unpack(octets)


def packed_size(format: BlockFormat, geometry: Geometry) -> int:
    """The number of bytes that `pack` gives."""
    return _layout(format, geometry).size


def pack_fields(format: BlockFormat, geometry: Geometry, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Every field by itself: dense codes as uint8, row by row; scales that are floats as floats."""
    return _Separate(format, geometry).fields(arrays)


def _layout(format: BlockFormat, geometry: Geometry, ready: frozenset[str] = frozenset()) -> _Separate | _Interleaved:
    """`ready`: fields whose arrays are bytes already."""
    is_separate = format.pack.layout is Layout.SEPARATE
    return _Separate(format, geometry, ready) if is_separate else _Interleaved(format, geometry)


class _Separate:
    """All fields, one after the other."""

    def __init__(self, format: BlockFormat, geometry: Geometry, ready: frozenset[str] = frozenset()) -> None:
        fields, self._ready = fields_of(format, geometry), ready
        self._fields = [fields[name] for name in format.pack.fields or fields]
        self._codings = {name: _coding(format, field) for name, field in fields.items()}
        if format.pack.swizzle is Swizzle.SM100_128X4:
            self._codings[_innermost_scale(fields).name] = Swizzle128x4()

    def __str__(self) -> str:
        return " + ".join(f"{field.name} {math.prod(self._shape(field))}" for field in self._fields)

    @property
    def size(self) -> int:
        return sum(math.prod(self._shape(field)) for field in self._fields)

    def pack(self, arrays: Mapping[str, Array]) -> list[Bytes]:
        return [self._pack(field, arrays[field.name]) for field in self._fields]

    def fields(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {field.name: _as_floats(self._pack(field, arrays[field.name]), field) for field in self._fields}

    def unpack(self, octets: Bytes) -> dict[str, Array]:
        arrays, start = {}, 0
        for field in self._fields:
            shape = self._shape(field)
            stop = start + math.prod(shape)
            rows = self._codings[field.name].unpack(octets[start:stop].reshape(shape), field.row_shape)
            arrays[field.name], start = field.array(rows), stop
        return arrays

    def _pack(self, field: Field, array: Array) -> Bytes:
        return array if field.name in self._ready else self._codings[field.name].pack(field.rows(array))

    def _shape(self, field: Field) -> tuple[int, ...]:
        return self._codings[field.name].shape(field.row_shape)


class _Interleaved:
    """Blocks, each with all of its fields: as many elements as share the outermost scale, or as ggml has in a block."""

    def __init__(self, format: BlockFormat, geometry: Geometry) -> None:
        fields = fields_of(format, geometry)
        self._fields = {name: fields[name] for name in format.pack.fields or fields}
        map = format.block_map
        length = map.elements if map else max(_length(field) for field in self._fields.values())
        self._counts = {name: length // _length(field) for name, field in self._fields.items()}
        self._block = MappedBlock(map) if map else BlockLayout(self._parts(format))
        rows = fields[ELEMENTS].row_shape
        self._blocks = math.prod(rows[:-1]) * -(-rows[-1] // length)

    def __str__(self) -> str:
        return f"{self._blocks} × ({self._block})"

    @property
    def size(self) -> int:
        return self._blocks * self._block.size

    def pack(self, arrays: Mapping[str, Array]) -> list[Bytes]:
        blocks = {}
        for name, count in self._counts.items():
            blocks[name] = padded(self._fields[name].rows(arrays[name]), count).reshape(-1, count)
        return [self._block.pack(blocks)]

    def unpack(self, octets: Bytes) -> dict[str, Array]:
        blocks = self._block.unpack(octets.reshape(self._blocks, self._block.size))
        arrays = {}
        for name, field in self._fields.items():
            *others, count = field.row_shape
            whole = -(-count // self._counts[name]) * self._counts[name]
            arrays[name] = field.array(blocks[name].reshape(*others, whole)[..., :count])
        return arrays

    def _parts(self, format: BlockFormat) -> tuple[Part, ...]:
        fields = self._fields.items()
        return tuple(Part(name, self._counts[name], _coding(format, field)) for name, field in fields)


def _length(field: Field) -> int:
    """The number of elements that share a code."""
    assert isinstance(field.block, int), "the reader refuses to interleave other blocks"
    return field.block


def _coding(format: BlockFormat, field: Field) -> Coding:
    """The coding of a field: how its codes become bytes."""
    if field.is_float:
        return BitString(field.bits)
    is_element = field.name == ELEMENTS
    if is_element and format.pack.nibbles is BlockNibbles.HALF_SPLIT:
        assert isinstance(format.anchor.block, int), "the reader refuses to split other blocks"
        return HalfSplit(format.anchor.block)
    high_first = is_element and format.pack.nibbles is BlockNibbles.HIGH_FIRST
    return BitString(field.bits, high_first or format.pack.bit_order is BitOrder.MSB)


def _innermost_scale(fields: Mapping[str, Field]) -> Field:
    return [field for name, field in fields.items() if name.startswith(SCALE)][-1]


def _as_floats(octets: Bytes, field: Field) -> Array:
    """Floats where the field is one; a single float of a whole array as an array of no axes."""
    if not field.is_float:
        return octets
    floats = octets.view(f"<f{field.bits // BYTE}")
    return floats.reshape(()) if field.block is Whole.TENSOR else floats
