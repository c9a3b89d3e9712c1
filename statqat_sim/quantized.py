"""Tensors in block formats: codes with their scales."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from statqat_sim import layouts
from statqat_sim.arrays import CPU, Array, ArrayLibrary, dtype_name, is_cpu_array, left_out, real_array
from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.errors import of_type
from statqat_sim.geometry import Geometry
from statqat_sim.packing import sizes
from statqat_sim.plan.lower_block import factors
from statqat_sim.plan.program import CodecPlan
from statqat_sim.reference.backend import ReferenceKernel
from statqat_sim.runtime import Kernel, backend_for, library_of
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat

OCTETS = ("uint8", "int8")
"""Dtypes of arrays that are accepted as bytes."""


@dataclass(frozen=True, eq=False, repr=False)
class QuantizedTensor:
    """An array in a block format: one code for each element, and the codes of the scales that blocks share.

    Args:
        codes: the elements' codes, in the array's shape: uint8, uint16 or uint32 by their width.
        scales: those of every level, outermost first; a nested format has its own scales there, then its elements.
            Codes as wide as their format's; float32 and float16 scales as floats. Shape: the array's, `axis` divided by
            the block and rounded up; all ones for one scale of the whole array. Bits above a code's width mean nothing.
        format: a block format.
        axis: along which blocks run; kept as a number from 0.
        offset: codes of zero-points or minima, where the format has them, as the innermost scales.
        offset_scales: of a nested offset, outermost first.

    Raises:
        TypeError: if an array has the wrong dtype or kind, or `format` is not a block format.
        ValueError: if a shape or a number of arrays does not fit.
    """

    codes: Any
    scales: tuple[Any, ...]
    format: BlockFormat
    axis: int = -1
    offset: Any = None
    offset_scales: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        _check_block_format(self.format)
        object.__setattr__(self, "scales", _listed(self.scales, "scales"))
        object.__setattr__(self, "offset_scales", _listed(self.offset_scales, "offset_scales"))
        library = _library(self.codes, self._stored)
        object.__setattr__(self, "axis", self.geometry.axis)
        self.arrays(library)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array, and of its codes."""
        return tuple(self.codes.shape)

    @property
    def geometry(self) -> Geometry:
        """Where the blocks lie."""
        return Geometry.of(self.shape, self.axis, self.format)

    @property
    def nbytes(self) -> int:
        """The number of bytes that `pack` gives."""
        return layouts.packed_size(self.format, self.geometry)

    @property
    def bits_per_element(self) -> float:
        """Stored bits per element, with scales and padding; NaN if there are no elements."""
        count = math.prod(self.shape)
        return BYTE * self.nbytes / count if count else math.nan

    @left_out
    def scale_values(self) -> tuple[Any, ...]:
        """The decoded scales, float32 arrays of the scales' shapes; each is a factor.

        The scale of an element is their product, rounded to float32 after each factor, outermost first. Codes in
        CPU memory are decoded by numpy whatever the backend, as they are few.
        """
        plans = zip(factors(self.format), self.scales, strict=True)
        return tuple(_kernel(plan, self.codes)(array) for plan, array in plans)

    def cpu(self) -> QuantizedTensor:
        """The same tensor in the CPU's memory: numpy arrays, or CPU tensors of tensors. It may be this one."""
        offset = None if self.offset is None else _on_cpu(self.offset)
        scales, offset_scales = (tuple(map(_on_cpu, arrays)) for arrays in (self.scales, self.offset_scales))
        return replace(self, codes=_on_cpu(self.codes), scales=scales, offset=offset, offset_scales=offset_scales)

    @left_out
    def pack(self) -> bytes:
        """Codes and scales as bytes, in the layout of the format's `pack`.

        Raises:
            TypeError: if they are not in the CPU's memory: `q.cpu().pack()`.
        """
        return layouts.pack(self.format, self.geometry, self.arrays())

    @left_out
    def fields(self) -> dict[str, Array]:
        """Each field by itself, as numpy arrays: dense codes as bytes, row by row, `axis` last; floats as floats.

        A float that the whole array shares is an array of no axes here, as checkpoints keep it; `scales` has it with as
        many axes as the array. Where the format's fields are separate, `pack` gives their bytes one after the other.

        Raises:
            TypeError: if they are not in the CPU's memory.
        """
        return layouts.pack_fields(self.format, self.geometry, self.arrays())

    def arrays(self, library: ArrayLibrary = CPU) -> dict[str, Any]:
        """Codes and scales as a library's C-contiguous arrays, by field name.

        Raises:
            TypeError: if one has the wrong dtype, or is not of this library.
            ValueError: if one has the wrong shape, or their number is wrong.
        """
        fields = layouts.fields_of(self.format, self.geometry)
        given = (*self._stored, self.codes)
        if len(given) != len(fields):
            _refuse_number(self.format, len(self.scales), len(given) - len(self.scales) - 1)
        pairs = zip(fields.values(), given, strict=True)
        return {field.name: _checked(array, field, library) for field, array in pairs}

    @property
    def _stored(self) -> tuple[Any, ...]:
        """Every array except the codes of the elements."""
        return *self.scales, *self.offset_scales, *(() if self.offset is None else (self.offset,))

    def __repr__(self) -> str:
        sizes = f"{self.nbytes} bytes, {self.bits_per_element:.4g} bits per element"
        return f"QuantizedTensor({self.format.name}, shape={self.shape}, axis={self.axis}: {sizes})"

    @left_out
    def __eq__(self, other: object) -> bool:
        """Whether formats, axes and all codes are equal; NaN scales are if their bits are.

        Bits above a code's width are ignored.

        Raises:
            TypeError: if the codes are not in the CPU's memory.
        """
        if not isinstance(other, QuantizedTensor):
            return NotImplemented
        if (self.format, self.shape, self.axis) != (other.format, other.shape, other.axis):
            return False
        triples = zip(self.arrays().values(), other.arrays().values(), self.format.stored, strict=True)
        return all(
            np.array_equal(_significant(ours, stored.format), _significant(theirs, stored.format))
            for ours, theirs, stored in triples
        )

    __hash__ = None  # type: ignore[assignment]  # arrays may change


