"""Callers' A, B and C, converted to the values that kernels read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import FLOATS, INTEGERS, dtype_name, float_storage
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.tensors import converted, viewed
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError, none_of, shown
from statqat_sim.matmul.formats import have_same_codes, means_scales, operand_of
from statqat_sim.matmul.place import Place, along
from statqat_sim.plan.lower import code_storage
from statqat_sim.plan.mma import FLOAT32_BITS
from statqat_sim.plan.program import Storage
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.refusals import EXACT_INTEGERS, refuse_first
from statqat_sim.spec.accelerator import Float64, Instruction, OperandFormat, Scaling
from statqat_sim.spec.accelerator_dot import Enter
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Block, Rule

CODES = ("uint8", "uint16", "uint32", "uint64")
SIGNED = ("int8", "int16", "int32", "int64")
EXACT_FLOAT64 = -EXACT_INTEGERS, EXACT_INTEGERS
"""The range in which float64 holds every integer."""


@dataclass(frozen=True, slots=True)
class Side:
    """A or B: values, float32, float64 or int32; their format; float32 block scales; and a per-tensor scale.

    Arrays belong to the library that computes.
    """

    values: Any
    format: OperandFormat
    scale: Any = None
    factor: Any = None


def left(instruction: Instruction, a: Any, format: str | NumberFormat | None, scale: Any, place: Place) -> Side:
    """A as values."""
    return _side(instruction, a, format, scale, "a", instruction.a, -1, place)


def right(instruction: Instruction, b: Any, format: str | NumberFormat | None, scale: Any, place: Place) -> Side:
    """B as values."""
    return _side(instruction, b, format, scale, "b", instruction.b, -2, place)


def _side(
    instruction: Instruction,
    array: Any,
    format: str | NumberFormat | None,
    scale: Any,
    what: str,
    formats: Sequence[OperandFormat],
    axis: int,
    place: Place,
) -> Side:
    if isinstance(array, QuantizedTensor):
        return _quantized(instruction, array, scale, what, formats, axis, place)
    place.require(array, what)
    chosen = _chosen(instruction, array, format, what, formats)
    values = _values(instruction, array, chosen, what, place)
    if values.ndim < 2:
        allowed = "(..., M, K)" if axis == -1 else "(..., K, N)"
        raise ValueError(f"{instruction}: {what} has shape {tuple(values.shape)}; allowed: {allowed}")
    return Side(values, chosen, _scales(instruction, scale, values, what, axis, place))


# --- formats -----------------------------------------------------------------------------------------------------


def _chosen(
    instruction: Instruction, array: Any, format: str | NumberFormat | None, what: str, formats: Sequence[OperandFormat]
) -> OperandFormat:
    """The operand's format: the named one, that of the array's dtype, the only one, or for floats the first."""
    if format is not None:
        return _named(instruction, format, what, formats)
    name = dtype_name(array)
    same = [each for each in formats if each.name == name]
    if same or len(formats) == 1:
        return (same or list(formats))[0]
    if name in CODES:
        allowed = ", ".join(each.name for each in formats)
        raise ValueError(f"{instruction}: codes of {what} may have several formats; allowed: {what}_format={allowed}")
    return formats[0]


def _named(
    instruction: Instruction, format: str | NumberFormat, what: str, formats: Sequence[OperandFormat]
) -> OperandFormat:
    named = format if isinstance(format, str) else format.name
    known = {each.name: each for each in formats}
    chosen = known.get(named)
    if chosen is None and isinstance(format, str):
        with suppress(LookupError):
            chosen = known.get(load_format(format).name)
    if chosen is None:
        raise LookupError(f"{instruction}: {what} cannot be {shown(named)}{none_of(named, known)}")
    if isinstance(format, NumberFormat) and not have_same_codes(format, chosen):
        told = f"{instruction}: {what}_format {named} differs from the instruction's format of that name"
        raise LookupError(f"{told}; allowed: {what}_format={shown(named)}, which names the latter")
    return chosen


def _values(instruction: Instruction, array: Any, format: OperandFormat, what: str, place: Place) -> Any:
    """The values of an array's elements in a format: codes are decoded, numbers rounded."""
    if isinstance(format, Float64):
        return _float64(array, what, place)
    name, codec = dtype_name(array), Codec(format)
    is_integer, is_code = isinstance(format.element, IntElement), name == format.name or name in CODES
    if is_integer and name in SIGNED:
        return _integers(array, format, what, place)
    if name in SIGNED:
        told = f"{what} is {name}"
        raise TypeError(f"{instruction}: {told}; allowed: floats, or codes of {format.name} as {code_dtype(format)}")
    if not is_code:
        float_storage(array, what)  # raises for unsupported dtypes, naming the argument
    if isinstance(format.element, IntElement) and (format.bits > FLOAT32_BITS or format.element.fraction_bits):
        codes = _code_array(array, format, what) if is_code else codec.encode(array)
        return _integers_of(codes, format, what, place)
    values = codec.decode(_code_array(array, format, what)) if is_code else codec.fake_quantize(array)
    floats = place.library.as_float32(values, what)
    return converted(floats, "int32") if is_integer else floats


