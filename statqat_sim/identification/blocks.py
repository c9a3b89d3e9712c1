"""Block formats, which find their own scales: given values, bytes, or codes and scales compared with a format's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim import layouts
from statqat_sim.arrays import Array
from statqat_sim.block_codec import given_scale
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.geometry import Geometry
from statqat_sim.identification.given import SAMPLE, SAMPLER, Given, Values, codec_for, without_signs
from statqat_sim.identification.result import Compared
from statqat_sim.layouts.bits import row_bytes
from statqat_sim.quantized import QuantizedTensor, unpack
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format


def check_scale(scale: Any, formats: Iterable[Format], shape: tuple[int, ...], axis: int) -> None:
    """Refuse a scale that none of the formats takes.

    Raises:
        TypeError: if it is an array of a dtype other than float32.
        ValueError: if no format takes it as outermost scale; the message is that of the first format.
    """
    refusal: Exception | None = None
    for format in formats:
        geometry = _geometry(format, shape, axis)
        if geometry is None or not isinstance(format, BlockFormat):
            continue
        try:
            given_scale(scale, format, geometry)
        except (ValueError, UnsupportedError) as error:
            refusal = refusal or error
        else:
            return
    told = f"it is for block formats, and none of {shape} is tried" if refusal is None else str(refusal)
    raise ValueError(f"no format takes this scale: {told}")


def _geometry(format: Format, shape: tuple[int, ...], axis: int) -> Geometry | None:
    """The geometry of the blocks; None for number formats, and if the shape does not fit."""
    try:
        return Geometry.of(shape, axis, format) if isinstance(format, BlockFormat) else None
    except ValueError:
        return None


def tried(given: Given, format: BlockFormat, axis: int, scale: Any) -> tuple[Compared, ...] | None:
    """Comparisons of the given arrays with those of a block format; None if the format does not fit."""
    geometry = _geometry(format, given.x.shape, axis)
    if geometry is None or format.element.encode.rounding.is_stochastic or (format.needs_scale and scale is None):
        return None
    try:
        if given.values is not None:
            return _values_beside(given, given.values, format, geometry, scale)
        if given.packed is not None and layouts.packed_size(format, geometry) != given.packed.size:
            return None
        if given.packed is None and not _sizes_fit(given, format, geometry):
            return None
        q = codec_for(format, given.x).quantize(given.x, axis=axis, scale=scale)
    except (ValueError, UnsupportedError):  # the format refuses NaN, or the scale
        return None
    return _packed_beside(given.packed, q) if given.packed is not None else _arrays_beside(given, q)


# --- values ------------------------------------------------------------------------------------------------------


def _values_beside(
    given: Given, values: Values, format: BlockFormat, geometry: Geometry, scale: Any
) -> tuple[Compared, ...] | None:
    """The comparison of all values; None if a sample shows that the format does not fit."""
    if _are_too_many(values, format, geometry) or not _promises(given, values, format, geometry, scale):
        return None
    return (values.beside(codec_for(format, given.x).fake_quantize(given.x, axis=geometry.axis, scale=scale)),)


def _are_too_many(values: Values, format: BlockFormat, geometry: Geometry) -> bool:
    """Whether the first block has more distinct values than the format has codes."""
    rows, columns = geometry.extent(format.anchor.block)
    matrices = values.array.reshape(geometry.batch, geometry.rows, geometry.columns)
    block = matrices[:1, : min(rows, SAMPLE), : min(columns, SAMPLE)]
    return len(np.unique(block)) > 1 << format.bits


def _promises(given: Given, values: Values, format: BlockFormat, geometry: Geometry, scale: Any) -> bool:
    """Whether the format reproduces enough of a sample; True if that depends on elements outside the sample."""
    are_whole = geometry.axis > 0 and all(isinstance(level.block, int) for level in format.scales)
    if not are_whole or scale is not None:
        return True
    return values.begin_like(Codec(format, SAMPLER).fake_quantize(given.sample, axis=geometry.axis))


# --- bytes -------------------------------------------------------------------------------------------------------


def _packed_beside(packed: NDArray[np.uint8], q: QuantizedTensor) -> tuple[Compared, ...]:
    """Comparisons of the bytes, and of the arrays unpacked from them."""
    octets = Compared.of("bytes", packed, np.frombuffer(q.pack(), np.uint8))
    theirs, ours = unpack(packed, q.format, q.shape, q.axis).arrays(), q.arrays()
    names = [layouts.ELEMENTS, *(name for name in ours if name != layouts.ELEMENTS)]
    return octets, *(Compared.of(name, theirs[name], ours[name]) for name in names)


# --- codes and scales --------------------------------------------------------------------------------------------


def _sizes_fit(given: Given, format: BlockFormat, geometry: Geometry) -> bool:
    """Whether codes and scales have the sizes of the format's arrays."""
    fields = layouts.fields_of(format, geometry)
    names = _names_of_scales(len(given.scales), list(fields))
    if names is None or not all(_fits(array, fields[name]) for array, name in zip(given.scales, names, strict=True)):
        return False
    if given.codes is None:
        return True
    row = fields[layouts.ELEMENTS].row_shape
    dense = math.prod(row[:-1]) * row_bytes(row[-1], format.bits)
    return given.codes.size in (math.prod(geometry.shape), dense)


def _fits(array: Array, field: layouts.Field) -> bool:
    """Whether an array has the field's size, and holds words of the field's width, or float values."""
    is_value = array.dtype.kind == "f"
    if is_value and not field.is_float and not field.name.startswith(layouts.SCALE):
        return False
    same_width = not field.is_float or is_value or array.itemsize * 8 == field.storage.bits
    return array.size == math.prod(field.shape) and same_width


def _names_of_scales(count: int, fields: Sequence[str]) -> Sequence[str] | None:
    """The fields that `count` arrays hold: all but the elements, or the innermost scales; None if too many."""
    scales = [name for name in fields if name.startswith(layouts.SCALE)]
    others = [name for name in fields if name != layouts.ELEMENTS]
    if count == len(others):
        return others
    return scales[len(scales) - count :] if count <= len(scales) else None


def _arrays_beside(given: Given, q: QuantizedTensor) -> tuple[Compared, ...]:
    arrays = q.arrays()
    names = _names_of_scales(len(given.scales), list(arrays)) or ()
    compared = [] if given.codes is None else [_codes_beside(given.codes, q)]
    values: Mapping[str, Any] = dict(zip(arrays, q.scale_values(), strict=False))
    for theirs, name in zip(given.scales, names, strict=True):
        ours = arrays[name]
        if theirs.dtype.kind == "f":
            ours = values.get(name, ours)
        elif ours.dtype.kind == "f":
            ours = ours.view(f"u{ours.itemsize}")
        compared.append(Compared.of(name, _as_codes(theirs, ours), ours))
    return tuple(compared)


def _codes_beside(codes: Array, q: QuantizedTensor) -> Compared:
    """The comparison of codes, one for each element (maybe sign-extended) or packed into dense bytes."""
    if codes.size == math.prod(q.shape):
        return Compared.of(layouts.ELEMENTS, without_signs(codes, q.format.bits), q.codes)
    dense = q.fields()[layouts.ELEMENTS]
    return Compared.of(layouts.ELEMENTS, _as_codes(codes, dense), dense)


def _as_codes(array: Array, like: Array) -> Array:
    """Signed integers reinterpreted as unsigned words of the same width; other arrays unchanged."""
    return array.view(like.dtype) if array.dtype.kind == "i" and array.itemsize == like.itemsize else array
