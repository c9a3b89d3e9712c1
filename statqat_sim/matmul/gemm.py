"""A whole product: batches, and a long K that is cut as a plan says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.errors import UnsupportedError
from statqat_sim.matmul.operands import Side
from statqat_sim.matmul.unit import Unit, added
from statqat_sim.spec.accelerator import GemmPlan, ReduceOrder


def product(unit: Unit, a: Side, b: Side, c: Array | None, plan: GemmPlan, shape: tuple[int, ...]) -> Array:
    """D of stacks of matrices, in `shape`."""
    _check(unit, plan)
    factor = np.float32(a.factor) * np.float32(b.factor)
    if factor != 1 and c is not None:
        told = f"{unit.instruction}: scales of whole tensors multiply D, and not C"
        raise UnsupportedError(f"{told}; allowed: c=None, and the sum afterwards")
    start = np.zeros(shape, unit.zero) if c is None else c.astype(unit.zero, copy=False)
    d = np.empty(shape, unit.zero)
    x, y = _stacked(a, shape[:-2]), _stacked(b, shape[:-2])
    for place in np.ndindex(shape[:-2]):
        d[place] = _matrix(unit, _at(x, place), _at(y, place), start[place], plan, has_c=c is not None)
    return d * factor if factor != 1 else d


def _check(unit: Unit, plan: GemmPlan) -> None:
    """Cuts lie between blocks of scales."""
    scale = unit.instruction.scale
    for key in ("k_slab", "promote_every"):
        length = getattr(plan, key)
        if scale is not None and length is not None and length % scale.block:
            raise ValueError(
                f"{unit.instruction}: {key} is {length}; allowed: multiples of its blocks of {scale.block}"
            )


def _stacked(side: Side, batch: tuple[int, ...]) -> Side:
    """Leading axes broadcast."""
    values = np.broadcast_to(side.values, (*batch, *side.values.shape[-2:]))
    scale = None if side.scale is None else np.broadcast_to(side.scale, (*batch, *side.scale.shape[-2:]))
    return Side(values, side.format, scale)


def _at(side: Side, place: tuple[int, ...]) -> Side:
    return Side(side.values[place], side.format, None if side.scale is None else side.scale[place])


def _matrix(unit: Unit, a: Side, b: Side, c: Array, plan: GemmPlan, *, has_c: bool) -> Array:
    if plan.split_k == 1 and plan.promote_every is None:
        size = a.values.shape[1]
        return unit.run(_cut(unit, a, 0, size, 1, plan), _cut(unit, b, 0, size, 0, plan), c)
    parts = [_part(unit, a, b, first, last, plan, c.shape) for first, last in _parts(unit, a.values.shape[1], plan)]
    if not parts:
        return c
    total = _reduced(unit, parts, plan.reduce_order)
    return added(unit.instruction, c, total) if has_c else total


def _parts(unit: Unit, size: int, plan: GemmPlan) -> Iterator[tuple[int, int]]:
    """Where the parts of K begin and end: whole slabs, the longer parts first."""
    slab = plan.k_slab or unit.k
    count = -(-size // slab)
    longer, many = count % plan.split_k, min(plan.split_k, count)
    lengths = [count // plan.split_k + (index < longer) for index in range(many)]
    for first, last in pairwise(accumulate(lengths, initial=0)):
        yield first * slab, min(last * slab, size)


def _part(unit: Unit, a: Side, b: Side, first: int, last: int, plan: GemmPlan, shape: tuple[int, ...]) -> Array:
    """The result of one part, from zero."""
    every = plan.promote_every or last - first
    so_far: Array | None = None
    for k0 in range(first, last, every):
        k1 = min(k0 + every, last)
        sides = _cut(unit, a, k0, k1, 1, plan), _cut(unit, b, k0, k1, 0, plan)
        found = unit.run(*sides, np.zeros(shape, unit.zero))
        so_far = found if so_far is None else added(unit.instruction, so_far, found)
    assert so_far is not None
    return so_far


def _cut(unit: Unit, side: Side, first: int, last: int, axis: int, plan: GemmPlan) -> Side:
    """Some of K, filled with zeros up to a whole slab where the plan has slabs and K ends here."""
    size, scale = side.values.shape[axis], unit.instruction.scale
    places = slice(first, last)
    values = side.values[:, places] if axis else side.values[places]
    padding = -last % plan.k_slab if plan.k_slab and last == size else 0
    scales = side.scale
    if scales is not None and scale is not None:
        blocks = slice(first // scale.block, -(-last // scale.block))
        scales = scales[:, blocks] if axis else scales[blocks]
        more = -(-(last - first + padding) // scale.block) - scales.shape[axis]
        scales = np.pad(scales, _ends(more, axis), constant_values=1)
    return Side(np.pad(values, _ends(padding, axis)) if padding else values, side.format, scales)


def _ends(padding: int, axis: int) -> list[tuple[int, int]]:
    return [(0, padding if each == axis else 0) for each in range(2)]


def _reduced(unit: Unit, parts: list[Array], order: ReduceOrder) -> Array:
    """The sum of parts."""
    if order is ReduceOrder.DESCENDING:
        parts = parts[::-1]
    if order is not ReduceOrder.PAIRWISE:
        return list(accumulate(parts, lambda x, y: added(unit.instruction, x, y)))[-1]
    while len(parts) > 1:
        pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
        parts = [added(unit.instruction, *pair) if len(pair) > 1 else pair[0] for pair in pairs]
    return parts[0]