def _float64(array: Any, what: str, place: Place) -> Any:
    name, library = dtype_name(array), place.library
    if name == "uint64":
        return viewed(library.as_native(array, Storage.UINT64, what), "float64")
    if name == "bfloat16" or name not in (*FLOATS, *INTEGERS):
        raise TypeError(f"{what} is {name}; allowed: float64, float32, float16, integers, or codes as uint64")
    if name == "float64":
        return library.as_native(array, Storage.FLOAT64, what)
    if name in INTEGERS:
        return _within(array, EXACT_FLOAT64, what, "float64", place)
    return place.as_float64(library.as_float32(array, what))


def _integers(array: Any, format: NumberFormat, what: str, place: Place) -> Any:
    """Integers as int32, checked to be in the format's range."""
    assert isinstance(format.element, IntElement)
    return _int32(_within(array, format.element.full_range, what, format.name, place))


def _integers_of(codes: Any, format: NumberFormat, what: str, place: Place) -> Any:
    """The integers of codes as int32, without the scaling of fixed-point formats."""
    assert isinstance(format.element, IntElement)
    values = place.library.as_native(Codec(format).decode(codes, dtype="float64"), Storage.FLOAT64, what)
    return _int32(values * 2.0**format.element.fraction_bits if format.element.fraction_bits else values)


def _int32(floats: Any) -> Any:
    return converted(converted(floats, "int64"), "int32")


def _within(array: Any, allowed: tuple[int, int], what: str, name: str, place: Place) -> Any:
    """Integers as exact floats. If their dtype exceeds the allowed range, this reads them, which synchronizes.

    Raises:
        ValueError: if one is out of range.
    """
    dtype, (low, high) = np.iinfo(dtype_name(array)), allowed
    floats = place.library.as_native(array, INTEGERS[dtype.dtype.name], what)
    if math.prod(floats.shape) and (dtype.min < low or dtype.max > high):
        least, most = int(floats.min()), int(floats.max())
        if least < low or most > high:
            raise ValueError(f"{what} holds {least} to {most}; allowed in {name}: {low} to {high}")
    return floats


def code_dtype(format: NumberFormat) -> str:
    """The dtype of a format's codes."""
    return code_storage(format).value


def _code_array(array: Any, format: NumberFormat, what: str) -> Any:
    wanted, codes = code_dtype(format), _bits(array)
    if dtype_name(codes) != wanted:
        raise TypeError(f"{what} is {dtype_name(array)}; allowed: codes of {format.name} as {wanted}")
    return codes


def _bits(array: Any) -> Any:
    """Codes as they are; arrays of another dtype reinterpreted as unsigned integers of the same width."""
    if dtype_name(array) in CODES:
        return array
    return viewed(array.detach() if is_tensor(array) else array, f"uint{8 * array.itemsize}")


# --- scales ------------------------------------------------------------------------------------------------------


