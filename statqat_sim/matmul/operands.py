"""What callers give as A, B and C, as the values that kernels read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Array, dtype_name, is_cpu_array
from statqat_sim.arrays.inputs import numpy_view
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError, did_you_mean, shown
from statqat_sim.plan.program import Storage
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.spec.accelerator import Float64, Instruction, Operand, Scaling
from statqat_sim.spec.accelerator_dot import Sum
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat

CODES = ("uint8", "uint16", "uint32", "uint64")
SIGNED = ("int8", "int16", "int32", "int64")
INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True)
class Side:
    """A or B: float32 values (float64, or int32), their format, the values of block scales, and one factor of all."""

    values: Array
    format: Operand
    scale: Array | None = None
    factor: float = 1.0


def left(instruction: Instruction, a: Any, format: str | NumberFormat | None, scale: Any) -> Side:
    """A."""
    return _side(instruction, a, format, scale, "a", instruction.a, -1)


def right(instruction: Instruction, b: Any, format: str | NumberFormat | None, scale: Any) -> Side:
    """B."""
    return _side(instruction, b, format, scale, "b", instruction.b, -2)


def _side(
    instruction: Instruction,
    array: Any,
    format: str | NumberFormat | None,
    scale: Any,
    what: str,
    formats: Sequence[Operand],
    axis: int,
) -> Side:
    if isinstance(array, QuantizedTensor):
        return _quantized(instruction, array, scale, what, formats, axis)
    if not is_cpu_array(array):
        raise TypeError(
            f"{what} is a {type(array).__name__}; allowed: a numpy array, a CPU tensor or a QuantizedTensor"
        )
    chosen = _chosen(instruction, array, format, what, formats)
    values = _values(instruction, array, chosen, what)
    if values.ndim < 2:
        allowed = "(..., M, K)" if axis == -1 else "(..., K, N)"
        raise ValueError(f"{instruction}: {what} has shape {values.shape}; allowed: {allowed}")
    return Side(values, chosen, _scales(instruction, scale, values, what, axis))


# --- formats -----------------------------------------------------------------------------------------------------


def _chosen(
    instruction: Instruction, array: Any, format: str | NumberFormat | None, what: str, formats: Sequence[Operand]
) -> Operand:
    """The operand's format: the one that is named, that of the array's dtype, the only one, or of floats the first."""
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


def _named(instruction: Instruction, format: str | NumberFormat, what: str, formats: Sequence[Operand]) -> Operand:
    named = format if isinstance(format, str) else format.name
    known = {each.name: each for each in formats}
    if named in known:
        return known[named]
    try:
        canonical = load_format(format).name if isinstance(format, str) else named
    except LookupError:
        canonical = named
    if canonical in known:
        return known[canonical]
    told = f"{instruction}: {what} cannot be {shown(named)}{did_you_mean(named, known)}"
    raise LookupError(f"{told}; allowed: {', '.join(known)}")


def _values(instruction: Instruction, array: Any, format: Operand, what: str) -> Array:
    """What an array's elements mean in a format."""
    if isinstance(format, Float64):
        return _float64(array, what)
    name, is_integer = dtype_name(array), isinstance(format.element, IntElement)
    if is_integer and name in SIGNED:
        return _integers(array, format, what)
    if name in SIGNED:
        told = f"{what} is {name}"
        raise TypeError(f"{instruction}: {told}; allowed: floats, or codes of {format.name} as {_code_dtype(format)}")
    if name == format.name or name in CODES:
        values = Codec(format).decode(_code_array(array, format, what))
    else:
        values = Codec(format).fake_quantize(array)
    found = np.asarray(numpy_view(values, Storage.FLOAT32, what))
    return found.astype(np.int32) if is_integer else found.astype(np.float32, copy=False)


