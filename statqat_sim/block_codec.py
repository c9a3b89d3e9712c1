"""The part of `Codec` for block formats: arrays in, codes with scales out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from statqat_sim import layouts
from statqat_sim.arrays import CPU, INTEGERS, ArrayLibrary, addresses, dtype_name, shape_of
from statqat_sim.arrays.tensors import count_write
from statqat_sim.errors import UnsupportedError, of_type
from statqat_sim.geometry import Geometry, is_whole_array
from statqat_sim.plan.block_levels import stored_as
from statqat_sim.plan.block_statistics import LAST_INDEX
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Storage
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.refusals import refuse_scale
from statqat_sim.runtime import Backend, BlockKernel, backend_for, block_kernel, library_of
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Order, Rule, ScaleLevel


class BlockCodec:
    """A block format and a backend; None: the one that owns each array. The arguments are those of `Codec`."""

    def __init__(self, format: BlockFormat, backend: Backend | None) -> None:
        self.format = format
        self._backend = backend
        self._compiled = SimpleNamespace()  # torch's compiler sees attributes that are added while it traces

    def quantize(self, x: Any, axis: int, scale: Any, weights: Any, random: dict[str, Any]) -> QuantizedTensor:
        return self._quantized(self._job(x, axis, scale, weights), x, random)

    def _quantized(self, job: _Job, x: Any, random: dict[str, Any]) -> QuantizedTensor:
        codes, stored = job.kernel.quantize(job.values, job.geometry, **job.options, **random)
        codes, *arrays = (job.library.in_kind(array, x) for array in (codes, *stored))
        count = sum(each.name.startswith(layouts.SCALE) for each in self.format.stored)
        scales, offsets = tuple(arrays[:count]), tuple(arrays[count:])
        offset = offsets[-1] if offsets else None
        return QuantizedTensor(codes, scales, self.format, job.geometry.axis, offset, offsets[:-1])

    def pack(self, x: Any, axis: int, scale: Any, weights: Any, random: dict[str, Any]) -> bytes:
        job = self._job(x, axis, scale, weights)
        if job.library is not CPU:
            return self._quantized(job, x, random).cpu().pack()
        packed = layouts.dense_elements(self.format, job.geometry)
        codes, stored = job.kernel.quantize(job.values, job.geometry, **job.options, **random, packed=packed)
        names = [each.name for each in self.format.stored]
        arrays = dict(zip(names, (*stored, codes), strict=True))
        return layouts.pack(self.format, job.geometry, arrays, dense=packed is not None)

    def fake_quantize(self, x: Any, axis: int, scale: Any, weights: Any, out: Any, random: dict[str, Any]) -> Any:
        is_plain = out is not None and scale is None and weights is None and not random
        if is_plain and self._ran_at_addresses(x, axis, out):
            return out
        job = self._job(x, axis, scale, weights)
        result = _Result.of(out, job.geometry.shape, job.library, job.values)
        values = job.library.separate(job.values, result.target)
        options = {name: job.library.separate(each, result.target) for name, each in job.options.items()}
        found = job.kernel.fake_quantize(values, job.geometry, out=result.into, **options, **random)
        return result.given_back(found, x)

    def dequantize(self, q: QuantizedTensor, out: Any) -> Any:
        if not isinstance(q, QuantizedTensor):
            raise TypeError(f"q is {of_type(q)}; allowed: a QuantizedTensor, as quantize gives it")
        if q.format is not self.format and q.format != self.format:
            other = f"another {q.format.name}" if q.format.name == self.format.name else q.format.name
            raise ValueError(f"q is in {other}; allowed: {self.format.name}, this codec's format")
        kernel, library = self._kernel(q.codes)
        *stored, codes = q.arrays(library).values()
        result = _Result.of(out, q.shape, library, codes)
        *stored, codes = (library.separate(array, result.target) for array in (*stored, codes))
        return result.given_back(kernel.dequantize(codes, tuple(stored), q.geometry, out=result.into), q.codes)

    def _ran_at_addresses(self, x: Any, axis: int, out: Any) -> bool:
        """Run `fake_quantize` on data addresses, in a fifth of the time; False if kernel or arrays lack support."""
        prepare = getattr(self._kernel(x)[0], "at_addresses", None)
        places = None if prepare is None else addresses(x, out)
        if prepare is None or places is None:
            return False
        run = prepare(self._geometry(tuple(x.shape), axis))
        if run is not None:
            count_write(out)
            run(*places)
        return run is not None

    def _job(self, x: Any, axis: int, scale: Any, weights: Any) -> _Job:
        """The kernel and its arguments: x, its geometry, and the caller's scales and weights if given."""
        kernel, library = self._kernel(x, with_scale=scale is not None)
        geometry = self._geometry(shape_of(x, "x"), axis)
        values = library.as_float32(x, "x")
        options: dict[str, Any] = {}
        if scale is not None:
            options["given"] = given_scale(scale, self.format, geometry, library, values)
        elif self.format.needs_scale:
            raise ValueError(f"{self.format.name} has a scale that the caller gives (rule: given); allowed: scale=...")
        if weights is not None:
            _check_takes_weights(self.format, with_scale=scale is not None)
            options["weights"] = _weights(weights, geometry, library, values)
        return _Job(kernel, library, values, geometry, options)

    def _geometry(self, shape: tuple[int, ...], axis: int) -> Geometry:
        """Where blocks lie.

        Raises:
            UnsupportedError: if a block is too long for the index of its largest element.
        """
        geometry = Geometry.of(shape, axis, self.format)
        if math.prod(shape) > LAST_INDEX + 1:
            for level in self.format.scales:
                size = math.inf if is_whole_array(level.block) else math.prod(geometry.extent(level.block))
                if level.rule is Rule.SIGNED_ABSMAX and size > LAST_INDEX + 1:
                    told = f"signed_absmax of {self.format.name} counts at most 2^30 elements of a block"
                    raise UnsupportedError(f"{told}; this array is {shape}; allowed: absmax, or smaller blocks")
        return geometry

    def _kernel(self, array: Any, *, with_scale: bool = False) -> tuple[BlockKernel, ArrayLibrary]:
        """The kernel for arrays of this kind, and their library."""
        backend = self._backend or backend_for(array)
        return getattr(self._compiled, self._prepared(backend, with_scale)), library_of(backend, array)

    def _prepared(self, backend: Backend, with_scale: bool) -> str:
        """The name of the backend's kernel among those that are compiled."""
        name = f"{backend.name}{' with scale' * with_scale}"
        if not hasattr(self._compiled, name):
            format = _with_given_scale(self.format) if with_scale else self.format
            setattr(self._compiled, name, block_kernel(backend, lower_block(format)))
        return name

    _prepared._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces


