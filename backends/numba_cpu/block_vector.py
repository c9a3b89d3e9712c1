"""Passes over one row of an array, printed as LLVM vectors: a plan's words, and their maxima by blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir
from numba.core import cgutils as untyped_cgutils

from statqat_sim.backends.numba_cpu.dense import Dense
from statqat_sim.backends.numba_cpu.processor import Processor
from statqat_sim.backends.numba_cpu.vector import (
    CROWDED_LANES,
    I32,
    I64,
    LANES,
    MANY_PARAMS,
    Feed,
    Variant,
    _Place,
    _Printer,
)
from statqat_sim.plan.program import Packed, PlanShape, Storage

cgutils: Any = untyped_cgutils

WIDEST = 2 * LANES
"""Words that inner buffers may be read and written beyond their ends."""

WIDEST_ROW = 96
"""Lanes of vectors of elements: more registers would not hold a plan's words."""

CACHE_LINE = 64
SECOND_CACHE = 2
"""As LLVM counts them: 3 is the nearest."""

F64 = ir.DoubleType()

Value: TypeAlias = Any
"""What llvmlite's builder gives; addresses and counts are of 64 bits."""


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

    next_row: Value | None = None
    """How many bytes on the next row lies, where it is to be fetched early: no processor foresees short rows."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A stream with one word for every `size` elements. Sizes and lanes: the one is a multiple of the other."""

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
    """How many elements a vector of a plan holds, where its blocks leave the choice."""
    return CROWDED_LANES if len(shape.params) > MANY_PARAMS else LANES


def is_regular(size: int) -> bool:
    """Whether blocks of this size fit vectors of every width that plans have, or these fit the blocks."""
    return LANES % size == 0 or size % LANES == 0


def fitting_lanes(shape: PlanShape, sizes: Sequence[int]) -> int | None:
    """How many elements a vector of a plan holds that reads words of blocks of these sizes, if any number fits."""
    lanes = lanes_of(shape)
    if not all(map(is_regular, sizes)):
        odd = [size for size in sizes if not is_regular(size)]
        lanes = math.lcm(CROWDED_LANES, *odd)
        narrows = shape.result.bits < 32 and max(odd) > CROWDED_LANES
        if lanes > WIDEST_ROW or narrows or shape.tables:
            return None
    return lanes if all(size % lanes == 0 or lanes % size == 0 for size in sizes) else None


def _lanes_for(shape: PlanShape, sources: Sequence[Source]) -> int:
    lanes = fitting_lanes(shape, [source.size for source in sources if isinstance(source, Spread)])
    assert lanes is not None, sources
    return lanes


class Here(NamedTuple):
    """Where code is printed."""

    b: Value
    processor: Processor


