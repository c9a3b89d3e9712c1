"""A compiled block format on arrays of any shape."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.backends.numba_cpu.block_layout import SLACK, measured_name
from statqat_sim.backends.numba_cpu.block_program import FromTo, Matrices, Program
from statqat_sim.backends.numba_cpu.block_shape import (
    BlockKernelPlan,
    Purpose,
    decoding,
    measuring,
    quantizing,
)
from statqat_sim.geometry import Geometry, is_whole_array
from statqat_sim.packing import array_shape, row_bytes
from statqat_sim.plan.block import GIVEN, BlockPlan, Stage
from statqat_sim.plan.program import Packed, Storage


class NumbaBlockKernel:
    """See `runtime.BlockKernel`. Holds the plan's numbers; machine code is shared by all formats of its shape."""

    def __init__(self, plan: BlockPlan) -> None:
        self.plan = plan
        self._programs: dict[tuple[Any, ...], Program] = {}
        self.at_addresses: Callable[[Geometry], FromTo | None] = lru_cache(maxsize=64)(self._at_addresses)

    def __reduce__(self) -> tuple[type[NumbaBlockKernel], tuple[BlockPlan]]:
        """A copy, be it in another process, has numbers at addresses of its own."""
        return NumbaBlockKernel, (self.plan,)

    def quantize(
        self,
        x: Array,
        geometry: Geometry,
        *,
        given: Array | None = None,
        weights: Array | None = None,
        seed: int = 0,
        offset: int = 0,
        packed: Packed | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """See `runtime.BlockKernel`."""
        result = packed or self.plan.encode.shape.result
        codes = np.empty(array_shape(geometry.shape, result), _dtype(result))
        stored = tuple(np.empty(geometry.scale_shape(one.block), _dtype(one.storage)) for one in self.plan.stored)
        outside = {f"to {one.result}": array for one, array in zip(self.plan.stored, stored, strict=True)}
        chosen = self._chosen(x, geometry, given, weights, seed, offset)
        call = _Call(chosen, geometry, x, given, weights, seed, offset)
        call.run(Purpose.ENCODE, codes, outside, packed)
        return codes, stored

    def fake_quantize(
        self,
        x: Array,
        geometry: Geometry,
        *,
        out: Array | None = None,
        given: Array | None = None,
        weights: Array | None = None,
        seed: int = 0,
        offset: int = 0,
    ) -> Array:
        """See `runtime.BlockKernel`."""
        values = np.empty(geometry.shape, np.float32) if out is None else out
        chosen = self._chosen(x, geometry, given, weights, seed, offset)
        _Call(chosen, geometry, x, given, weights, seed, offset).run(Purpose.FAKE_QUANTIZE, values, {}, None)
        return values

    def dequantize(
        self, codes: Array, stored: tuple[Array, ...], geometry: Geometry, *, out: Array | None = None
    ) -> Array:
        """See `runtime.BlockKernel`."""
        values = np.empty(geometry.shape, np.float32) if out is None else out
        matrices = matrices_of(geometry, self.plan)
        program = self.program(Purpose.DECODE, matrices.along_rows)
        sources = [np.ascontiguousarray(array) for array in stored]
        outside = {f"from {one.result}": array for one, array in zip(self.plan.stored, sources, strict=True)}
        program.run(matrices, {**_elements(codes, values, matrices, Storage.FLOAT32), **outside})
        return values

    def _at_addresses(self, geometry: Geometry) -> FromTo | None:
        """See `runtime.BlockKernel`; None where values depend on more than the elements of their block."""
        is_joint = any(is_whole_array(stage.block) for stage in self.plan.stages)
        if self._candidates or self.given_stage is not None or is_joint:
            return None
        matrices = matrices_of(geometry, self.plan)
        program = self.program(Purpose.FAKE_QUANTIZE, matrices.along_rows, None, None)
        return program.at_addresses(matrices, row_bytes(Storage.FLOAT32, matrices.columns))

    def _chosen(
        self, x: Array, geometry: Geometry, given: Array | None, weights: Array | None, seed: int, offset: int
    ) -> NumbaBlockKernel:
        """This kernel, or the best candidate's if a scale of the whole array is chosen, which no tile can compare."""
        if not self._candidates:
            return self
        tried = (one.fake_quantize(x, geometry, given=given, seed=seed, offset=offset) for one in self._candidates)
        return self._candidates[int(np.argmin([_squared_error(x, y, geometry, weights) for y in tried]))]

    @cached_property
    def given_stage(self) -> Stage | None:
        """The stage that reads the caller's scales."""
        return self.plan.given_stage

    @cached_property
    def _candidates(self) -> list[NumbaBlockKernel]:
        """One kernel for each candidate, where the last stage chooses for the whole array."""
        *outer, last = self.plan.stages
        if len(last.plans) == 1 or not is_whole_array(last.block):
            return []
        stages = [(*outer, replace(last, plans=(plan,))) for plan in last.plans]
        return [NumbaBlockKernel(replace(self.plan, stages=each)) for each in stages]

    def program(self, purpose: Purpose, along_rows: bool, *further: Any) -> Program:
        """The compiled kernel for a purpose; `further`: what its plan takes besides."""
        key = (purpose, along_rows, *further)
        if key not in self._programs:
            self._programs[key] = Program(self._kernel_plan(purpose, along_rows, *further))
        return self._programs[key]

    def _kernel_plan(self, purpose: Purpose, along_rows: bool, *further: Any) -> BlockKernelPlan:
        match purpose:
            case Purpose.DECODE:
                return decoding(self.plan, along_rows=along_rows)
            case Purpose.MEASURE:
                return measuring(self.plan, *further, along_rows=along_rows)
        weighted, packed = further
        return quantizing(self.plan, purpose, along_rows=along_rows, weighted=weighted, packed=packed)


class _Call:
    """One call of `quantize` or `fake_quantize`."""

    def __init__(
        self,
        kernel: NumbaBlockKernel,
        geometry: Geometry,
        x: Array,
        given: Array | None,
        weights: Array | None,
        seed: int,
        offset: int,
    ) -> None:
        self.kernel, self.x, self.given = kernel, x, given
        self.geometry, self.seed, self.offset = geometry, array("Q", [seed]), offset
        self.weighted = None if weights is None else geometry.weighted
        self.weights = None if weights is None else np.concatenate([weights, np.zeros(SLACK // 8)])

    def run(self, purpose: Purpose, out: Array, outside: Mapping[str, Array], packed: Packed | None) -> None:
        """Measure the statistics of the whole array, then run over its tiles."""
        plan = self.kernel.plan
        matrices = matrices_of(self.geometry, plan, flat=self.weights is None and _is_dense(self.geometry, packed))
        result = packed or (plan.encode.shape.result if purpose is Purpose.ENCODE else Storage.FLOAT32)
        numbers = _elements(self.x, out, matrices, result) | {"seed": self.seed, "offset": self.offset} | dict(outside)
        stage = self.kernel.given_stage
        if stage is not None:
            if self.given is None or self.given.size != math.prod(self.geometry.scale_shape(stage.block)):
                raise ValueError(f"this format's scale comes from the caller: {self.geometry.scale_shape(stage.block)}")
            numbers[f"from {GIVEN}"] = np.ascontiguousarray(self.given, np.float32)
        if self.weights is not None:
            numbers["weights"] = self.weights
        numbers |= self._measured(matrices, numbers)
        self.kernel.program(purpose, matrices.along_rows, self.weighted, packed).run(matrices, numbers)

    def _measured(self, matrices: Matrices, numbers: Mapping[str, Any]) -> dict[str, Array]:
        """The statistics of the whole array."""
        found: dict[str, Array] = {}
        for place, stage in enumerate(self.kernel.plan.stages):
            if is_whole_array(stage.block):
                for index, statistic in enumerate(stage.statistics):
                    program = self.kernel.program(Purpose.MEASURE, matrices.along_rows, place, index)
                    words = program.measure(matrices, {**numbers, **found})
                    found[measured_name(place, statistic.name)] = words
        return found


def matrices_of(geometry: Geometry, plan: BlockPlan, *, flat: bool = True) -> Matrices:
    """The matrices of a geometry; as one row, where blocks are parts of rows and no row has a shorter one."""
    batch, rows, columns, along_rows = geometry.batch, geometry.rows, geometry.columns, geometry.along_rows
    if not along_rows and columns == 1:
        batch, rows, columns, along_rows = 1, batch, rows, True
    blocks = {stage.block for stage in (*plan.stages, plan.decoding) if not is_whole_array(stage.block)}
    whole = all(isinstance(block, int) and columns % block == 0 for block in blocks)
    if flat and whole and (along_rows or not blocks):
        return Matrices(1, 1, batch * rows * columns, True)
    return Matrices(batch, rows, columns, along_rows)


def _squared_error(x: Array, y: Array, geometry: Geometry, weights: Array | None) -> float:
    """The squared error of a whole array, summed by halves of a power of two as in all backends; Inf for NaN."""
    with np.errstate(all="ignore"):
        difference = x.astype(np.float64) - y
        terms = difference * difference
        if weights is not None:
            terms *= weights.reshape(-1, *[1] * (x.ndim - 1 - geometry.axis))
    size = 1 << max(x.size - 1, 0).bit_length()
    sums = np.zeros(size)
    sums[: x.size] = np.where(np.isfinite(x), terms, 0).reshape(-1)
    while size > 1:
        size //= 2
        sums = sums[:size] + sums[size:]
    return float(np.inf if np.isnan(sums[0]) else sums[0])


def _is_dense(geometry: Geometry, packed: Packed | None) -> bool:
    """Whether rows of codes follow one another without a bit between them."""
    last = geometry.shape[-1] if geometry.shape else 1
    return packed is None or last * packed.bits % 8 == 0


def _elements(x: Array, out: Array, matrices: Matrices, result: Storage | Packed) -> dict[str, Any]:
    return {"x": x, "out": out, "out row": row_bytes(result, matrices.columns)}


def _dtype(storage: Storage | Packed) -> str:
    """The dtype of an array of results; dense codes are bytes."""
    return "uint8" if isinstance(storage, Packed) else storage.value
