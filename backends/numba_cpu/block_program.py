"""A compiled kernel of blocks with its plans' numbers, over the tiles of an array."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.backends.numba_cpu.block_cache import compiled_blocks
from statqat_sim.backends.numba_cpu.block_layout import SLACK, buffers, measured_name, names
from statqat_sim.backends.numba_cpu.block_shape import TENSOR, BlockKernelPlan, BlockShape, Purpose
from statqat_sim.backends.numba_cpu.threads import run_in_pieces
from statqat_sim.geometry import WHOLE
from statqat_sim.plan.program import CodecPlan

ROW_TILE = 2048
"""Elements of a one-row tile: it fits the L1 cache, with the words of its blocks."""

TILE = 1 << 16
"""Elements of a tile of more rows: they fit the second cache."""

MIN_COLUMNS = 256
"""The fewest columns of such a tile: rows are read from memory in pieces of at least this length."""

ALIGNMENT = 64

Row: TypeAlias = "array[int]"
"""A kernel's arguments: 64-bit numbers, one for each of `block_layout.names`."""

FromTo: TypeAlias = Callable[[int, int], None]
"""Takes the addresses of elements and of results."""


class Matrices(NamedTuple):
    """How a kernel sees an array: a geometry, or one with longer rows that has the same blocks."""

    batch: int
    rows: int
    columns: int
    along_rows: bool

    @property
    def size(self) -> int:
        return self.batch * self.rows * self.columns


class Program:
    """A compiled kernel with its plans' numbers."""

    def __init__(self, kernel_plan: BlockKernelPlan) -> None:
        self.shape = kernel_plan.shape
        self.compiled = compiled_blocks(self.shape)
        self._places = {name: place for place, name in enumerate(names(self.shape, len(kernel_plan.plans)))}
        self._numbers = array("Q", bytes(8 * len(self._places)))
        self._kept: list[Array] = []
        for place, plan in enumerate(kernel_plan.plans):
            self._keep(place, plan)
        of = partial(Tiling.of, self.shape, self._places, self._numbers)
        self._tiling: Callable[[Matrices], Tiling] = lru_cache(maxsize=16)(of)

    def run(self, matrices: Matrices, numbers: Mapping[str, Any]) -> None:
        """Run over all tiles; `numbers` maps argument names to integers or arrays, which are passed by address."""
        tiling, given = self._tiling(matrices), self._given(numbers)
        run_in_pieces(tiling.tiles, tiling.size, lambda start, stop: self._piece(tiling, given, start, stop))

    def at_addresses(self, matrices: Matrices, out_row: int) -> FromTo | None:
        """`run`, prepared for the addresses of input and output; None if the kernel draws random bits."""
        if self.shape.draws is not None:
            return None
        tiling, (x, out, row) = self._tiling(matrices), (self._places[name] for name in ("x", "out", "out row"))

        def run(source: int, target: int) -> None:
            given = {x: source, out: target, row: out_row}
            run_in_pieces(tiling.tiles, tiling.size, lambda start, stop: self._piece(tiling, given, start, stop))

        return run

    def measure(self, matrices: Matrices, numbers: Mapping[str, Any]) -> Array:
        """The last statistic of the last stage, of the whole array; with room behind the word."""
        place = len(self.shape.stages) - 1
        name = measured_name(place, self.shape.stages[place].statistics[-1].name)
        tiling, given = self._tiling(matrices), self._given(numbers)
        found = [np.zeros(SLACK // 4, np.uint32)]

        def piece(start: int, stop: int) -> None:
            words = np.zeros_like(found[0])
            self._piece(tiling, {**given, self._places[name]: words.ctypes.data}, start, stop)
            found.append(words)

        run_in_pieces(tiling.tiles, tiling.size, piece)
        return reduce(np.maximum, found)

    def _keep(self, place: int, plan: CodecPlan) -> None:
        """A plan's numbers, and their addresses."""
        tables = [np.frombuffer(table, np.uint32) for table in plan.tables]
        params, table_places = np.array(plan.params, np.uint32), _addresses(tables)
        self._kept += [*tables, params, table_places]
        for name, kept in (("params", params), ("tables", table_places)):
            self._numbers[self._places[f"{name} {place}"]] = kept.ctypes.data

    def _given(self, numbers: Mapping[str, Any]) -> dict[int, int]:
        """The numbers of a call by their places; a measurement needs less than is there."""
        return {self._places[name]: _number(each) for name, each in numbers.items() if name in self._places}

    def _piece(self, tiling: Tiling, given: Mapping[int, int], start: int, stop: int) -> None:
        """Run the tiles from `start` to `stop` with new buffers, except those that `given` provides."""
        room, row = np.empty(tiling.room + ALIGNMENT, np.uint8), tiling.row[:]
        first = -(-room.ctypes.data // ALIGNMENT) * ALIGNMENT
        for place, within in tiling.inner:
            row[place] = first + within
        for place, number in given.items():
            row[place] = number
        row[self._places["start"]], row[self._places["stop"]] = start, stop
        self.compiled(_number(row))


class Tiling(NamedTuple):
    """An array cut in tiles, which are cut where blocks end, and what a tile's buffers take."""

    tiles: int
    size: int
    """Elements of one tile."""

    row: Row
    """A kernel's numbers, but for those of a call and of a piece."""

    inner: tuple[tuple[int, int], ...]
    """Each buffer's argument slot, and its byte offset from the first buffer."""

    room: int
    """Bytes of all buffers."""

    @classmethod
    def of(cls, shape: BlockShape, places: Mapping[str, int], known: Row, matrices: Matrices) -> Tiling:
        batch, rows, columns, _ = matrices
        high, wide = _tile_shape(shape, matrices)
        bands, chunks = -(-rows // high), -(-columns // wide)
        halvings = _halvings(shape, high, wide)
        numbers = {"rows": rows, "columns": columns, "tile rows": high, "tile columns": wide}
        numbers |= {"bands": max(bands, 1), "chunks": max(chunks, 1), "halvings": halvings}
        inner, room = [], 0
        for buffer in buffers(shape):
            row_bytes = buffer.row_bytes(wide)
            numbers[f"{buffer.name}, row"] = row_bytes
            inner.append((places[buffer.name], room))
            room += buffer.rows(high) * row_bytes + (8 << halvings if buffer.name == "halves" else 0)
        row = known[:]
        for name, number in numbers.items():
            row[places[name]] = number
        return cls(batch * bands * chunks, high * wide, row, tuple(inner), room)


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


def _number(value: Array | Row | int) -> int:
    """A number, or the address of an array."""
    if isinstance(value, np.ndarray):
        return value.ctypes.data
    return value.buffer_info()[0] if isinstance(value, array) else value


def _addresses(arrays: list[Array]) -> Array:
    return np.array([array.ctypes.data for array in arrays], np.uint64)
