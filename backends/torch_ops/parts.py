"""Arrays cut where their last whole blocks end: torch's compiler makes slow loops of blocks that are filled up."""

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
from statqat_sim.plan.block import BlockPlan

Part: TypeAlias = Callable[[Tensor, Geometry], Tensor]
"""From a part of an array to its values."""


def fake_quantized(x: Tensor, geometry: Geometry, plan: BlockPlan, programs: Programs) -> Tensor:
    """The values of float32 elements, part by part; scales of the whole array are found first."""
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

    return _in_parts(x, geometry, _steps(geometry, programs.stages[count:]), values)


def _steps(geometry: Geometry, stages: list[StagePrograms]) -> tuple[int, int]:
    """How many rows and columns hold whole blocks of every size; 0 where blocks end with the array."""
    sizes = [block_sizes(stage.block, along_rows=geometry.along_rows) for stage in stages]
    rows, columns = zip(*sizes, strict=True) if sizes else ((0,), (0,))
    return reduce(_common, rows), reduce(_common, columns)


def _common(one: int, other: int) -> int:
    """The least common multiple; `math.lcm` cannot be traced where shapes may change."""
    rest, divisor = one, other
    while divisor:
        rest, divisor = divisor, rest % divisor
    return one * other // rest if rest else 0


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
    """The geometry of a piece that has fewer rows (0) or columns (1), which lie along an axis."""
    count, shape = piece.shape[axis], tuple(piece.shape)
    rows, columns = (geometry.rows, count) if which else (count, geometry.columns)
    return Geometry(shape, geometry.axis, geometry.batch, rows, columns, geometry.along_rows)
