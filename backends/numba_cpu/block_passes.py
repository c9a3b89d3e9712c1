"""Passes over one row of an array: the words that a plan gives, their maxima per block, their squared errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils as untyped_cgutils

from statqat_sim.backends.numba_cpu.block_body import (
    Array,
    Body,
    Here,
    Plan,
    Single,
    Source,
    lanes_for,
    lanes_of,
    maxima_lanes,
)
from statqat_sim.backends.numba_cpu.block_vector import (
    F64,
    Value,
    by_halves,
    fadd,
    joined,
    pointer,
    splat,
    umax,
    vector,
    wide_at,
    word,
    word_at,
)
from statqat_sim.backends.numba_cpu.vector import CROWDED_LANES, I32

cgutils: Any = untyped_cgutils


def store_words(here: Here, plan: Plan, sources: Sequence[Source], targets: dict[int, Value], count: Value) -> None:
    """Store a plan's outputs: `targets` maps an output's index to an address with room for whole vectors of words."""
    b, lanes = here.b, lanes_for(plan.shape, sources)
    body = Body(here, plan, sources, count, lanes)
    with cgutils.for_range(b, _parts(b, count, lanes)) as part:
        start = b.mul(part.index, word(lanes))
        outputs = body.outputs(body.inputs(start))
        for output, target in targets.items():
            b.store(outputs[output], pointer(b, word_at(b, target, start), outputs[output].type), align=4)


def write_row(here: Here, plan: Plan, sources: Sequence[Source], target: Array, count: Value) -> None:
    """Write the plan's result for one row of `count` elements to the user's array."""
    b, lanes = here.b, lanes_for(plan.shape, sources)
    body = Body(here, plan, sources, count, lanes)
    buffer = body.buffer(target)
    with cgutils.for_range(b, _parts(b, count, lanes)) as part:
        start = b.mul(part.index, word(lanes))
        body.write(start, target, buffer)
    body.finish(target, buffer)


class Errors(NamedTuple):
    """Squared differences, float64, between a plan's float32 result and stream number `x`; 0 where x is NaN or Inf."""

    plan: Plan
    sources: Sequence[Source]
    x: int
    weights: Source | None

    def store(self, here: Here, target: Value, count: Value) -> None:
        """Store one error per element."""
        b, lanes = here.b, lanes_for(self.plan.shape, self.sources)
        body = Body(here, self.plan, self.sources, count, lanes)
        with cgutils.for_range(b, _parts(b, count, lanes)) as part:
            start = b.mul(part.index, word(lanes))
            terms = self._terms(body, start)
            b.store(terms, pointer(b, wide_at(b, target, start), terms.type), align=8)

    def fits(self, size: int) -> bool:
        """Whether blocks of `size` elements within one row can be summed in registers."""
        return size > 0 and lanes_for(self.plan.shape, self.sources) % size == 0

    def store_sums(self, here: Here, size: int, target: Value, count: Value) -> None:
        """Store one error per block: its terms, zero-padded to a power of two, summed pairwise by halves."""
        b, lanes = here.b, lanes_for(self.plan.shape, self.sources)
        body = Body(here, self.plan, self.sources, count, lanes)
        power, zeros = 1 << (size - 1).bit_length(), ir.Constant(ir.VectorType(F64, lanes), [0.0] * lanes)
        order = [block + place if place < size else lanes for block in range(0, lanes, size) for place in range(power)]

        def store(start: Value, *, partial: bool) -> None:
            terms = self._terms(body, start)
            terms = b.select(body.within(start), terms, zeros) if partial else terms
            padded = b.shuffle_vector(terms, zeros, ir.Constant(ir.VectorType(I32, len(order)), order))
            sums = by_halves(b, padded, power, fadd)
            b.store(sums, pointer(b, wide_at(b, target, b.udiv(start, word(size))), sums.type), align=8)

        body.each(store)

    def _terms(self, body: Body, start: Value) -> Value:
        b, lanes, inputs = body.b, body.unit, body.inputs(start)
        wide, single = (ir.VectorType(kind, lanes) for kind in (F64, ir.FloatType()))
        given, (result,) = joined(b, [piece[self.x][0] for piece in inputs]), body.outputs(inputs)
        difference = b.fsub(*(b.fpext(b.bitcast(words, single), wide) for words in (given, result)))
        term, infinity = b.fmul(difference, difference), vector(I32, lanes, 0x7F80_0000)
        if self.weights is not None:
            term = b.fmul(_weights(b, self.weights, start, lanes), term)
        is_finite = b.icmp_unsigned("!=", b.and_(given, infinity), infinity)
        return b.select(is_finite, term, ir.Constant(wide, [0.0] * lanes))


def _weights(b: Value, weights: Source, start: Value, lanes: int) -> Value:
    """A vector of weights, float64: one per element, or the same for the whole row."""
    kind = ir.VectorType(F64, lanes)
    if isinstance(weights, Array):
        return b.load(pointer(b, wide_at(b, weights.address, start), kind), align=8)
    assert isinstance(weights, Single), weights
    return splat(b, b.load(pointer(b, weights.address, F64)), lanes)


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
    """Store the largest word of every `size` elements. `maxima_lanes` must support this size.

    Unless `is_first` (an i1 value) is true, the result is the maximum of these and the words stored at `target` before.
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

    body.each(store)


def maximum(here: Here, plan: Plan, sources: Sequence[Source], count: Value) -> Value:
    """The largest word of a row."""
    b, lanes = here.b, lanes_of(plan.shape)
    body = Body(here, plan, sources, count, lanes)
    most = cgutils.alloca_once(b, ir.VectorType(I32, lanes))
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
    """Repeat each word `size` times until `count` words are written; up to one vector is written past the end."""
    kind = ir.VectorType(I32, CROWDED_LANES)
    with cgutils.for_range(b, _parts(b, count, size)) as block:
        many = splat(b, b.load(pointer(b, word_at(b, source, block.index), I32)), kind.count)
        first = b.mul(block.index, word(size))
        left = b.sub(count, first)
        within = b.select(b.icmp_unsigned("<", left, word(size)), left, word(size))
        with cgutils.for_range(b, _parts(b, within, kind.count)) as part:
            place = b.add(first, b.mul(part.index, word(kind.count)))
            b.store(many, pointer(b, word_at(b, target, place), kind), align=4)


def _parts(b: Value, count: Value, lanes: int) -> Value:
    return b.udiv(b.add(count, word(lanes - 1)), word(lanes))