class Body(_Printer):
    """A plan's steps, on vectors of any width, for one row."""

    def __init__(self, here: Here, plan: Plan, sources: Sequence[Source], count: Value, lanes: int) -> None:
        b, kinds = here.b, [Feed.SINGLE if isinstance(source, Single) else Feed.ARRAY for source in sources]
        super().__init__(b, plan.shape, Variant(tuple(kinds)), here.processor)
        self.lanes, self.sources, self.count = lanes, sources, count
        self.words = ir.VectorType(I32, lanes)
        self.floats = ir.VectorType(ir.FloatType(), lanes)
        self.tables = [b.load(b.gep(pointer(b, plan.tables, I64), [word(i)])) for i in range(len(plan.shape.tables))]
        self._fix(plan.params, [getattr(source, "address", None) for source in sources])
        if lanes & (lanes - 1):
            self.small_tables.clear()  # their registers are permuted two by two
        self.rest = b.urem(count, word(lanes))
        self.whole = b.sub(count, self.rest)
        self.last = {
            index: self._last(source)
            for index, source in enumerate(sources)
            if isinstance(source, Array) and source.ends
        }

    def inputs(self, start: Value) -> dict[int, list[Value]]:
        """The streams' words at the elements from `start` on, a multiple of the lanes."""
        return {
            index: self._input(index, source, start)
            for index, source in enumerate(self.sources)
            if not isinstance(source, Single)
        }

    def outputs(self, inputs: dict[int, list[Value]]) -> list[Value]:
        """The plan's words."""
        return self._body(inputs)

    def within(self, start: Value) -> Value:
        """Truth values: which lanes are elements."""
        left = self.b.trunc(self.b.sub(self.count, start), I32)
        return self.b.icmp_unsigned("<", ir.Constant(self.words, list(range(self.lanes))), self._splat(left))

    def write(self, values: list[Value], start: Value, target: Array, buffer: Value) -> None:
        """The result at `start`, to an array or, where that ends, to a buffer."""
        place = self.place(target)
        is_whole = self.b.icmp_unsigned("<", start, self.whole)
        address = self.b.select(is_whole, self._at(target.address, start, place), buffer)
        if target.next_row is not None:
            self.fetch(self.b.add(address, target.next_row), place.bytes, to_write=True)
        self._store(values, address, place)

    def finish(self, target: Array, buffer: Value) -> None:
        """Copy the last, partial vector of the result."""
        place = self.place(target)
        with self.if_partial():
            if isinstance(target.storage, Packed):
                Dense(target.storage, self.lanes).clear_padding(self.b, buffer, self.rest)
            self._copy(self._at(target.address, self.whole, place), buffer, self.rest, place)

    def buffer(self, target: Array) -> Value:
        """Of one vector of the result."""
        return self._buffer(self.place(target))

    def place(self, target: Array) -> _Place:
        return _Place(target.storage, len(self.shape.outputs), self.lanes)

    def _last(self, source: Array) -> Value:
        """A buffer with the last, partial vector of a stream."""
        place = _Place(source.storage, 1, self.lanes)
        pointer = cgutils.alloca_once(self.b, ir.ArrayType(I64, -(-place.bytes // 8)))
        with self.if_partial():
            self.b.store(ir.Constant(pointer.type.pointee, [0] * pointer.type.pointee.count), pointer)
            buffer = self.b.ptrtoint(pointer, I64)
            self._copy(buffer, self._at(source.address, self.whole, place), self.rest, place)
        return self.b.ptrtoint(pointer, I64)

    def if_partial(self) -> Any:
        """Code for rows that do not end with a vector."""
        return self.b.if_then(self.b.icmp_unsigned("!=", self.rest, word(0)))

    def _input(self, index: int, source: Source, start: Value) -> list[Value]:
        b = self.b
        match source:
            case Array():
                place = _Place(source.storage, 1, self.lanes)
                address = self._at(source.address, start, place)
                if source.ends:
                    address = b.select(b.icmp_unsigned("<", start, self.whole), address, self.last[index])
                if source.next_row is not None:
                    self.fetch(b.add(address, source.next_row), place.bytes)
                return self._load(address, place)
            case Spread():
                return [self._spread(source, start)]
            case Places():
                return [self._places(source, start)]
        raise AssertionError(source)

    def fetch(self, address: Value, size: int, *, to_write: bool = False) -> None:
        """Bring what lies at an address into the second cache."""
        b, kind = self.b, ir.IntType(8).as_pointer()
        numbers = [ir.Constant(I32, number) for number in (int(to_write), SECOND_CACHE, 1)]
        signature = ir.FunctionType(ir.VoidType(), [kind, *(number.type for number in numbers)])
        prefetch = b.module.declare_intrinsic("llvm.prefetch", [kind], signature)
        for line in range(0, size, CACHE_LINE):
            b.call(prefetch, [b.inttoptr(b.add(address, word(line)), kind), *numbers])

    def _spread(self, source: Spread, start: Value) -> Value:
        b, size = self.b, source.size
        first = b.add(source.address, b.mul(b.udiv(start, word(size)), word(4)))
        if size % self.lanes == 0:
            return self._splat(b.load(pointer(b, first, I32)))
        assert self.lanes % size == 0, (self.lanes, size)
        words = b.load(pointer(b, first, ir.VectorType(I32, self.lanes // size)), align=4)
        return lanes_at(b, words, [lane // size for lane in range(self.lanes)])

    def _places(self, source: Places, start: Value) -> Value:
        b = self.b
        first, count = b.trunc(source.first, I32), ir.Constant(self.words, list(range(self.lanes)))
        if source.size and self.lanes % source.size == 0:
            count = ir.Constant(self.words, [lane % source.size for lane in range(self.lanes)])
        elif source.size:
            count = b.urem(b.add(self._splat(b.trunc(start, I32)), count), vector(I32, self.lanes, source.size))
        else:
            first = b.add(first, b.trunc(start, I32))
        return b.add(self._splat(first), count)


def store_words(here: Here, plan: Plan, sources: Sequence[Source], targets: dict[int, Value], count: Value) -> None:
    """Outputs of a plan, by place, to addresses of words that have room for whole vectors."""
    b, lanes = here.b, _lanes_for(plan.shape, sources)
    body = Body(here, plan, sources, count, lanes)
    with cgutils.for_range(b, _parts(b, count, lanes)) as part:
        start = b.mul(part.index, word(lanes))
        outputs = body.outputs(body.inputs(start))
        for output, target in targets.items():
            b.store(outputs[output], pointer(b, word_at(b, target, start), body.words), align=4)


def write_row(here: Here, plan: Plan, sources: Sequence[Source], target: Array, count: Value) -> None:
    """The result of a plan, to an array of the user's."""
    b, lanes = here.b, _lanes_for(plan.shape, sources)
    body = Body(here, plan, sources, count, lanes)
    buffer = body.buffer(target)
    with cgutils.for_range(b, _parts(b, count, lanes)) as part:
        start = b.mul(part.index, word(lanes))
        body.write(body.outputs(body.inputs(start)), start, target, buffer)
    body.finish(target, buffer)


def store_errors(
    here: Here, plan: Plan, sources: Sequence[Source], x: int, weights: Source | None, target: Value, count: Value
) -> None:
    """Squared errors of a plan's float32 against stream `x`, as float64; 0 where x is NaN or Inf."""
    b, lanes = here.b, _lanes_for(plan.shape, sources)
    body, wide = Body(here, plan, sources, count, lanes), ir.VectorType(F64, lanes)
    infinity = vector(I32, lanes, 0x7F80_0000)
    with cgutils.for_range(b, _parts(b, count, lanes)) as part:
        start = b.mul(part.index, word(lanes))
        inputs = body.inputs(start)
        (given,), (result,) = inputs[x], body.outputs(inputs)
        floats = [b.fpext(b.bitcast(words, body.floats), wide) for words in (given, result)]
        difference = b.fsub(*floats)
        term = b.fmul(difference, difference)
        if weights is not None:
            term = b.fmul(_weights(b, weights, start, lanes), term)
        is_finite = b.icmp_unsigned("!=", b.and_(given, infinity), infinity)
        term = b.select(is_finite, term, ir.Constant(wide, [0.0] * lanes))
        b.store(term, pointer(b, wide_at(b, target, start), wide), align=8)


def _weights(b: Value, weights: Source, start: Value, lanes: int) -> Value:
    """One float64 for each element, or for the whole row."""
    kind = ir.VectorType(F64, lanes)
    if isinstance(weights, Array):
        return b.load(pointer(b, wide_at(b, weights.address, start), kind), align=8)
    assert isinstance(weights, Single), weights
    return splat(b, b.load(pointer(b, weights.address, F64)), lanes)


def maxima_lanes(shape: PlanShape, size: int) -> int | None:
    """Elements of vectors that hold whole blocks of this size; None where blocks are taken one by one."""
    lanes = lanes_of(shape)
    if size and lanes % size == 0:
        return lanes
    if size and math.lcm(size, CROWDED_LANES) <= WIDEST:
        return math.lcm(size, CROWDED_LANES)
    return 8 * size if 0 < size < CROWDED_LANES else None


def store_maxima(
    here: Here,
    plan: Plan,
    sources: Sequence[Source],
    size: int,
    target: Value,
    count: Value,
    *,
    is_first: Value | None = None,
) -> None:
    """The largest word of every `size` elements; joined to the words there, unless there `is_first`, a truth value.

    `maxima_lanes` must know the size.
    """
    b, lanes = here.b, maxima_lanes(plan.shape, size)
    assert lanes is not None
    body = Body(here, plan, sources, count, lanes)

    def store(start: Value, *, partial: bool) -> None:
        (keys,) = body.outputs(body.inputs(start))
        if partial:
            keys = b.select(body.within(start), keys, vector(I32, lanes, 0))
        maxima = by_halves(b, keys, size, umax)
        at = pointer(b, word_at(b, target, b.udiv(start, word(size))), maxima.type)
        if is_first is not None:
            before = b.select(is_first, ir.Constant(maxima.type, [0] * maxima.type.count), b.load(at, align=4))
            maxima = umax(b, maxima, before)
        b.store(maxima, at, align=4)

    with cgutils.for_range(b, b.udiv(count, word(lanes))) as part:
        store(b.mul(part.index, word(lanes)), partial=False)
    with body.if_partial():
        store(body.whole, partial=True)


def maximum(here: Here, plan: Plan, sources: Sequence[Source], count: Value) -> Value:
    """The largest word of a row."""
    b, lanes = here.b, lanes_of(plan.shape)
    body = Body(here, plan, sources, count, lanes)
    most = cgutils.alloca_once(b, body.words)
    b.store(vector(I32, lanes, 0), most)
    with cgutils.for_range(b, b.udiv(count, word(lanes))) as part:
        (keys,) = body.outputs(body.inputs(b.mul(part.index, word(lanes))))
        b.store(umax(b, b.load(most), keys), most)
    with body.if_partial():
        (keys,) = body.outputs(body.inputs(body.whole))
        keys = b.select(body.within(body.whole), keys, vector(I32, lanes, 0))
        b.store(umax(b, b.load(most), keys), most)
    return b.extract_element(by_halves(b, b.load(most), lanes, umax), ir.Constant(I32, 0))


def spread_words(b: Value, source: Value, size: int, target: Value, count: Value) -> None:
    """Repeat every word `size` times, `count` times in all; up to a vector more is written."""
    kind = ir.VectorType(I32, CROWDED_LANES)
    with cgutils.for_range(b, _parts(b, count, size)) as block:
        many = splat(b, b.load(pointer(b, word_at(b, source, block.index), I32)), kind.count)
        first = b.mul(block.index, word(size))
        left = b.sub(count, first)
        within = b.select(b.icmp_unsigned("<", left, word(size)), left, word(size))
        with cgutils.for_range(b, _parts(b, within, kind.count)) as part:
            place = b.add(first, b.mul(part.index, word(kind.count)))
            b.store(many, pointer(b, word_at(b, target, place), kind), align=4)


def umax(b: Value, left: Value, right: Value) -> Value:
    """The larger words, lane by lane."""
    kind = left.type
    intrinsic = b.module.declare_intrinsic(f"llvm.umax.v{kind.count}i32", (), ir.FunctionType(kind, [kind, kind]))
    return b.call(intrinsic, [left, right])


def fadd(b: Value, left: Value, right: Value) -> Value:
    """The sums of floats, lane by lane."""
    return b.fadd(left, right)


def by_halves(b: Value, values: Value, size: int, join: Callable[[Value, Value, Value], Value]) -> Value:
    """One value for every `size` lanes: halves are joined lane by lane, or the parts of a size that has no halves."""
    while size > 1:
        parts = next((odd for odd in range(3, size + 1, 2) if size % odd == 0), 2)  # then whole registers are joined
        size //= parts
        groups = range(0, values.type.count, size * parts)
        joined, *others = (
            lanes_at(b, values, [group + part * size + lane for group in groups for lane in range(size)])
            for part in range(parts)
        )
        for other in others:
            joined = join(b, joined, other)
        values = joined
    return values


def lanes_at(b: Value, values: Value, lanes: list[int]) -> Value:
    """The vector of these lanes of a vector."""
    order = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return b.shuffle_vector(values, ir.Constant(values.type, ir.Undefined), order)


def splat(b: Value, one: Value, lanes: int) -> Value:
    """The vector whose lanes are all the same."""
    kind = ir.VectorType(one.type, lanes)
    return lanes_at(b, b.insert_element(ir.Constant(kind, ir.Undefined), one, ir.Constant(I32, 0)), [0] * lanes)


def vector(kind: Value, lanes: int, value: int) -> Value:
    """The constant whose lanes are all the same."""
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def word(value: int) -> Value:
    """A count, or an address."""
    return ir.Constant(I64, value)


def word_at(b: Value, address: Value, index: Value) -> Value:
    """The address of a 32-bit word."""
    return b.add(address, b.mul(index, word(4)))


def wide_at(b: Value, address: Value, index: Value) -> Value:
    """The address of a 64-bit word."""
    return b.add(address, b.mul(index, word(8)))


def pointer(b: Value, address: Value, kind: Value) -> Value:
    """To what lies at an address."""
    return b.inttoptr(address, kind.as_pointer())


def _parts(b: Value, count: Value, lanes: int) -> Value:
    return b.udiv(b.add(count, word(lanes - 1)), word(lanes))
