"""Splits arrays where their last whole blocks end: torch's compiler makes slow loops of padded blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import takewhile
from typing import TypeAlias

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.block_stages import Found, Programs, StagePrograms
from statqat_sim.backends.torch_ops.grids import Grids, tiling_of
from statqat_sim.geometry import Geometry, block_sizes, is_whole_array
from statqat_sim.plan.block import ELEMENTS, BlockPlan

Part: TypeAlias = Callable[[Tensor, Geometry], Tensor]
"""A function from a part of an array to its quantized values."""


def fake_quantized(x: Tensor, geometry: Geometry, plan: BlockPlan, programs: Programs) -> Tensor:
    """Quantized values of float32 elements, part by part; scales of the whole array are computed first."""
    count = len(list(takewhile(lambda stage: is_whole_array(stage.block), programs.stages)))
    whole = Found(Grids(geometry), x.device)
    whole.put_elements(x, programs.stages[:count])
    for stage in programs.stages[:count]:
        whole.do(stage, programs.fake_quantize, None, None)

    def values(part: Tensor, inside: Geometry) -> Tensor:
        found = Found(tiling_of(inside, plan), part.device)
        found.put_elements(part, programs.stages[count:])
        for stage in programs.stages[:count]:
            shape = found.tiling.shape(stage.block)
            found.add(stage, tuple(whole.known[name].reshape(shape) for name in stage.results))
        for stage in programs.stages[count:]:
            found.do(stage, programs.fake_quantize, None, None)
        return found.values(programs.fake_quantize)

    inner = programs.stages[count:]
    steps = _steps(geometry, inner)
    if _is_ragged(geometry.rows, steps[0]) and _is_ragged(geometry.columns, steps[1]) and _may_be_filled(inner):
        return _by_edges(x, geometry, *steps, values)
    return _in_parts(x, geometry, steps, values)


def _steps(geometry: Geometry, stages: list[StagePrograms]) -> tuple[int, int]:
    """The fewest rows and columns that are whole blocks of every size; 0 where blocks extend to the array's end."""
    sizes = [block_sizes(stage.block, along_rows=geometry.along_rows) for stage in stages]
    rows, columns = zip(*sizes, strict=True) if sizes else ((0,), (0,))
    return reduce(_common, rows), reduce(_common, columns)


def _common(one: int, other: int) -> int:
    """The least common multiple; `math.lcm` cannot be traced with symbolic shapes."""
    rest, divisor = one, other
    while divisor:
        rest, divisor = divisor, rest % divisor
    return one * other // rest if rest else 0


def _is_ragged(length: int, step: int) -> bool:
    """Whether the last block is cut off and is not the only one."""
    return bool(step) and 0 < length % step < length


def _may_be_filled(stages: list[StagePrograms]) -> bool:
    """Whether duplicated elements in a block change no result: all statistics are maxima over elements."""
    return all(len(stage.programs) == 1 and all(key.of == ELEMENTS for key in stage.keys) for stage in stages)


def _by_edges(x: Tensor, geometry: Geometry, high: int, wide: int, values: Part) -> Tensor:
    """For two ragged axes: the blocks at both edges are filled up and stacked in one matrix.

    The compiler generates code for every part, which takes seconds; this makes two parts, not four.
    """
    matrices = x.reshape(geometry.batch, geometry.rows, geometry.columns)
    rows, columns = geometry.rows // high * high, geometry.columns // wide * wide
    right = _filled(_filled(matrices[:, :, columns:], 2, wide), 1, high)
    below = _filled(matrices[:, rows:, :columns], 1, high)
    below = below.reshape(geometry.batch, high, -1, wide).swapaxes(1, 2).flatten(1, 2)
    edges = torch.cat([right, below], 1)
    right, below = torch.split(values(edges, _of(geometry, edges)), [right.shape[1], below.shape[1]], 1)
    below = below.reshape(geometry.batch, -1, high, wide).swapaxes(1, 2).flatten(2, 3)
    inside = matrices[:, :rows, :columns]
    left = torch.cat([values(inside, _of(geometry, inside)), below[:, : geometry.rows - rows]], 1)
    whole = torch.cat([left, right[:, : geometry.rows, : geometry.columns - columns]], 2)
    return whole.reshape(geometry.shape)


def _filled(part: Tensor, axis: int, step: int) -> Tensor:
    """Fill up to whole blocks along an axis by repeating the last element of each line."""
    missing = -part.shape[axis] % step
    shape = [missing if each == axis else -1 for each in range(part.ndim)]
    last = part.narrow(axis, part.shape[axis] - 1, 1)
    return torch.cat([part, last.expand(shape)], axis)


def _of(geometry: Geometry, matrices: Tensor) -> Geometry:
    """The geometry of matrices `(batch, rows, columns)` with the same blocks."""
    batch, rows, columns = shape = tuple(matrices.shape)
    return Geometry(shape, 2, batch, rows, columns, geometry.along_rows)


def _in_parts(x: Tensor, geometry: Geometry, steps: tuple[int, int], values: Part) -> Tensor:
    lengths, axes = (geometry.rows, geometry.columns), (-2 if geometry.along_rows else geometry.axis, -1)
    for which, (length, step, axis) in enumerate(zip(lengths, steps, axes, strict=True)):
        rest = length % step if step else 0
        if 0 < rest < length:
            pieces = x.narrow(axis, 0, length - rest), x.narrow(axis, length - rest, rest)
            insides = [_inside(geometry, piece, axis, which) for piece in pieces]
            parts = [_in_parts(*each, steps, values) for each in zip(pieces, insides, strict=True)]
            return torch.cat(parts, axis)
    return values(x, geometry)


def _inside(geometry: Geometry, piece: Tensor, axis: int, which: int) -> Geometry:
    """The geometry of a piece cut along `axis`, which holds its rows (`which` 0) or columns (1)."""
    count, shape = piece.shape[axis], tuple(piece.shape)
    rows, columns = (geometry.rows, count) if which else (count, geometry.columns)
    return Geometry(shape, geometry.axis, geometry.batch, rows, columns, geometry.along_rows)
