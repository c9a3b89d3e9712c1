"""Helpers for the printers of block formats: LLVM vectors, counts and addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import ir

from statqat_sim.backends.numba_cpu.vector import I32, I64

F64 = ir.DoubleType()

Value: TypeAlias = Any
"""An LLVM value of llvmlite's builder, or the builder itself; addresses and counts are 64-bit integers."""


def joined(b: Value, pieces: Sequence[Value]) -> Value:
    """Concatenate vectors of equal length."""
    values = list(pieces)
    while len(values) > 1:
        odd = values[len(values) & -2 :]
        values = [_both(b, *pair) for pair in zip(values[::2], values[1::2], strict=False)] + odd
    return values[0]


def _both(b: Value, low: Value, high: Value) -> Value:
    count = max(low.type.count, high.type.count)
    both = low.type.count + high.type.count
    if high.type.count < count:
        high = lanes_at(b, high, [min(lane, high.type.count - 1) for lane in range(count)])
    return b.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, both), list(range(both))))


def umax(b: Value, left: Value, right: Value) -> Value:
    """The unsigned maximum of two vectors of words, lane by lane."""
    kind = left.type
    intrinsic = b.module.declare_intrinsic(f"llvm.umax.v{kind.count}i32", (), ir.FunctionType(kind, [kind, kind]))
    return b.call(intrinsic, [left, right])


def fadd(b: Value, left: Value, right: Value) -> Value:
    """The sum of two vectors of floats, lane by lane."""
    return b.fadd(left, right)


def by_halves(b: Value, values: Value, size: int, join: Callable[[Value, Value, Value], Value]) -> Value:
    """Reduce every `size` lanes to one: halves (or thirds, fifths, …) are joined lane by lane."""
    while size > 1:
        parts = next((odd for odd in range(3, size + 1, 2) if size % odd == 0), 2)  # odd first: joins whole registers
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
    """The vector of the given lanes of `values`, in that order."""
    order = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return b.shuffle_vector(values, ir.Constant(values.type, ir.Undefined), order)


def splat(b: Value, one: Value, lanes: int) -> Value:
    """The vector with `one` in every lane."""
    kind = ir.VectorType(one.type, lanes)
    return lanes_at(b, b.insert_element(ir.Constant(kind, ir.Undefined), one, ir.Constant(I32, 0)), [0] * lanes)


def vector(kind: Value, lanes: int, value: int) -> Value:
    """The constant vector with `value` in every lane."""
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def word(value: int) -> Value:
    """A 64-bit constant: a count or an address."""
    return ir.Constant(I64, value)


def word_at(b: Value, address: Value, index: Value) -> Value:
    """The address of the 32-bit word number `index` from `address` on."""
    return b.add(address, b.mul(index, word(4)))


def wide_at(b: Value, address: Value, index: Value) -> Value:
    """The address of the 64-bit word number `index` from `address` on."""
    return b.add(address, b.mul(index, word(8)))


def pointer(b: Value, address: Value, kind: Value) -> Value:
    """The address as a pointer to `kind`."""
    return b.inttoptr(address, kind.as_pointer())
