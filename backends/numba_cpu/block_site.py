"""Symbol table of the code generator: which variable holds each number, buffer and plan, and the current tile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from numba.core import cgutils as untyped_cgutils

from statqat_sim.backends.numba_cpu.block_body import Here, Plan
from statqat_sim.backends.numba_cpu.block_layout import names, plan_count, words_of
from statqat_sim.backends.numba_cpu.block_shape import TENSOR, BlockShape, Extent, Words
from statqat_sim.backends.numba_cpu.block_vector import Value, pointer, word
from statqat_sim.backends.numba_cpu.vector import I64
from statqat_sim.geometry import WHOLE
from statqat_sim.plan.program import Packed, PlanShape, Storage, Stream
from statqat_sim.plan.step import Op, Step

cgutils: Any = untyped_cgutils


class Tile(NamedTuple):
    """A part of one matrix."""

    batch: Value
    row: Value  # its first one
    column: Value
    rows: Value  # how many
    columns: Value


class Site:
    """The builder's position, what the kernel was called with, and the tile at hand."""

    def __init__(self, here: Here, shape: BlockShape, numbers: Value) -> None:
        self.here, self.b, self.shape, self.numbers = here, here.b, shape, numbers
        self.places = {name: place for place, name in enumerate(names(shape, plan_count(shape)))}
        self.words = words_of(shape)
        self.rows, self.columns = self.number("rows"), self.number("columns")
        self.tile = Tile(word(0), word(0), word(0), word(1), word(1))

    def number(self, name: str) -> Value:
        """Load the argument with a name of `block_layout.names`."""
        return self.b.load(self.b.gep(pointer(self.b, self.numbers, I64), [word(self.places[name])]))

    def plan(self, shape: PlanShape, place: int, further: Value | None = None) -> Plan:
        """The plan with index `place`, or the one `further` places after it, with its numbers' addresses."""
        b = self.b
        first = word(self.places[f"params {place}"])
        at = first if further is None else b.add(first, b.mul(further, word(2)))
        start = pointer(b, self.numbers, I64)
        return Plan(shape, b.load(b.gep(start, [at])), b.load(b.gep(start, [b.add(at, word(1))])))

    def first_plan(self, stage: int) -> int:
        """The place of a stage's first key among all plans."""
        return sum(len(one.statistics) + len(one.plans) for one in self.shape.stages[:stage])

    def at(self, name: str, row: Value | None = None) -> Value:
        """The address of a row of a buffer."""
        start = self.number(name)
        return start if row is None else self.b.add(start, self.b.mul(row, self.number(f"{name}, row")))

    def height(self, extent: Extent) -> Value:
        """Rows of blocks in this tile."""
        return word(1) if extent.rows == WHOLE else block_count(self.b, self.tile.rows, extent.rows)

    def width(self, extent: Extent) -> Value:
        """Columns of blocks in this tile."""
        return word(1) if extent.columns == WHOLE else block_count(self.b, self.tile.columns, extent.columns)

    def outside(self, start: str, words: Words, row: Value) -> Value:
        """The address of a row of words in an array that has one for each block of the whole array."""
        b, tile, extent = self.b, self.tile, words.extent
        if extent == TENSOR:
            return self.number(start)
        down = word(1) if extent.rows == WHOLE else block_count(b, self.rows, extent.rows)
        across = word(1) if extent.columns == WHOLE else block_count(b, self.columns, extent.columns)
        first_row = word(0) if extent.rows == WHOLE else b.udiv(tile.row, word(extent.rows))
        first = word(0) if extent.columns == WHOLE else b.udiv(tile.column, word(extent.columns))
        index = b.add(b.mul(b.add(b.mul(tile.batch, down), b.add(first_row, row)), across), first)
        return b.add(self.number(start), b.mul(index, word(words.storage.bits // 8)))

    def element(self, row: Value) -> Value:
        """The index, in the array, of the first element of a row of the tile."""
        b, tile = self.b, self.tile
        return b.add(b.mul(b.add(b.mul(tile.batch, self.rows), b.add(tile.row, row)), self.columns), tile.column)

    @contextmanager
    def each_row(self, count: Value) -> Iterator[Value]:
        """Emit a loop over the integers from 0 to `count` - 1."""
        with cgutils.for_range(self.b, count, intp=I64) as row:
            yield row.index

    def out(self, storage: Storage | Packed, row: Value) -> Value:
        """The address of a row of results."""
        b, tile = self.b, self.tile
        rows = b.add(b.mul(tile.batch, self.rows), b.add(tile.row, row))
        within = b.udiv(b.mul(tile.column, word(storage.bits)), word(8))
        return b.add(self.number("out"), b.add(b.mul(rows, self.number("out row")), within))


def copying(source: Storage, result: Storage) -> Plan:
    """The plan that widens or narrows words."""
    shape = PlanShape((Step(Op.INPUT),), (Stream("word", source),), (), (), result, (0,))
    return Plan(shape, word(0), word(0))


def block_count(b: Value, count: Value, size: int) -> Value:
    """The number of blocks of `size` elements that hold `count` elements, rounded up."""
    return b.udiv(b.add(count, word(size - 1)), word(size))


def least(b: Value, left: Value, right: Value) -> Value:
    """The smaller count."""
    return b.select(b.icmp_unsigned("<", left, right), left, right)