@dataclass(frozen=True, slots=True)
class _Job:
    """A kernel with its prepared arguments."""

    kernel: BlockKernel
    library: ArrayLibrary
    values: Any
    """The array, as the library's float32."""

    geometry: Geometry
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Result:
    """Where values go."""

    out: Any
    """The caller's array, or None."""

    target: Any
    """The library's array that receives the values: that of `out`, or a new one."""

    library: ArrayLibrary

    @classmethod
    def of(cls, out: Any, shape: tuple[int, ...], library: ArrayLibrary, like: Any) -> _Result:
        return cls(out, library.result(out, shape, Storage.FLOAT32, like), library)

    @property
    def into(self) -> Any:
        """What a kernel may write to, or None."""
        return self.target if self.library.is_plain(self.target) else None

    def given_back(self, values: Any, like: Any) -> Any:
        """The caller's array, or values of the input's kind."""
        if self.into is None:
            with self.library.on_device_of(self.target):
                self.target[...] = values
        return self.library.in_kind(self.target, like) if self.out is None else self.out


def _with_given_scale(format: BlockFormat) -> BlockFormat:
    """The format with the caller's scale: replaces the outermost one, unless some level has `rule: given`."""
    _check_takes_scale(format)
    if format.needs_scale:
        return format
    outermost, *inner = format.scales
    given = outermost.model_copy(update={"rule": Rule.GIVEN})
    return format.model_copy(update={"scales": (given, *inner)})


