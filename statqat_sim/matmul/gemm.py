"""A whole product: batched matrices, with K cut as a plan says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from math import lcm
from typing import Any

import numpy as np

from statqat_sim.errors import UnsupportedError
from statqat_sim.matmul.operands import Side
from statqat_sim.matmul.runner import Runner
from statqat_sim.spec.accelerator import GemmPlan, ReduceOrder
from statqat_sim.spec.accelerator_rules import cut_problems


def product(runner: Runner, a: Side, b: Side, c: Any, plan: GemmPlan, shape: tuple[int, ...]) -> Any:
    """D of batched matrices, in `shape`."""
    _check(runner, plan)
    factor = _factor(runner, a, b)
    if factor is not None and c is not None:
        told = f"{runner.instruction}: scales of whole tensors multiply D, and not C"
        raise UnsupportedError(f"{told}; allowed: c=None, and the sum afterwards")
    d = runner.place.filled(shape, runner.dtype, a.values)
    for at in np.ndindex(shape[:-2]):
        start = d[at] if c is None else c[at]
        d[at] = _matrix(runner, _at(a, at), _at(b, at), start, plan, has_c=c is not None)
    return d if factor is None else runner.place.times(d, factor)


def _factor(runner: Runner, a: Side, b: Side) -> Any:
    """The product of the per-tensor scales, shape (1,); None without any, or if it is 1 and may be read."""
    factors = [side.factor for side in (a, b) if side.factor is not None]
    if not factors:
        return None
    factor = factors[0] if len(factors) == 1 else runner.place.times(*factors)
    return None if runner.place.library.looks and factor[0] == 1 else factor


def _check(runner: Runner, plan: GemmPlan) -> None:
    """Raises ValueError if the plan would cut K within a scale's block."""
    for _, told in cut_problems(plan, runner.instruction):
        raise ValueError(f"{runner.instruction}: {told}")


def _at(side: Side, at: tuple[int, ...]) -> Side:
    """The matrix at an index of the batch axes; axes of size 1 are broadcast."""
    scale = None if side.scale is None else side.scale[_index(side.scale, at)]
    return Side(side.values[_index(side.values, at)], side.format, scale)


def _index(array: Any, at: tuple[int, ...]) -> tuple[int, ...]:
    leading = array.shape[:-2]
    places = zip(leading, at[len(at) - len(leading) :], strict=True)
    return tuple(0 if size == 1 else place for size, place in places)


def _matrix(runner: Runner, a: Side, b: Side, c: Any, plan: GemmPlan, *, has_c: bool) -> Any:
    if plan.split_k == 1 and plan.promote_every is None:
        size = a.values.shape[1]
        return runner.run(_cut(runner, a, 0, size, 1, plan), _cut(runner, b, 0, size, 0, plan), c)
    parts = [_part(runner, a, b, first, last, plan, c) for first, last in _parts(runner, a.values.shape[1], plan)]
    if not parts:
        return c
    total = _reduced(runner, parts, plan.reduce_order)
    return runner.added(c, total) if has_c else total


def _parts(runner: Runner, size: int, plan: GemmPlan) -> Iterator[tuple[int, int]]:
    """Begin and end of each part of K: a multiple of slabs, else of instructions and blocks; longer parts first."""
    scale = runner.instruction.scale
    slab = plan.k_slab or lcm(runner.k, scale.block if scale else 1)
    count = -(-size // slab)
    longer, many = count % plan.split_k, min(plan.split_k, count)
    lengths = [count // plan.split_k + (index < longer) for index in range(many)]
    for first, last in pairwise(accumulate(lengths, initial=0)):
        yield first * slab, min(last * slab, size)


def _part(runner: Runner, a: Side, b: Side, first: int, last: int, plan: GemmPlan, like: Any) -> Any:
    """The result of one part of K, accumulated from zero."""
    every = plan.promote_every or last - first
    so_far: Any = None
    for k0 in range(first, last, every):
        k1 = min(k0 + every, last)
        sides = _cut(runner, a, k0, k1, 1, plan), _cut(runner, b, k0, k1, 0, plan)
        found = runner.run(*sides, runner.zeros(like))
        so_far = found if so_far is None else runner.added(so_far, found)
    return so_far


def _cut(runner: Runner, side: Side, first: int, last: int, axis: int, plan: GemmPlan) -> Side:
    """K from `first` to `last`; at the end of K it is padded with zeros to a whole slab if the plan has slabs."""
    size, scale, place = side.values.shape[axis], runner.instruction.scale, runner.place
    places = slice(first, last)
    values = side.values[:, places] if axis else side.values[places]
    padding = -last % plan.k_slab if plan.k_slab and last == size else 0
    scales = side.scale
    if scales is not None and scale is not None:
        blocks = slice(first // scale.block, -(-last // scale.block))
        scales = scales[:, blocks] if axis else scales[blocks]
        more = -(-(last - first + padding) // scale.block) - scales.shape[axis]
        scales = place.padded(scales, more, axis, "float32", 1)
    return Side(place.padded(values, padding, axis, runner.dtype), side.format, scales)


def _reduced(runner: Runner, parts: list[Any], order: ReduceOrder) -> Any:
    """The sum of the parts in the given order."""
    if order is ReduceOrder.DESCENDING:
        parts = parts[::-1]
    if order is not ReduceOrder.PAIRWISE:
        return list(accumulate(parts, runner.added))[-1]
    while len(parts) > 1:
        pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
        parts = [runner.added(*pair) if len(pair) > 1 else pair[0] for pair in pairs]
    return parts[0]
