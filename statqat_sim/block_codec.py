"""What a codec does with a block format: arrays in, codes with scales out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim import layouts
from statqat_sim.arrays import (
    INTEGERS,
    Array,
    as_float32,
    as_scale,
    dtype_name,
    in_kind,
    real_array,
    result_array,
    separate,
)
from statqat_sim.errors import UnsupportedError
from statqat_sim.geometry import Geometry
from statqat_sim.plan.block_levels import stored_as
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Storage
from statqat_sim.quantized import QuantizedTensor
from statqat_sim.runtime import Backend, BlockKernel, backend_for, block_kernel
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Order, Rule, ScaleLevel


class BlockCodec:
    """A block format and a backend; None: the one that owns each array. The arguments are those of `Codec`."""

    def __init__(self, format: BlockFormat, backend: Backend | None) -> None:
        self.format = format
        self._backend = backend
        self._kernels: dict[tuple[object, ...], BlockKernel] = {}

    def quantize(self, x: Any, axis: int, scale: Any, weights: Any, random: dict[str, Any]) -> QuantizedTensor:
        values, geometry, options = self._job(x, axis, scale, weights)
        kernel = self._kernel(x, with_scale=scale is not None)
        codes, stored = kernel.quantize(values, geometry, **options, **random)
        arrays = tuple(in_kind(array, x) for array in stored)
        count = sum(each.name.startswith(layouts.SCALE) for each in self.format.stored)
        scales, offsets = arrays[:count], arrays[count:]
        offset = offsets[-1] if offsets else None
        return QuantizedTensor(in_kind(codes, x), scales, self.format, geometry.axis, offset, offsets[:-1])

    def pack(self, x: Any, axis: int, scale: Any, weights: Any, random: dict[str, Any]) -> bytes:
        values, geometry, options = self._job(x, axis, scale, weights)
        packed = layouts.dense_elements(self.format, geometry)
        kernel = self._kernel(x, with_scale=scale is not None)
        codes, stored = kernel.quantize(values, geometry, **options, **random, packed=packed)
        names = [each.name for each in self.format.stored]
        arrays = dict(zip(names, (*stored, codes), strict=True))
        return layouts.pack(self.format, geometry, arrays, dense=packed is not None)

    def fake_quantize(self, x: Any, axis: int, scale: Any, weights: Any, out: Any, random: dict[str, Any]) -> Any:
        values, geometry, options = self._job(x, axis, scale, weights)
        kernel = self._kernel(x, with_scale=scale is not None)
        result = _Result.of(out, geometry.shape)
        values = separate(values, result.target)
        return result.given_back(kernel.fake_quantize(values, geometry, out=result.into, **options, **random), x)

    def dequantize(self, q: QuantizedTensor, out: Any) -> Any:
        if not isinstance(q, QuantizedTensor):
            raise TypeError(f"q is a {type(q).__name__}; allowed: a QuantizedTensor, as quantize gives it")
        if q.format is not self.format and q.format != self.format:
            other = f"another {q.format.name}" if q.format.name == self.format.name else q.format.name
            raise ValueError(f"q is in {other}; allowed: {self.format.name}, this codec's format")
        result = _Result.of(out, q.shape)
        *stored, codes = (separate(array, result.target) for array in q.arrays().values())
        kernel = self._kernel(q.codes)
        return result.given_back(kernel.dequantize(codes, tuple(stored), q.geometry, out=result.into), q.codes)

    def _job(self, x: Any, axis: int, scale: Any, weights: Any) -> tuple[Array, Geometry, dict[str, Any]]:
        """What a kernel is given: x, where its blocks lie, and scales and weights where the caller gives them."""
        values = as_float32(x, "x")
        options: dict[str, Any] = {}
        geometry = Geometry.of(values.shape, axis, self.format)
        if scale is not None:
            options["given"] = given_scale(scale, self.format, geometry)
        elif self.format.needs_scale:
            raise ValueError(f"{self.format.name} has a scale that the caller gives (rule: given); allowed: scale=...")
        if weights is not None:
            format = self.format if scale is None else _with_given_scale(self.format)
            options["weights"] = _weights(weights, format, geometry)
        return values, geometry, options

    def _kernel(self, array: Any, *, with_scale: bool = False) -> BlockKernel:
        """The kernel for arrays of this kind."""
        key = (type(array), getattr(array, "device", None), with_scale)
        kernel = self._kernels.get(key)
        if kernel is None:
            format = _with_given_scale(self.format) if with_scale else self.format
            kernel = self._kernels[key] = block_kernel(self._backend or backend_for(array), lower_block(format))
        return kernel


@dataclass(frozen=True, slots=True)
class _Result:
    """Where values go."""

    out: Any
    target: Array

    @classmethod
    def of(cls, out: Any, shape: tuple[int, ...]) -> _Result:
        return cls(out, result_array(out, shape, Storage.FLOAT32))

    @property
    def into(self) -> Array | None:
        """What a kernel may write to."""
        return self.target if self.target.flags.c_contiguous else None

    def given_back(self, values: Array, like: Any) -> Any:
        """The caller's array, or values of the input's kind."""
        if self.into is None:
            self.target[...] = values
        return in_kind(self.target, like) if self.out is None else self.out


def _with_given_scale(format: BlockFormat) -> BlockFormat:
    """The format with a scale of the caller's: the outermost one, where no rule says `given`."""
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