def _float64(array: Any, what: str) -> Array:
    name = dtype_name(array)
    if name == "uint64":
        return np.asarray(numpy_view(array, Storage.FLOAT64, what)).view(np.float64)
    view = np.asarray(numpy_view(array, Storage.FLOAT64, what))
    if view.dtype.kind not in "fiu" or name == "bfloat16":
        raise TypeError(f"{what} is {name}; allowed: float64")
    return view.astype(np.float64, copy=False)


def _integers(array: Any, format: NumberFormat, what: str) -> Array:
    """Integers that the format has."""
    view = np.asarray(numpy_view(array, Storage.FLOAT64, what))
    assert isinstance(format.element, IntElement)
    low, high = format.element.full_range
    if view.size and (view.min() < low or view.max() > high):
        raise ValueError(f"{what} holds {view.min()} to {view.max()}; allowed in {format.name}: {low} to {high}")
    return view.astype(np.int32)


def _code_dtype(format: NumberFormat) -> str:
    return next(name for name, bits in (("uint8", 8), ("uint16", 16), ("uint32", 32)) if format.bits <= bits)


def _code_array(array: Any, format: NumberFormat, what: str) -> Array:
    wanted = _code_dtype(format)
    view = np.asarray(_bits(array, what))
    if view.dtype.name != wanted:
        raise TypeError(f"{what} is {dtype_name(array)}; allowed: codes of {format.name} as {wanted}")
    return view


def _bits(array: Any, what: str) -> Array:
    """An array's elements as unsigned integers of their size; numpy cannot see all of torch's dtypes otherwise."""
    size = array.element_size() if hasattr(array, "element_size") else array.dtype.itemsize
    if hasattr(array, "element_size"):
        array = array.detach().contiguous().view(_torch_word(array, size))
    view = np.asarray(numpy_view(array, Storage.UINT8, what))
    return np.ascontiguousarray(view).view(f"u{size}")


def _torch_word(tensor: Any, size: int) -> Any:
    import sys

    torch = sys.modules["torch"]
    return {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]


# --- scales ------------------------------------------------------------------------------------------------------


