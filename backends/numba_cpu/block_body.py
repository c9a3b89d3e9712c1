"""A plan's steps for one row of an array, printed as LLVM vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir
from numba.core import cgutils as untyped_cgutils

from statqat_sim.backends.numba_cpu.block_vector import (
    Value,
    joined,
    lanes_at,
    pointer,
    splat,
    vector,
    word,
    word_at,
)
from statqat_sim.backends.numba_cpu.dense import Dense
from statqat_sim.backends.numba_cpu.processor import Processor
from statqat_sim.backends.numba_cpu.vector import (
    CROWDED_LANES,
    I32,
    I64,
    LANES,
    MANY_PARAMS,
    Feed,
    Place,
    PlanPrinter,
    Variant,
)
from statqat_sim.plan.program import Packed, PlanShape, Storage

cgutils: Any = untyped_cgutils

WIDEST = 2 * LANES
"""Words by which vectors may read and write beyond the end of a buffer row."""

WIDEST_ROW = 96
"""Lanes of vectors of elements: more registers would not hold a plan's words."""

PIECE = 16
"""Lanes that steps are printed for, at most: a register where there are 512 bits, whole registers elsewhere."""

CACHE_LINE = 64
SECOND_CACHE = 2
"""The locality argument of `llvm.prefetch` for the L2 cache; 3 is the L1 cache."""


class Plan(NamedTuple):
    """A plan's shape, and the addresses of its numbers."""

    shape: PlanShape
    params: Value
    tables: Value


@dataclass(frozen=True, slots=True)
class Array:
    """A stream with one element for each element of the row, from this address on."""

    address: Value
    storage: Storage | Packed = Storage.UINT32
    ends: bool = False
    """Whether nothing beyond the last element may be read."""

    ahead: Value | None = None
    """How many bytes ahead it is prefetched, if it is."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A stream with one word per `size` elements; `size` divides the vector's lanes or is a multiple of them."""

    address: Value
    size: int


@dataclass(frozen=True, slots=True)
class Single:
    """A stream with one word for the whole row."""

    address: Value


@dataclass(frozen=True, slots=True)
class Places:
    """A stream of numbers that begin with `first`, and begin again after `size` elements, unless `size` is 0."""

    first: Value
    size: int


Source: TypeAlias = Array | Spread | Single | Places


def lanes_of(shape: PlanShape) -> int:
    """Lanes of a plan's vectors where block sizes do not constrain them."""
    return CROWDED_LANES if len(shape.params) > MANY_PARAMS else LANES


def is_regular(size: int) -> bool:
    """Whether blocks of this size fit vectors of every width that plans have, or these fit the blocks."""
    return LANES % size == 0 or size % LANES == 0


def fitting_lanes(shape: PlanShape, sizes: Sequence[int]) -> int | None:
    """Lanes with which a plan can read words of blocks of these sizes; None if no number fits."""
    lanes = lanes_of(shape)
    if not all(map(is_regular, sizes)):
        lanes = math.lcm(CROWDED_LANES, *(size for size in sizes if not is_regular(size)))
        if lanes > WIDEST_ROW:
            return None
    return lanes if all(size % lanes == 0 or lanes % size == 0 for size in sizes) else None


def lanes_for(shape: PlanShape, sources: Sequence[Source]) -> int:
    """Lanes of a plan that reads these streams."""
    lanes = fitting_lanes(shape, [source.size for source in sources if isinstance(source, Spread)])
    assert lanes is not None, sources
    return lanes


class Here(NamedTuple):
    """The builder's position, and the target processor."""

    b: Value
    processor: Processor