@left_out
def unpack(buffer: Any, format: BlockFormat, shape: tuple[int, ...], axis: int = -1) -> QuantizedTensor:
    """The tensor whose `pack` gave these bytes.

    Args:
        buffer: bytes, or a uint8 array or CPU tensor of one axis.
        format: the block format that they are in.
        shape: the array's shape.
        axis: along which blocks run.

    Raises:
        TypeError: if `buffer` holds no bytes, or `format` is not a block format.
        ValueError: if there are too many or too few bytes, or no such axis.
    """
    _check_block_format(format)
    geometry = Geometry.of(sizes(shape), axis, format)
    arrays = layouts.unpack(octets(buffer, "buffer"), format, geometry)
    stored = [(each.name, arrays[each.name]) for each in format.stored]
    scales, offsets = (
        tuple(array for name, array in stored if name.startswith(what)) for what in (layouts.SCALE, layouts.OFFSET)
    )
    offset = offsets[-1] if offsets else None
    return QuantizedTensor(arrays[layouts.ELEMENTS], scales, format, axis, offset, offsets[:-1])


def octets(buffer: Any, what: str) -> Array:
    """A buffer's bytes, as an array of one axis.

    Raises:
        TypeError: if it is neither bytes nor an array of uint8, or of int8.
    """
    if is_cpu_array(buffer):
        if dtype_name(buffer) not in OCTETS:
            raise TypeError(f"{what} is {dtype_name(buffer)}; allowed: uint8, or bytes")
        return np.ascontiguousarray(real_array(buffer, what)).reshape(-1).view(np.uint8)
    try:
        return np.frombuffer(memoryview(buffer).cast("B"), np.uint8)
    except TypeError:
        raise TypeError(f"{what} is {of_type(buffer)}; allowed: bytes, or a uint8 array") from None


def _check_block_format(format: object) -> None:
    if not isinstance(format, BlockFormat):
        what = f"{format.name} is a number format" if isinstance(format, NumberFormat) else f"format is {format!r}"
        raise TypeError(f"{what}; allowed: a BlockFormat, which has scales")


def _listed(arrays: Any, what: str) -> tuple[Any, ...]:
    """Arrays as a tuple."""
    if not isinstance(arrays, tuple | list):
        allowed = f"a tuple of arrays, outermost first; of one array: {what}=({what[:-1]},)"
        raise TypeError(f"{what} is {of_type(arrays)}; allowed: {allowed}")
    return tuple(arrays)


def _library(codes: Any, stored: tuple[Any, ...]) -> ArrayLibrary:
    """The library for an array of codes and the arrays stored with them."""
    if all(map(is_tensor, (codes, *stored))):
        return TENSORS  # which torch's compiler traces
    if is_cpu_array(codes):
        return CPU
    try:
        return library_of(backend_for(codes), codes)
    except TypeError:
        raise TypeError(f"codes is {of_type(codes)}; allowed: a numpy array or a tensor") from None


def _checked(array: Any, field: layouts.Field, library: ArrayLibrary) -> Any:
    """The array as the library's, C-contiguous."""
    native = library.as_native(array, field.storage, field.name)
    if tuple(native.shape) != field.shape:
        raise ValueError(f"{field.name} has shape {tuple(native.shape)}; allowed: {field.shape}")
    return native


def _on_cpu(array: Any) -> Any:
    """The array in the CPU's memory: cupy's arrays have `get`, torch's `cpu`; others become numpy's."""
    if is_cpu_array(array):
        return array
    for method in ("get", "cpu"):
        if hasattr(array, method):
            return getattr(array, method)()
    return np.asarray(array)


def _kernel(plan: CodecPlan, array: Any) -> Kernel:
    """The kernel that runs a plan on an array of scales; on the CPU numpy's interpreter, as scales are few."""
    return ReferenceKernel(plan) if is_cpu_array(array) else backend_for(array).compile(plan)


def _significant(array: Array, format: NumberFormat) -> Array:
    """Codes without the bits above their width; the bits of floats."""
    words = array.view(f"u{array.itemsize}")
    significant: Array = words & words.dtype.type((1 << format.bits) - 1)
    return significant


def _refuse_number(format: BlockFormat, scales: int, offsets: int) -> None:
    """Raises ValueError for arrays that are missing, or too many."""
    names = [stored.name for stored in format.stored]
    wanted = ", ".join(names[:-1])
    raise ValueError(f"{scales} arrays of scales and {offsets} of offsets; allowed for {format.name}: {wanted}")