def _scales(instruction: Instruction, scale: Any, values: Array, what: str, axis: int) -> Array | None:
    """Values of block scales: those of codes, of floats, or 1."""
    scaling = instruction.scale
    if scaling is None:
        if scale is not None:
            raise ValueError(f"{instruction} takes no block scales; allowed: {what}_scale=None")
        return None
    shape = list(values.shape)
    shape[axis] = -(-shape[axis] // scaling.block)
    if scale is None:
        return np.ones(shape, np.float32)
    found = _scale_values(scaling, scale, f"{what}_scale")
    if found.shape != tuple(shape):
        raise ValueError(f"{instruction}: {what}_scale has shape {found.shape}; allowed: {tuple(shape)}")
    return found


def _scale_values(scaling: Scaling, scale: Any, what: str) -> Array:
    if not is_cpu_array(scale):
        raise TypeError(f"{what} is a {type(scale).__name__}; allowed: a numpy array or a CPU tensor")
    codec, name = Codec(scaling.format), dtype_name(scale)
    if name == "uint8" or name.startswith("float8"):
        values = codec.decode(_bits(scale, what))
    else:
        values = codec.fake_quantize(scale)
    return np.asarray(numpy_view(values, Storage.FLOAT32, what))


def _quantized(
    instruction: Instruction, q: QuantizedTensor, scale: Any, what: str, formats: Sequence[Operand], axis: int
) -> Side:
    """A tensor of a block format, whose elements and innermost scales the instruction takes."""
    scaling, format = instruction.scale, q.format
    if scaling is None:
        raise ValueError(
            f"{instruction} takes no block scales, which {what} ({format.name}) has; allowed: plain arrays"
        )
    if scale is not None:
        raise ValueError(f"{what} is a QuantizedTensor, which has its own scales; allowed: {what}_scale=None")
    if q.axis != len(q.shape) + axis:
        raise ValueError(f"{instruction}: blocks of {what} run along axis {q.axis}; allowed: {len(q.shape) + axis}")
    chosen = _same_element(instruction, format, what, formats)
    values, scales, factor = _parts(instruction, q, scaling, what)
    if not isinstance(format.scales[-1].block, int) or format.scales[-1].block % scaling.block:
        block = format.scales[-1].block
        raise ValueError(f"{instruction}: blocks of {what} are {block}; allowed: multiples of {scaling.block}")
    spread = np.repeat(scales, format.scales[-1].block // scaling.block, axis=axis)
    count = -(-values.shape[axis] // scaling.block)
    return Side(values, chosen, np.ascontiguousarray(np.take(spread, range(count), axis=axis)), factor)


def _same_element(instruction: Instruction, format: BlockFormat, what: str, formats: Sequence[Operand]) -> Operand:
    for each in formats:
        if not isinstance(each, Float64) and each.element == format.element.element:
            return each
    allowed = ", ".join(each.name for each in formats)
    raise LookupError(f"{instruction}: elements of {what} are {format.element.name}; allowed: {allowed}")


def _parts(instruction: Instruction, q: QuantizedTensor, scaling: Scaling, what: str) -> tuple[Array, Array, float]:
    """Values of the elements and of the innermost scales, and the outer scale, which the whole tensor shares."""
    if q.format.offset is not None or len(q.format.scales) > 2:
        raise UnsupportedError(
            f"{instruction}: {what} ({q.format.name}) has offsets or many scales; allowed: MX, NVFP4"
        )
    ours = scaling.format.element
    inner = q.format.scales[-1].format
    fits = (
        isinstance(inner, NumberFormat)
        and inner.element.model_copy(update={"signed": False}).model_copy(update={"zero": getattr(ours, "zero", None)})
        == ours
    )
    if not fits:
        name = inner.name
        raise LookupError(f"{instruction}: scales of {what} are {name}; allowed: {scaling.format.name}")
    values = np.asarray(numpy_view(Codec(q.format.element).decode(q.codes), Storage.FLOAT32, what))
    *outer, scales = (np.asarray(numpy_view(each, Storage.FLOAT32, what)) for each in q.scale_values())
    factor = 1.0
    for each in outer:
        if each.size != 1:
            raise UnsupportedError(f"{instruction}: {what} has several outer scales; allowed: one for the whole tensor")
        factor = float(each.reshape(-1)[0])
    return values, scales, factor


# --- C -----------------------------------------------------------------------------------------------------------


def accumulator(instruction: Instruction, c: Any, shape: tuple[int, ...]) -> Array | None:
    """C in D's shape: values of its format."""
    if c is None:
        return None
    if instruction.dot is not None and instruction.dot.c == "none":
        raise ValueError(f"{instruction} takes no C; allowed: None")
    if not is_cpu_array(c):
        raise TypeError(f"c is a {type(c).__name__}; allowed: a numpy array or a CPU tensor")
    values = _accumulated(instruction, c)
    try:
        return np.ascontiguousarray(np.broadcast_to(values, shape)).reshape(shape)
    except ValueError:
        raise ValueError(f"{instruction}: c has shape {values.shape}; allowed: what broadcasts to {shape}") from None


def _accumulated(instruction: Instruction, c: Any) -> Array:
    if instruction.dot is None or instruction.dot.sum is not Sum.INTEGER:
        return _values(instruction, c, instruction.c, "c")
    view = np.asarray(numpy_view(c, Storage.FLOAT64, "c"))
    if view.dtype == np.uint32:
        return view.view(np.int32)
    if view.dtype.kind not in "iu":
        raise TypeError(f"c is {dtype_name(c)}; allowed: int32")
    if view.size and (view.min() < INT32.min or view.max() > INT32.max):
        raise ValueError(f"c holds {view.min()} to {view.max()}; allowed: int32")
    return view.astype(np.int32)