def _check_takes_scale(format: BlockFormat) -> None:
    """Raises UnsupportedError where more than the outermost scale depends on the outermost rule."""
    if format.needs_scale:
        return
    outermost, *inner = format.scales
    if outermost.rule is Rule.MINMAX:
        told = f"{format.name} finds its offsets together with its scales (rule: minmax)"
        raise UnsupportedError(f"{told}; allowed: no scale=..., or a format with rule: given")
    if any(level.order is Order.ENCODE for level in inner):
        told = f"{format.name} finds its inner scales from the outermost rule's amax (order: encode)"
        raise UnsupportedError(f"{told}; allowed: no scale=..., or another order")


def given_scale(
    scale: Any, format: BlockFormat, geometry: Geometry, library: ArrayLibrary = CPU, like: Any = None
) -> Any:
    """The caller's scales as float32, one per block of their level, on the device of `like`.

    Raises:
        TypeError: if they are an array of another dtype; of integers, where these would look like codes.
        ValueError: if their shape does not fit, or one is NaN, or negative where the rule finds none below 0.
        UnsupportedError: if the format takes none.
    """
    _check_takes_scale(format)
    level = next((level for level in format.scales if level.rule is Rule.GIVEN), format.scales[0])
    shape = geometry.scale_shape(level.block)
    _refuse_codes(scale, format, level)
    given = library.as_scale(scale, shape, like)
    refuse_scale(scale, given, format.name, library, may_be_negative=level.may_be_negative)
    return library.broadcast(given, shape)


def _refuse_codes(scale: Any, format: BlockFormat, level: ScaleLevel) -> None:
    """Raises TypeError for integers of an array's dtype, if the level's scales are stored as codes, not as floats."""
    if isinstance(scale, int | float) or dtype_name(scale) not in INTEGERS:
        return
    stored = level.format if isinstance(level.format, NumberFormat) else level.format.element
    if stored_as(stored) not in (Storage.FLOAT16, Storage.FLOAT32):
        told = f"scale is {dtype_name(scale)}, which may be codes of {stored.name}, and {format.name} is given values"
        raise TypeError(f"{told}; allowed: a number, or float32, as q.scale_values() has them")


def _check_takes_weights(format: BlockFormat, *, with_scale: bool) -> None:
    """Raises ValueError where no errors are compared, under the caller's scale or at all."""
    told = f"{format.name} compares no errors, which weights are for"
    if not _compares_errors(format):
        raise ValueError(f"{told}; allowed: formats with rule: mse")
    if with_scale and not _compares_errors(_with_given_scale(format)):
        raise ValueError(f"under scale= {told}; allowed: no scale=...")


def _compares_errors(format: BlockFormat) -> bool:
    return any(level.rule is Rule.MSE for level in format.scales)


def _weights(weights: Any, geometry: Geometry, library: ArrayLibrary, like: Any) -> Any:
    """Weights as float64, one per index of the axis."""
    count = geometry.shape[geometry.axis] if geometry.shape else 1
    values = library.as_weights(weights, like)
    if tuple(values.shape) != (count,):
        shape = tuple(values.shape)
        raise ValueError(f"weights have shape {shape}; allowed: ({count},), one for each index of the axis")
    if library.looks and not ((values >= 0) & np.isfinite(values)).all():
        raise ValueError("weights have values that are negative, NaN or infinite; allowed: finite ones, 0 and above")
    return values
