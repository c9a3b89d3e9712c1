"""A compiled block format on arrays of any shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.backends.numba_cpu.block_cache import compiled_blocks
from statqat_sim.backends.numba_cpu.block_layout import SLACK, buffers, measured_name, names
from statqat_sim.backends.numba_cpu.block_shape import (
    TENSOR,
    WHOLE,
    BlockKernelPlan,
    BlockShape,
    Purpose,
    Weighted,
    decoding,
    given_stage,
    measuring,
    quantizing,
)
from statqat_sim.backends.numba_cpu.threads import run_in_pieces
from statqat_sim.geometry import Geometry, is_whole_array
from statqat_sim.packing import array_shape, row_bytes
from statqat_sim.plan.block import GIVEN, BlockPlan
from statqat_sim.plan.program import CodecPlan, Packed, Storage

ROW_TILE = 2048
"""Elements of a tile that is one row: it fits the nearest cache, with the words of its blocks."""

TILE = 1 << 16
"""Elements of a tile of more rows: they fit the second cache."""

MIN_COLUMNS = 256
"""Of such a tile: rows are read from memory in pieces of this length at least."""

ALIGNMENT = 64


class Matrices(NamedTuple):
    """How a kernel sees an array: a geometry, or one with longer rows that has the same blocks."""

    batch: int
    rows: int
    columns: int
    along_rows: bool

    @property
    def size(self) -> int:
        return self.batch * self.rows * self.columns


class NumbaBlockKernel:
    """See `runtime.BlockKernel`. Holds the plan's numbers; machine code is shared by all formats of its shape."""

    def __init__(self, plan: BlockPlan) -> None:
        self.plan = plan
        self._programs: dict[tuple[Any, ...], _Program] = {}

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

    def _chosen(
        self, x: Array, geometry: Geometry, given: Array | None, weights: Array | None, seed: int, offset: int
    ) -> NumbaBlockKernel:
        """This kernel; of candidates for the scale of a whole array, which no tile can compare, the best one's."""
        if not self._candidates:
            return self
        tried = (one.fake_quantize(x, geometry, given=given, seed=seed, offset=offset) for one in self._candidates)
        return self._candidates[int(np.argmin([_squared_error(x, y, geometry, weights) for y in tried]))]

    @cached_property
    def _candidates(self) -> list[NumbaBlockKernel]:
        """One kernel for each candidate, where the last stage chooses for the whole array."""
        *outer, last = self.plan.stages
        if len(last.plans) == 1 or not is_whole_array(last.block):
            return []
        stages = [(*outer, replace(last, plans=(plan,))) for plan in last.plans]
        return [NumbaBlockKernel(replace(self.plan, stages=each)) for each in stages]

    def program(self, purpose: Purpose, along_rows: bool, *further: Any) -> _Program:
        """The compiled kernel for a purpose; `further`: what its plan takes besides."""
        key = (purpose, along_rows, *further)
        if key not in self._programs:
            self._programs[key] = _Program(self._kernel_plan(purpose, along_rows, *further))
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
    """One quantization."""

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
        self.geometry, self.seed, self.offset = geometry, np.array([seed], np.uint64), offset
        self.weighted = None if weights is None else _weighted(geometry)
        self.weights = None if weights is None else np.concatenate([weights, np.zeros(SLACK // 8)])

    def run(self, purpose: Purpose, out: Array, outside: Mapping[str, Array], packed: Packed | None) -> None:
        """Measure the array as a whole, then do its tiles."""
        plan = self.kernel.plan
        matrices = matrices_of(self.geometry, plan, flat=self.weights is None and _is_dense(self.geometry, packed))
        result = packed or (plan.encode.shape.result if purpose is Purpose.ENCODE else Storage.FLOAT32)
        numbers = _elements(self.x, out, matrices, result) | {"seed": self.seed, "offset": self.offset} | dict(outside)
        stage = given_stage(plan)
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


class _Program:
    """A compiled kernel with its plans' numbers."""

    def __init__(self, kernel_plan: BlockKernelPlan) -> None:
        self.shape = kernel_plan.shape
        self.compiled = compiled_blocks(self.shape)
        self._places = {name: place for place, name in enumerate(names(self.shape, len(kernel_plan.plans)))}
        self._numbers = np.zeros(len(self._places), np.uint64)
        self._kept: list[Array] = []
        self._tiling = lru_cache(maxsize=16)(lambda matrices: _Tiling.of(self.shape, matrices))
        for place, plan in enumerate(kernel_plan.plans):
            self._keep(place, plan)

    def run(self, matrices: Matrices, numbers: Mapping[str, Any]) -> None:
        """All tiles; `numbers` by name, of arrays their addresses."""
        tiling = self._tiling(matrices)
        run_in_pieces(tiling.tiles, tiling.size, lambda start, stop: self._piece(tiling, numbers, start, stop))

    def measure(self, matrices: Matrices, numbers: Mapping[str, Any]) -> Array:
        """The last statistic of the last stage, of the whole array; with room behind the word."""
        place = len(self.shape.stages) - 1
        name = measured_name(place, self.shape.stages[place].statistics[-1].name)
        tiling, found = self._tiling(matrices), [np.zeros(SLACK // 4, np.uint32)]

        def piece(start: int, stop: int) -> None:
            words = np.zeros_like(found[0])
            self._piece(tiling, {**numbers, name: words}, start, stop)
            found.append(words)

        run_in_pieces(tiling.tiles, tiling.size, piece)
        return reduce(np.maximum, found)

    def _keep(self, place: int, plan: CodecPlan) -> None:
        """A plan's numbers, and their addresses."""
        tables = [np.frombuffer(table, np.uint32) for table in plan.tables]
        params, table_places = np.array(plan.params, np.uint32), _addresses(tables)
        self._kept += [*tables, params, table_places]
        for name, array in (("params", params), ("tables", table_places)):
            self._numbers[self._places[f"{name} {place}"]] = array.ctypes.data

    def _piece(self, tiling: _Tiling, numbers: Mapping[str, Any], start: int, stop: int) -> None:
        """The tiles from `start` to `stop`, with buffers of their own."""
        room = np.empty(tiling.room + ALIGNMENT, np.uint8)
        first = -(-room.ctypes.data // ALIGNMENT) * ALIGNMENT
        inner = {name: first + place for name, place in tiling.places.items()}
        row = self._numbers.copy()
        for name, value in {**tiling.numbers, **inner, **numbers, "start": start, "stop": stop}.items():
            if name in self._places:  # a measurement needs less
                row[self._places[name]] = value.ctypes.data if isinstance(value, np.ndarray) else value
        self.compiled(row.ctypes.data)


class _Tiling(NamedTuple):
    """An array cut in tiles, which are cut where blocks end, and what a tile's buffers take."""

    tiles: int
    size: int
    """Elements of one tile."""

    numbers: dict[str, int]
    places: dict[str, int]
    """Of buffers, in bytes from the first one."""

    room: int

    @classmethod
    def of(cls, shape: BlockShape, matrices: Matrices) -> _Tiling:
        batch, rows, columns, _ = matrices
        high, wide = _tile_shape(shape, matrices)
        bands, chunks = -(-rows // high), -(-columns // wide)
        halvings = _halvings(shape, high, wide)
        numbers = {"rows": rows, "columns": columns, "tile rows": high, "tile columns": wide}
        numbers |= {"bands": max(bands, 1), "chunks": max(chunks, 1), "halvings": halvings}
        places, room = {}, 0
        for buffer in buffers(shape):
            row_bytes = buffer.row_bytes(wide)
            places[buffer.name], numbers[f"{buffer.name}, row"] = room, row_bytes
            room += buffer.rows(high) * row_bytes + (8 << halvings if buffer.name == "halves" else 0)
        return cls(batch * bands * chunks, high * wide, numbers, places, room)


def _tile_shape(shape: BlockShape, matrices: Matrices) -> tuple[int, int]:
    """Rows and columns of a tile: whole blocks."""
    extents = [extent for extent in shape.extents if extent != TENSOR]
    _, rows, columns, _ = matrices
    high = max((min(extent.rows or rows, rows) if rows else 1 for extent in extents), default=1)
    if any(extent.columns == WHOLE for extent in extents):
        return max(high, 1), max(columns, 1)
    unit = math.lcm(8, *(extent.columns for extent in extents))  # dense codes begin with a byte
    is_buffered = bool(extents) or shape.purpose is not Purpose.MEASURE
    wanted = ROW_TILE if is_buffered and high <= 1 else max(TILE // high, MIN_COLUMNS)
    chunks = max(round(columns / max(wanted, unit)), 1)  # as long as one another
    return max(high, 1), max(min(-(-columns // (chunks * unit)) * unit, columns), 1)


def _halvings(shape: BlockShape, high: int, wide: int) -> int:
    """How often the power of two that holds a block of the last stage can be halved."""
    if shape.trial is None:
        return 0
    extent = shape.stages[-1].extent
    return max((extent.rows or high) * (extent.columns or wide) - 1, 0).bit_length()


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
    """Of a whole array, in the one order that all backends share: by halves of a power of two; Inf for NaN."""
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


def _weighted(geometry: Geometry) -> Weighted:
    """Whether the axis runs along rows, as kernels see them."""
    is_last = geometry.axis == max(len(geometry.shape), 1) - 1
    return Weighted.COLUMN if is_last or (not geometry.along_rows and geometry.columns == 1) else Weighted.ROW


def _elements(x: Array, out: Array, matrices: Matrices, result: Storage | Packed) -> dict[str, Any]:
    return {"x": x, "out": out, "out row": row_bytes(result, matrices.columns)}


def _dtype(storage: Storage | Packed) -> str:
    """Of an array of results; dense codes are bytes."""
    return "uint8" if isinstance(storage, Packed) else storage.value


def _addresses(arrays: list[Array]) -> Array:
    return np.array([array.ctypes.data for array in arrays], np.uint64)
