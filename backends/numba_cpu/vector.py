"""Prints a plan as LLVM vectors: one loop over an array inside one numba intrinsic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

from statqat_sim.plan.program import Op, PlanShape, Storage

cgutils: Any = untyped_cgutils

LANES = 64
"""Elements per step of the loop: four AVX-512 registers of words, legal on every target."""

CROWDED_LANES = 16
MANY_PARAMS = 24
"""Plans with more parameters than this would keep them on the stack; they get one register of words at a time."""

ALIGNMENT = 64
"""Of streaming stores, in bytes."""

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))

_INFIX: dict[Op, str] = {
    Op.ADD: "add",
    Op.SUB: "sub",
    Op.AND: "and_",
    Op.OR: "or_",
    Op.XOR: "xor",
    Op.SHL: "shl",
    Op.SHR: "lshr",
}
_INTRINSIC = {Op.MIN: "umin", Op.MAX: "umax"}
_COMPARE = {Op.EQ: "==", Op.LT: "<"}
_FLOAT = {Op.FADD: "fadd", Op.FSUB: "fsub", Op.FMUL: "fmul", Op.FDIV: "fdiv"}


def signature(shape: PlanShape) -> Any:
    """Numba's signature of a compiled loop's entry; inputs may be read-only arrays."""
    kinds = [getattr(types, storage.value) for storage in (shape.streams[0].storage, Storage.FLOAT32)]
    inputs = [types.Array(kind, 1, "C", readonly=True) for kind in kinds]
    out = types.Array(getattr(types, shape.result.value), 1, "C")
    return types.void(*inputs, out, *[types.uintp] * 4)


@dataclass(frozen=True, slots=True)
class Variant:
    """How a loop treats its arrays."""

    scale_per_element: bool = False
    """Whether the scale stream has one word per element; otherwise one for the whole loop."""

    streaming: bool = False
    """Whether stores go past the caches, which large outputs would only flush. `out` must be aligned to 64 bytes."""


PLAIN = Variant()


def loop(shape: PlanShape, variant: Variant) -> Any:
    """An intrinsic `(x, scale, out, count, params, tables) -> None` over addresses."""

    @intrinsic
    def run(_: Any, x: Any, scale: Any, out: Any, count: Any, params: Any, tables: Any) -> Any:
        signature = types.void(*[types.uintp] * 6)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _Printer(builder, shape, variant).loop(*arguments)
            return context.get_dummy_value()

        return signature, generate

    return run


class _Printer:
    """Emits one plan at the builder's position."""

    def __init__(self, builder: Any, shape: PlanShape, variant: Variant) -> None:
        self.b, self.shape, self.variant = builder, shape, variant
        self.lanes = CROWDED_LANES if len(shape.params) > MANY_PARAMS else LANES
        self.words = ir.VectorType(I32, self.lanes)
        self.floats = ir.VectorType(ir.FloatType(), self.lanes)
        self.fixed: dict[int, Any] = {}

    def loop(self, x: Any, scale: Any, out: Any, count: Any, params: Any, tables: Any) -> None:
        """Whole vectors from the arrays; a last, partial one through buffers, so that the body stands once."""
        b = self.b
        sizes = [stream.storage.bits // 8 for stream in self.shape.streams]
        per_element = len(sizes) if self.variant.scale_per_element else 1
        sources = list(zip([x, scale], sizes, strict=False))[:per_element]
        self.tables = [
            b.load(b.gep(self._pointer(tables, I64), [_word(i, I64)])) for i in range(len(self.shape.tables))
        ]
        self._fix(params, scale)
        rest = b.and_(count, _word(self.lanes - 1, I64))
        whole = b.sub(count, rest)
        buffers = [self._buffer() for _ in sources]
        result_size = self.shape.result.bits // 8
        result_buffer = self._buffer()
        for (source, size), buffer in zip(sources, buffers, strict=True):
            self._copy(buffer, self._at(source, whole, size), rest, size)
        blocks = b.udiv(b.add(count, _word(self.lanes - 1, I64)), _word(self.lanes, I64))
        with cgutils.for_range(b, blocks) as block:
            start = b.mul(block.index, _word(self.lanes, I64))
            is_whole = b.icmp_unsigned("<", start, whole)
            inputs = [
                self._load(b.select(is_whole, self._at(source, start, size), buffer), size)
                for (source, size), buffer in zip(sources, buffers, strict=True)
            ]
            target = b.select(is_whole, self._at(out, start, result_size), result_buffer)
            self._store(self._body(inputs), target, result_size)
        self._copy(self._at(out, whole, result_size), result_buffer, rest, result_size)
        if self.variant.streaming:
            b.fence("seq_cst")  # streaming stores are not ordered with what another thread reads next

    def _fix(self, params: Any, scale: Any) -> None:
        """What does not change inside the loop."""
        b = self.b
        for index, step in enumerate(self.shape.steps):
            if step.op is Op.CONST:
                self.fixed[index] = ir.Constant(self.words, [step.value] * self.lanes)
            elif step.op is Op.PARAM:
                self.fixed[index] = self._splat(b.load(b.gep(self._pointer(params, I32), [_word(step.value, I64)])))
            elif step.op is Op.INPUT and step.value == 1 and not self.variant.scale_per_element:
                self.fixed[index] = self._splat(b.load(self._pointer(scale, I32)))

    def _body(self, inputs: list[Any]) -> Any:
        results: list[Any] = []
        for index, step in enumerate(self.shape.steps):
            if index in self.fixed:
                results.append(self.fixed[index])
            elif step.op is Op.INPUT:
                results.append(inputs[step.value])
            else:
                results.append(self._step(step.op, step.value, [results[arg] for arg in step.args]))
        return self._as_words(results[-1])

    def _step(self, op: Op, value: int, args: list[Any]) -> Any:
        """Truth values stay one bit wide until a word is asked for."""
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
        if op in _COMPARE:
            return b.icmp_unsigned(_COMPARE[op], *words)
        if op in _FLOAT:
            floats = [b.bitcast(word, self.floats) for word in words]
            return b.bitcast(getattr(b, _FLOAT[op])(*floats), self.words)
        return self._gather(self.tables[value], words[0])

    def _gather(self, table: Any, index: Any) -> Any:
        """Lane by lane: scalar loads are no slower than the gather instructions of today's processors."""
        b, result = self.b, ir.Constant(self.words, ir.Undefined)
        pointer = self._pointer(table, I32)
        for lane in range(self.lanes):
            place = b.zext(b.extract_element(index, _word(lane, I32)), I64)
            result = b.insert_element(result, b.load(b.gep(pointer, [place])), _word(lane, I32))
        return result

    def _as_words(self, value: Any) -> Any:
        return self.b.zext(value, self.words) if value.type.element == I1 else value

    def _load(self, address: Any, size: int) -> Any:
        kind = ir.VectorType(ir.IntType(8 * size), self.lanes)
        value = self.b.load(self._pointer(address, kind), align=size)
        return value if size == 4 else self.b.zext(value, self.words)

    def _store(self, words: Any, address: Any, size: int) -> None:
        kind = ir.VectorType(ir.IntType(8 * size), self.lanes)
        value = words if size == 4 else self.b.trunc(words, kind)
        if not self.variant.streaming:
            self.b.store(value, self._pointer(address, kind), align=size)
            return
        store = self.b.store(value, self._pointer(address, kind), align=min(ALIGNMENT, size * self.lanes))
        store.set_metadata("nontemporal", self.b.module.add_metadata([_word(1, I32)]))

    def _splat(self, word: Any) -> Any:
        undefined = ir.Constant(self.words, ir.Undefined)
        first = self.b.insert_element(undefined, word, _word(0, I32))
        return self.b.shuffle_vector(first, undefined, ir.Constant(self.words, [0] * self.lanes))

    def _buffer(self) -> Any:
        place = cgutils.alloca_once(self.b, ir.ArrayType(I32, self.lanes))
        place.align = ALIGNMENT
        self.b.store(ir.Constant(ir.ArrayType(I32, self.lanes), [0] * self.lanes), place)
        return self.b.ptrtoint(place, I64)

    def _copy(self, target: Any, source: Any, count: Any, size: int) -> None:
        pointers = [self._pointer(address, I8) for address in (target, source)]
        cgutils.raw_memcpy(self.b, *pointers, count, size)

    def _at(self, address: Any, index: Any, size: int) -> Any:
        return self.b.add(address, self.b.mul(index, _word(size, I64)))

    def _pointer(self, address: Any, kind: Any) -> Any:
        return self.b.inttoptr(address, kind.as_pointer())


def _word(value: int, kind: Any) -> Any:
    return ir.Constant(kind, value)
