"""A whole product: batches, and a long K that is cut as a plan says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from math import lcm
from typing import Any

import numpy as np

from statqat_sim.errors import UnsupportedError
from statqat_sim.matmul.operands import Side
from statqat_sim.matmul.unit import Unit
from statqat_sim.spec.accelerator import GemmPlan, ReduceOrder


def product(unit: Unit, a: Side, b: Side, c: Any, plan: GemmPlan, shape: tuple[int, ...]) -> Any:
    """D of stacks of matrices, in `shape`."""
    _check(unit, plan)
    factor = _factor(unit, a, b)
    if factor is not None and c is not None:
        told = f"{unit.instruction}: scales of whole tensors multiply D, and not C"
        raise UnsupportedError(f"{told}; allowed: c=None, and the sum afterwards")
    d = unit.place.filled(shape, unit.dtype, a.values)
    for at in np.ndindex(shape[:-2]):
        start = d[at] if c is None else c[at]
        d[at] = _matrix(unit, _at(a, at), _at(b, at), start, plan, has_c=c is not None)
    return d if factor is None else unit.place.times(d, factor)


def _factor(unit: Unit, a: Side, b: Side) -> Any:
    """The product of the scales of whole tensors; None where there are none, or where a look says that it is 1."""
    factors = [side.factor for side in (a, b) if side.factor is not None]
    if not factors:
        return None
    factor = factors[0] if len(factors) == 1 else unit.place.times(*factors)
    return None if unit.place.library.looks and factor[0] == 1 else factor


def _check(unit: Unit, plan: GemmPlan) -> None:
    """Cuts lie between blocks of scales."""
    scale = unit.instruction.scale
    for key in ("k_slab", "promote_every"):
        length = getattr(plan, key)
        if scale is not None and length is not None and length % scale.block:
            raise ValueError(
                f"{unit.instruction}: {key} is {length}; allowed: multiples of its blocks of {scale.block}"
            )


def _at(side: Side, at: tuple[int, ...]) -> Side:
    """The matrix at a place of the stack; axes of 1 are the same everywhere."""
    scale = None if side.scale is None else side.scale[_index(side.scale, at)]
    return Side(side.values[_index(side.values, at)], side.format, scale)


def _index(array: Any, at: tuple[int, ...]) -> tuple[int, ...]:
    leading = array.shape[:-2]
    places = zip(leading, at[len(at) - len(leading) :], strict=True)
    return tuple(0 if size == 1 else place for size, place in places)


def _matrix(unit: Unit, a: Side, b: Side, c: Any, plan: GemmPlan, *, has_c: bool) -> Any:
    if plan.split_k == 1 and plan.promote_every is None:
        size = a.values.shape[1]
        return unit.run(_cut(unit, a, 0, size, 1, plan), _cut(unit, b, 0, size, 0, plan), c)
    parts = [_part(unit, a, b, first, last, plan, c) for first, last in _parts(unit, a.values.shape[1], plan)]
    if not parts:
        return c
    total = _reduced(unit, parts, plan.reduce_order)
    return unit.added(c, total) if has_c else total


def _parts(unit: Unit, size: int, plan: GemmPlan) -> Iterator[tuple[int, int]]:
    """Where the parts of K begin and end: whole slabs, or whole instructions and blocks; the longer parts first."""
    scale = unit.instruction.scale
    slab = plan.k_slab or lcm(unit.k, scale.block if scale else 1)
    count = -(-size // slab)
    longer, many = count % plan.split_k, min(plan.split_k, count)
    lengths = [count // plan.split_k + (index < longer) for index in range(many)]
    for first, last in pairwise(accumulate(lengths, initial=0)):
        yield first * slab, min(last * slab, size)


def _part(unit: Unit, a: Side, b: Side, first: int, last: int, plan: GemmPlan, like: Any) -> Any:
    """The result of one part, from zero."""
    every = plan.promote_every or last - first
    so_far: Any = None
    for k0 in range(first, last, every):
        k1 = min(k0 + every, last)
        sides = _cut(unit, a, k0, k1, 1, plan), _cut(unit, b, k0, k1, 0, plan)
        found = unit.run(*sides, unit.zeros(like))
        so_far = found if so_far is None else unit.added(so_far, found)
    return so_far


def _cut(unit: Unit, side: Side, first: int, last: int, axis: int, plan: GemmPlan) -> Side:
    """Some of K, filled with zeros up to a whole slab where the plan has slabs and K ends here."""
    size, scale, place = side.values.shape[axis], unit.instruction.scale, unit.place
    places = slice(first, last)
    values = side.values[:, places] if axis else side.values[places]
    padding = -last % plan.k_slab if plan.k_slab and last == size else 0
    scales = side.scale
    if scales is not None and scale is not None:
        blocks = slice(first // scale.block, -(-last // scale.block))
        scales = scales[:, blocks] if axis else scales[blocks]
        more = -(-(last - first + padding) // scale.block) - scales.shape[axis]
        scales = place.padded(scales, more, axis, "float32", 1)
    return Side(place.padded(values, padding, axis, unit.dtype), side.format, scales)


def _reduced(unit: Unit, parts: list[Any], order: ReduceOrder) -> Any:
    """The sum of parts."""
    if order is ReduceOrder.DESCENDING:
        parts = parts[::-1]
    if order is not ReduceOrder.PAIRWISE:
        return list(accumulate(parts, unit.added))[-1]
    while len(parts) > 1:
        pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
        parts = [unit.added(*pair) if len(pair) > 1 else pair[0] for pair in pairs]
    return parts[0]