class Body(PlanPrinter):
    """A plan's steps for one row, `unit` elements at a time, printed for pieces of `lanes` of them."""

    def __init__(self, here: Here, plan: Plan, sources: Sequence[Source], count: Value, unit: int) -> None:
        b, kinds = here.b, [Feed.SINGLE if isinstance(source, Single) else Feed.ARRAY for source in sources]
        super().__init__(b, plan.shape, Variant(tuple(kinds)), here.processor)
        self.unit, self.lanes = unit, math.gcd(unit, PIECE)
        self.sources, self.count = sources, count
        self.words = ir.VectorType(I32, self.lanes)
        self.floats = ir.VectorType(ir.FloatType(), self.lanes)
        self.tables = [b.load(b.gep(pointer(b, plan.tables, I64), [word(i)])) for i in range(len(plan.shape.tables))]
        self._fix(plan.params, [getattr(source, "address", None) for source in sources])
        if self.lanes < PIECE:
            self.small_tables.clear()  # their registers are permuted as a whole
        self.rest = b.urem(count, word(unit))
        self.whole = b.sub(count, self.rest)
        self.last = {
            index: self._last(source)
            for index, source in enumerate(sources)
            if isinstance(source, Array) and source.ends
        }

    def inputs(self, start: Value) -> list[dict[int, list[Value]]]:
        """The stream words of the unit at `start`, a multiple of the unit, for each piece of it."""
        streams = {
            index: self._input(index, source, start)
            for index, source in enumerate(self.sources)
            if not isinstance(source, Single)
        }
        return [{index: words[piece] for index, words in streams.items()} for piece in range(self.unit // self.lanes)]

    def outputs(self, inputs: list[dict[int, list[Value]]]) -> list[Value]:
        """The plan's outputs, each a vector of the whole unit."""
        pieces = [self._body(piece) for piece in inputs]
        return [joined(self.b, output) for output in zip(*pieces, strict=True)]

    def within(self, start: Value) -> Value:
        """Truth values: which lanes of the unit are elements."""
        b = self.b
        left = splat(b, b.trunc(b.sub(self.count, start), I32), self.unit)
        return b.icmp_unsigned("<", ir.Constant(left.type, list(range(self.unit))), left)

    def each(self, run: Callable[..., None]) -> None:
        """Call `run(start, partial=False)` for whole units, `run(start, partial=True)` for what is left."""
        with cgutils.for_range(self.b, self.b.udiv(self.count, word(self.unit))) as part:
            run(self.b.mul(part.index, word(self.unit)), partial=False)
        with self.if_partial():
            run(self.whole, partial=True)

    def write(self, start: Value, target: Array, buffer: Value) -> None:
        """Write the result of the unit at `start` to the array; a partial unit goes to the buffer."""
        b, inputs, whole = self.b, self.inputs(start), self.place(target)
        address = b.select(b.icmp_unsigned("<", start, self.whole), self._at(target.address, start, whole), buffer)
        if target.ahead is not None:
            self.fetch(b.add(address, target.ahead), whole.bytes, to_write=True)
        place = Place(target.storage, 1, self.unit & -self.unit)
        together = place.lanes // self.lanes
        pieces = [self._body(piece)[0] for piece in inputs]
        for first in range(0, len(pieces), together):
            words = joined(b, pieces[first : first + together])
            self._store_at(words, self._at(address, word(first * self.lanes), place), place)

    def _store_at(self, words: Value, address: Value, place: Place) -> None:
        """Write pieces that were joined: narrow and dense codes take fewer steps in longer vectors."""
        lanes, self.lanes = self.lanes, place.lanes
        self._store([words], address, place)
        self.lanes = lanes

    def finish(self, target: Array, buffer: Value) -> None:
        """Copy the last, partial unit of the result."""
        place = self.place(target)
        with self.if_partial():
            if isinstance(target.storage, Packed):
                Dense(target.storage, self.unit).clear_padding(self.b, buffer, self.rest)
            self._copy(self._at(target.address, self.whole, place), buffer, self.rest, place)

    def buffer(self, target: Array) -> Value:
        """A buffer for one unit of the result."""
        return self._buffer(self.place(target))

    def place(self, target: Array) -> Place:
        return Place(target.storage, len(self.shape.outputs), self.unit)

    def _last(self, source: Array) -> Value:
        """A buffer with the last, partial unit of a stream."""
        place = Place(source.storage, 1, self.unit)
        pointer = cgutils.alloca_once(self.b, ir.ArrayType(I64, -(-place.bytes // 8)))
        with self.if_partial():
            self.b.store(ir.Constant(pointer.type.pointee, [0] * pointer.type.pointee.count), pointer)
            buffer = self.b.ptrtoint(pointer, I64)
            self._copy(buffer, self._at(source.address, self.whole, place), self.rest, place)
        return self.b.ptrtoint(pointer, I64)

    def if_partial(self) -> Any:
        """Code for rows that do not end with a unit."""
        return self.b.if_then(self.b.icmp_unsigned("!=", self.rest, word(0)))

    def _input(self, index: int, source: Source, start: Value) -> list[list[Value]]:
        """The words of each piece: low ones, and the high ones of streams of 64 bits."""
        match source:
            case Array():
                return self._array(index, source, start)
            case Spread():
                return [[words] for words in self._spread(source, start)]
            case Places():
                return [[self._places(source, start, first)] for first in range(0, self.unit, self.lanes)]
        raise AssertionError(source)

    def _array(self, index: int, source: Array, start: Value) -> list[list[Value]]:
        b, whole = self.b, Place(source.storage, 1, self.unit)
        address = self._at(source.address, start, whole)
        if source.ends:
            address = b.select(b.icmp_unsigned("<", start, self.whole), address, self.last[index])
        if source.ahead is not None:
            self.fetch(b.add(address, source.ahead), whole.bytes)
        place = Place(source.storage, 1, self.lanes)
        firsts = range(0, self.unit, self.lanes)
        return [self._load(self._at(address, word(first), place), place) for first in firsts]

    def fetch(self, address: Value, size: int, *, to_write: bool = False) -> None:
        """Prefetch `size` bytes at an address into the L2 cache."""
        b, kind = self.b, ir.IntType(8).as_pointer()
        numbers = [ir.Constant(I32, number) for number in (int(to_write), SECOND_CACHE, 1)]
        signature = ir.FunctionType(ir.VoidType(), [kind, *(number.type for number in numbers)])
        prefetch = b.module.declare_intrinsic("llvm.prefetch", [kind], signature)
        for line in range(0, size, CACHE_LINE):
            b.call(prefetch, [b.inttoptr(b.add(address, word(line)), kind), *numbers])

    def _spread(self, source: Spread, start: Value) -> list[Value]:
        b, size, unit = self.b, source.size, self.unit
        assert size % unit == 0 or unit % size == 0, (unit, size)
        first = word_at(b, source.address, b.udiv(start, word(size)))
        return [
            self._repeated(first, [place // size for place in range(lane, lane + self.lanes)])
            for lane in range(0, unit, self.lanes)
        ]

    def _repeated(self, first: Value, places: list[int]) -> Value:
        """A piece with the words at these places after the first one."""
        b, least, most = self.b, places[0], places[-1]
        address = word_at(b, first, word(least))
        if least == most:
            return self._splat(b.load(pointer(b, address, I32)))
        words = b.load(pointer(b, address, ir.VectorType(I32, most - least + 1)), align=4)
        return lanes_at(b, words, [place - least for place in places])

    def _places(self, source: Places, start: Value, lane: int) -> Value:
        b = self.b
        first, lanes = b.trunc(source.first, I32), range(lane, lane + self.lanes)
        count = ir.Constant(self.words, list(lanes))
        if source.size and self.unit % source.size == 0:
            count = ir.Constant(self.words, [lane % source.size for lane in lanes])
        elif source.size:
            count = b.urem(b.add(self._splat(b.trunc(start, I32)), count), vector(I32, self.lanes, source.size))
        else:
            first = b.add(first, b.trunc(start, I32))
        return b.add(self._splat(first), count)


def maxima_lanes(shape: PlanShape, size: int) -> int | None:
    """Elements of vectors that hold whole blocks of this size; None where blocks are taken one by one."""
    lanes = lanes_of(shape)
    if size and lanes % size == 0:
        return lanes
    if size and math.lcm(size, CROWDED_LANES) <= WIDEST:
        return math.lcm(size, CROWDED_LANES)
    return 8 * size if 0 < size < CROWDED_LANES else None