def given_scale(scale: Any, format: BlockFormat, geometry: Geometry) -> Array:
    """The caller's scales as float32, one for each block of the level that they are for.

    Raises:
        TypeError: if they are an array of another dtype; of integers, where these would look like codes.
        ValueError: if their shape does not fit, or one is NaN, or negative where the level's rule finds none such.
        UnsupportedError: if the format takes none.
    """
    _check_takes_scale(format)
    level = next((level for level in format.scales if level.rule is Rule.GIVEN), format.scales[0])
    shape = geometry.scale_shape(level.block)
    _refuse_codes(scale, format, level)
    given = as_scale(scale, shape)
    if np.isnan(given).any():
        raise ValueError("scale has values that are NaN; allowed: numbers")
    if (given < 0).any() and not level.may_be_negative:
        raise ValueError(f"scale has values that are negative; allowed for {format.name}: 0 and above")
    return np.ascontiguousarray(np.broadcast_to(given, shape)).reshape(shape)


def _refuse_codes(scale: Any, format: BlockFormat, level: ScaleLevel) -> None:
    """Raises TypeError for integers of an array's dtype, if the level's scales are stored as codes, not as floats."""
    if isinstance(scale, int | float) or dtype_name(scale) not in INTEGERS:
        return
    stored = level.format if isinstance(level.format, NumberFormat) else level.format.element
    if stored_as(stored) not in (Storage.FLOAT16, Storage.FLOAT32):
        told = f"scale is {dtype_name(scale)}, which may be codes of {stored.name}, and {format.name} is given values"
        raise TypeError(f"{told}; allowed: a number, or float32, as q.scale_values() has them")


def _weights(weights: Any, format: BlockFormat, geometry: Geometry) -> Array:
    """Weights as float64, one for each index of the axis."""
    if all(level.rule is not Rule.MSE for level in format.scales):
        raise ValueError(f"{format.name} compares no errors, which weights are for; allowed: with rule: mse")
    count = geometry.shape[geometry.axis] if geometry.shape else 1
    values = np.ascontiguousarray(real_array(weights, "weights"), np.float64)
    if values.shape != (count,):
        raise ValueError(f"weights have shape {values.shape}; allowed: ({count},), one for each index of the axis")
    if not (values >= 0).all() or np.isinf(values).any():
        raise ValueError("weights have values that are negative, NaN or infinite; allowed: finite ones, 0 and above")
    return values