def _scales(instruction: Instruction, scale: Any, values: Any, what: str, axis: int, place: Place) -> Any:
    """Block scales as float32: decoded codes, rounded floats, or 1 if none are given."""
    scaling = instruction.scale
    if scaling is None:
        if scale is not None:
            raise ValueError(f"{instruction} takes no block scales; allowed: {what}_scale=None")
        return None
    shape = list(values.shape)
    shape[axis] = -(-shape[axis] // scaling.block)
    if scale is None:
        return place.filled(tuple(shape), "float32", values, 1)
    found = _scale_values(scaling, scale, f"{what}_scale", place)
    if tuple(found.shape) != tuple(shape):
        told = f"{what}_scale has shape {tuple(found.shape)}"
        raise ValueError(f"{instruction}: {told}; allowed: {tuple(shape)}")
    return found


def _scale_values(scaling: Scaling, scale: Any, what: str, place: Place) -> Any:
    place.require(scale, what)
    codec, name, wanted = Codec(scaling.format), dtype_name(scale), code_dtype(scaling.format)
    if name == wanted or _is_dtype_of_scales(name, scaling):
        values = codec.decode(_bits(scale))
    elif name in FLOATS:
        _refuse_negative(scaling, scale, what, place)
        values = codec.fake_quantize(scale)
    else:
        raise TypeError(f"{what} is {name}; allowed: floats, or codes of {scaling.format.name} as {wanted}")
    return place.library.as_float32(values, what)


def _refuse_negative(scaling: Scaling, scale: Any, what: str, place: Place) -> None:
    """Raises ValueError for negative scales if the instruction's are unsigned; arrays on devices are not read."""
    if place.library.looks and scaling.format.min == 0:
        wrong = place.library.as_float32(scale, what) < 0
        refuse_first(
            wrong, place.library, what, f"is negative; {scaling.format.name} has no sign; allowed: 0 and above"
        )


def _is_dtype_of_scales(name: str, scaling: Scaling) -> bool:
    """Whether elements of this float8 dtype are codes of the instruction's scale format."""
    try:
        return name.startswith("float8") and means_scales(load_format(name), scaling)
    except LookupError:
        return False


def _quantized(
    instruction: Instruction,
    q: QuantizedTensor,
    scale: Any,
    what: str,
    formats: Sequence[OperandFormat],
    axis: int,
    place: Place,
) -> Side:
    """The side of a tensor in a block format, whose elements and innermost scales the instruction takes."""
    scaling, format = instruction.scale, q.format
    if scaling is None:
        raise ValueError(
            f"{instruction} takes no block scales, which {what} ({format.name}) has; allowed: plain arrays"
        )
    if scale is not None:
        raise ValueError(f"{what} is a QuantizedTensor, which has its own scales; allowed: {what}_scale=None")
    block = _block_along(format.scales[-1].block, axis)
    if q.axis != len(q.shape) + axis and isinstance(format.scales[-1].block, int):
        raise ValueError(f"{instruction}: blocks of {what} run along axis {q.axis}; allowed: {len(q.shape) + axis}")
    place.require(q.codes, what)
    chosen = operand_of(formats, format)
    if chosen is None:
        allowed = ", ".join(each.name for each in formats)
        raise LookupError(f"{instruction}: elements of {what} are {format.element.name}; allowed: {allowed}")
    values, scales, factor = _parts(instruction, q, scaling, what, place)
    if block is None or block[0] % scaling.block:
        told = f"{instruction}: blocks of {what} are {format.scales[-1].block}"
        raise ValueError(f"{told}; allowed: multiples of {scaling.block} along axis {axis}")
    across = -3 - axis
    spread = place.repeated(place.repeated(scales, block[0] // scaling.block, axis), block[1], across)
    count = -(-values.shape[axis] // scaling.block)
    spread = spread[along(slice(count), axis)][along(slice(values.shape[across]), across)]
    return Side(values, chosen, spread, factor)


def _block_along(block: Block, axis: int) -> tuple[int, int] | None:
    """A block's size along an axis (-1 or -2) and across it; None if it depends on the array's shape."""
    if isinstance(block, int):
        return block, 1
    if isinstance(block, tuple):
        rows, columns = block
        return (columns, rows) if axis == -1 else (rows, columns)
    return None


def _parts(
    instruction: Instruction, q: QuantizedTensor, scaling: Scaling, what: str, place: Place
) -> tuple[Any, Any, Any]:
    """Values of the elements and of the innermost scales, and the per-tensor outer scale, shape (1,), or None."""
    if q.format.offset is not None or len(q.format.scales) > 2:
        raise UnsupportedError(
            f"{instruction}: {what} ({q.format.name}) has offsets or many scales; allowed: MX, NVFP4"
        )
    level, inner = q.format.scales[-1], q.format.scales[-1].format
    if level.rule is Rule.SIGNED_ABSMAX:
        told = f"{instruction}: scales of {what} ({q.format.name}) may be negative (rule: signed_absmax)"
        raise UnsupportedError(f"{told}; allowed: rules whose scales are not")
    if not means_scales(inner, scaling):
        raise LookupError(f"{instruction}: scales of {what} are {inner.name}; allowed: {scaling.format.name}")
    values = place.library.as_float32(Codec(q.format.element).decode(q.codes), what)
    *outer, scales = (place.library.as_float32(each, what) for each in q.scale_values())
    if any(math.prod(each.shape) != 1 for each in outer):
        raise UnsupportedError(f"{instruction}: {what} has several outer scales; allowed: one for the whole tensor")
    return values, scales, outer[0].reshape(-1) if outer else None


# --- C -----------------------------------------------------------------------------------------------------------


def accumulator(instruction: Instruction, c: Any, shape: tuple[int, ...], place: Place) -> Any:
    """C as values in D's shape; None if C is None."""
    if c is None:
        return None
    if instruction.dot is not None and instruction.dot.c is Enter.NONE:
        raise ValueError(f"{instruction} takes no C; allowed: None")
    place.require(c, "c")
    values = _accumulated(instruction, c, place)
    given = tuple(values.shape)
    aligned = (1,) * (len(shape) - len(given)) + given
    if len(aligned) != len(shape) or any(size not in (1, wanted) for size, wanted in zip(aligned, shape, strict=True)):
        raise ValueError(f"{instruction}: c has shape {given}; allowed: what broadcasts to {shape}")
    return place.library.broadcast(values, shape)


def _accumulated(instruction: Instruction, c: Any, place: Place) -> Any:
    format, name = instruction.c, dtype_name(c)
    if isinstance(format, Float64) or not isinstance(format.element, IntElement):
        return _values(instruction, c, format, "c", place)
    if name not in INTEGERS:
        raise TypeError(f"c is {name}; allowed: {', '.join(INTEGERS)}")
    if name == code_dtype(format):
        return _integers_of(c, format, "c", place)
    return _integers(c, format, "c", place)
