"""Prints a plan as LLVM vectors: one loop over an array inside one numba intrinsic."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

from statqat_sim.backends.numba_cpu.dense import Dense
from statqat_sim.backends.numba_cpu.processor import Processor
from statqat_sim.plan.program import Packed, PlanShape, Storage
from statqat_sim.plan.step import Op

cgutils: Any = untyped_cgutils

LANES = 64
"""Elements per step of the loop: four AVX-512 registers of words, legal on every target."""

CROWDED_LANES = 16
MANY_PARAMS = 24
"""Plans with more parameters than this would spill them to the stack; they use `CROWDED_LANES`, one register."""

ALIGNMENT = 64
"""Alignment of streaming stores and of memory on the stack, in bytes."""

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))

_INFIX: dict[Op, str] = {
    Op.ADD: "add",
    Op.SUB: "sub",
    Op.MUL: "mul",
    Op.AND: "and_",
    Op.OR: "or_",
    Op.XOR: "xor",
    Op.SHL: "shl",
    Op.SHR: "lshr",
}
_INTRINSIC = {Op.MIN: "umin", Op.MAX: "umax"}
_COMPARE = {Op.EQ: "==", Op.LT: "<"}
_FLOAT = {Op.FADD: "fadd", Op.FSUB: "fsub", Op.FMUL: "fmul", Op.FDIV: "fdiv"}


class Feed(StrEnum):
    """Where a loop reads a stream's elements from; how it interprets the stream's address."""

    ARRAY = "array"  # one value per element, from this address on
    SINGLE = "single"  # one value for the whole loop, at this address
    COUNTER = "counter"  # the "address" is the first of consecutive numbers


@dataclass(frozen=True, slots=True)
class Variant:
    """How a loop reads its streams and stores its output."""

    feeds: tuple[Feed, ...]
    """The feed of each of the plan's streams."""

    streaming: bool = False
    """Whether stores bypass the caches, which a large output would only flush. `out` must be aligned to 64 bytes."""


Words: TypeAlias = list[Any]
"""The low and high words of a stream's elements, as vectors; narrow streams have no high words."""


def loop(shape: PlanShape, variant: Variant) -> Any:
    """An intrinsic that takes one tuple of addresses and numbers: (*streams, out, count, params, tables)."""

    @intrinsic
    def run(_: Any, addresses: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            *streams, out, count, params, tables = cgutils.unpack_tuple(builder, arguments[0])
            _, _, features = context.codegen().magic_tuple()
            processor = Processor.of_features(features)
            PlanPrinter(builder, shape, variant, processor).loop(streams, out, count, params, tables)
            return context.get_dummy_value()

        return types.void(addresses), generate

    return run


class PlanPrinter:
    """Emits one plan at the builder's position."""

    def __init__(self, builder: Any, shape: PlanShape, variant: Variant, processor: Processor) -> None:
        self.b, self.shape, self.variant, self.processor = builder, shape, variant, processor
        self.lanes = CROWDED_LANES if len(shape.params) > MANY_PARAMS else LANES
        self.words = ir.VectorType(I32, self.lanes)
        self.floats = ir.VectorType(ir.FloatType(), self.lanes)
        self.fixed: dict[int, Any] = {}
        self.small_tables: dict[int, list[Any]] = {}

    def loop(self, streams: list[Any], out: Any, count: Any, params: Any, tables: Any) -> None:
        """Emit the loop. A partial last vector goes through buffers, so that the body is emitted only once."""
        b, shape, lanes = self.b, self.shape, self.lanes
        self.tables = [b.load(b.gep(self._pointer(tables, I64), [_word(i, I64)])) for i in range(len(shape.tables))]
        self._fix(params, streams)
        rest = b.and_(count, _word(lanes - 1, I64))
        whole = b.sub(count, rest)
        result = Place(shape.result, len(shape.outputs), lanes)
        result_buffer = self._buffer(result)
        sources = {}
        for index, (stream, feed) in enumerate(zip(shape.streams, self.variant.feeds, strict=True)):
            if feed is Feed.ARRAY:
                place = Place(stream.storage, 1, lanes)
                buffer = self._buffer(place)
                self._copy(buffer, self._at(streams[index], whole, place), rest, place)
                sources[index] = place, streams[index], buffer
        blocks = b.udiv(b.add(count, _word(lanes - 1, I64)), _word(lanes, I64))
        with cgutils.for_range(b, blocks) as block:
            start = b.mul(block.index, _word(lanes, I64))
            is_whole = b.icmp_unsigned("<", start, whole)
            inputs = {
                index: self._load(b.select(is_whole, self._at(source, start, place), buffer), place)
                for index, (place, source, buffer) in sources.items()
            }
            inputs |= {
                index: self._counted(b.add(streams[index], start))
                for index, feed in enumerate(self.variant.feeds)
                if feed is Feed.COUNTER
            }
            target = b.select(is_whole, self._at(out, start, result), result_buffer)
            self._store(self._body(inputs), target, result)
        if isinstance(shape.result, Packed):
            Dense(shape.result, lanes).clear_padding(b, result_buffer, rest)
        self._copy(self._at(out, whole, result), result_buffer, rest, result)
        if self.variant.streaming:
            b.fence("seq_cst")  # streaming stores are not ordered with what another thread reads next

    def _fix(self, params: Any, streams: list[Any]) -> None:
        """Emit loop-invariant values: constants, parameters, single scales and small tables."""
        for index, step in enumerate(self.shape.steps):
            if step.op is Op.CONST:
                self.fixed[index] = ir.Constant(self.words, [step.value] * self.lanes)
            elif step.op is Op.PARAM:
                self.fixed[index] = self._splat(self._word_at(params, step.value))
            elif step.op in (Op.INPUT, Op.INPUT_HIGH) and self.variant.feeds[step.value] is Feed.SINGLE:
                self.fixed[index] = self._splat(self._word_at(streams[step.value], int(step.op is Op.INPUT_HIGH)))
            elif self.shape.reads_small_table(step):
                self.small_tables[step.value] = self.processor.table(self.b, self.tables[step.value])

    def _word_at(self, address: Any, index: int) -> Any:
        return self.b.load(self.b.gep(self._pointer(address, I32), [_word(index, I64)]))

    def _body(self, inputs: dict[int, Words]) -> Words:
        results: list[Any] = []
        for index, step in enumerate(self.shape.steps):
            if index in self.fixed:
                results.append(self.fixed[index])
            elif step.op in (Op.INPUT, Op.INPUT_HIGH):
                results.append(inputs[step.value][int(step.op is Op.INPUT_HIGH)])
            elif self.small_tables.get(step.value) and self.shape.reads_small_table(step):
                results.append(self.processor.look_up(self.b, self.small_tables[step.value], results[step.args[0]]))
            else:
                results.append(self._step(step.op, step.value, [results[arg] for arg in step.args]))
        return [self._as_words(results[output]) for output in self.shape.outputs]

    def _step(self, op: Op, value: int, args: list[Any]) -> Any:
        """Emit one step. Truth values stay vectors of i1 until a word is needed."""
        b = self.b
        if op is Op.SELECT:
            condition = args[0]
            if condition.type.element != I1:
                condition = b.icmp_unsigned("!=", condition, ir.Constant(self.words, [0] * self.lanes))
            return b.select(condition, *map(self._as_words, args[1:]))
        words = [self._as_words(arg) for arg in args]
        if op in _INFIX:
            return getattr(b, _INFIX[op])(*words)
        if op in _INTRINSIC:
            kind = ir.FunctionType(self.words, [self.words, self.words])
            return b.call(b.module.declare_intrinsic(f"llvm.{_INTRINSIC[op]}.v{self.lanes}i32", (), kind), words)
        if op is Op.MULHI:
            return self._high_product(*words)
        if op in _COMPARE:
            return b.icmp_unsigned(_COMPARE[op], *words)
        if op in _FLOAT:
            floats = [b.bitcast(word, self.floats) for word in words]
            return b.bitcast(getattr(b, _FLOAT[op])(*floats), self.words)
        return self._gather(self.tables[value], words[0])

    def _gather(self, table: Any, index: Any) -> Any:
        """Load lane by lane: scalar loads are no slower than the gather instructions of today's processors."""
        b, result = self.b, ir.Constant(self.words, ir.Undefined)
        pointer = self._pointer(table, I32)
        for lane in range(self.lanes):
            place = b.zext(b.extract_element(index, _word(lane, I32)), I64)
            result = b.insert_element(result, b.load(b.gep(pointer, [place])), _word(lane, I32))
        return result

    def _as_words(self, value: Any) -> Any:
        return self.b.zext(value, self.words) if value.type.element == I1 else value

    def _high_product(self, left: Any, right: Any) -> Any:
        b, wide = self.b, ir.VectorType(I64, self.lanes)
        product = b.mul(b.zext(left, wide), b.zext(right, wide))
        return b.trunc(b.lshr(product, ir.Constant(wide, [32] * self.lanes)), self.words)

    def _counted(self, first: Any) -> Words:
        """The low and high words of consecutive 64-bit numbers from `first` on."""
        b, wide = self.b, ir.VectorType(I64, self.lanes)
        undefined = ir.Constant(wide, ir.Undefined)
        start = b.shuffle_vector(
            b.insert_element(undefined, first, _word(0, I32)), undefined, ir.Constant(self.words, [0] * self.lanes)
        )
        numbers = b.add(start, ir.Constant(wide, list(range(self.lanes))))
        high = b.lshr(numbers, ir.Constant(wide, [32] * self.lanes))
        return [b.trunc(numbers, self.words), b.trunc(high, self.words)]

    def _load(self, address: Any, place: Place) -> Words:
        b, storage = self.b, place.storage
        if isinstance(storage, Packed):
            return [b.zext(Dense(storage, self.lanes).load(b, address), self.words)]
        if storage.bits == 64:
            both = b.load(self._pointer(address, ir.VectorType(I32, 2 * self.lanes)), align=8)
            return [
                b.shuffle_vector(both, both, ir.Constant(self.words, list(range(odd, 2 * self.lanes, 2))))
                for odd in (0, 1)
            ]
        size = storage.bits // 8
        value = b.load(self._pointer(address, ir.VectorType(ir.IntType(8 * size), self.lanes)), align=size)
        return [value if size == 4 else b.zext(value, self.words)]

    def _store(self, words: Words, address: Any, place: Place) -> None:
        b, storage = self.b, place.storage
        if isinstance(storage, Packed):
            dense = Dense(storage, self.lanes)
            codes = self.processor.narrow(b, words[0], 8)
            self._stream(dense.store(b, codes, address), dense.is_plain, place)
            return
        value = self.processor.narrow(b, words[0], storage.bits) if storage.bits < 32 else self._interleaved(words)
        self._stream(b.store(value, self._pointer(address, value.type), align=storage.bits // 8), True, place)

    def _stream(self, store: Any, is_whole: bool, place: Place) -> None:
        """Make the store nontemporal if the loop streams and this stores a whole vector."""
        if self.variant.streaming and is_whole:
            store.align = min(ALIGNMENT, place.bytes)
            store.set_metadata("nontemporal", self.b.module.add_metadata([_word(1, I32)]))

    def _interleaved(self, words: Words) -> Any:
        """A vector with the words of each element next to each other."""
        if len(words) == 1:
            return words[0]
        b, bits, pairs = self.b, 32, words
        while len(pairs) > 1:
            order = [place for lane in range(self.lanes) for place in (lane, self.lanes + lane)]
            mask = ir.Constant(ir.VectorType(I32, 2 * self.lanes), order)
            bits *= 2
            joined = [b.shuffle_vector(low, high, mask) for low, high in zip(pairs[::2], pairs[1::2], strict=True)]
            pairs = [b.bitcast(pair, ir.VectorType(ir.IntType(bits), self.lanes)) for pair in joined]
        return pairs[0]

    def _splat(self, word: Any) -> Any:
        undefined = ir.Constant(self.words, ir.Undefined)
        first = self.b.insert_element(undefined, word, _word(0, I32))
        return self.b.shuffle_vector(first, undefined, ir.Constant(self.words, [0] * self.lanes))

    def _buffer(self, place: Place) -> Any:
        """The address of zeroed stack memory for one vector."""
        kind = ir.ArrayType(I64, -(-place.bytes // 8))
        buffer = cgutils.alloca_once(self.b, kind)
        buffer.align = ALIGNMENT
        self.b.store(ir.Constant(kind, [0] * kind.count), buffer)
        return self.b.ptrtoint(buffer, I64)

    def _copy(self, target: Any, source: Any, count: Any, place: Place) -> None:
        pointers = [self._pointer(address, I8) for address in (target, source)]
        cgutils.raw_memcpy(self.b, *pointers, self._bytes(count, place), 1)

    def _at(self, address: Any, index: Any, place: Place) -> Any:
        return self.b.add(address, self._bytes(index, place))

    def _bytes(self, count: Any, place: Place) -> Any:
        """The size of `count` elements in bytes; dense codes are rounded up to a whole byte."""
        b = self.b
        if isinstance(place.storage, Packed):
            bits = b.mul(count, _word(place.storage.bits, I64))
            return b.lshr(b.add(bits, _word(7, I64)), _word(3, I64))
        return b.mul(count, _word(place.size, I64))

    def _pointer(self, address: Any, kind: Any) -> Any:
        return self.b.inttoptr(address, kind.as_pointer())


def _word(value: int, kind: Any) -> Any:
    return ir.Constant(kind, value)


@dataclass(frozen=True, slots=True)
class Place:
    """How an array stores the vectors of a loop."""

    storage: Storage | Packed
    outputs: int
    lanes: int

    @property
    def size(self) -> int:
        """Bytes of an element; 0 for dense codes."""
        if isinstance(self.storage, Packed):
            return 0
        return self.outputs * 4 if self.outputs > 1 else self.storage.bits // 8

    @property
    def bytes(self) -> int:
        """Bytes of one vector."""
        if isinstance(self.storage, Packed):
            return self.storage.row_bytes(self.lanes)
        return self.lanes * self.size
