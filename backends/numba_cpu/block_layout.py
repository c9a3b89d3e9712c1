"""Argument layout of a block kernel: a flat array of 64-bit numbers with named slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from statqat_sim.backends.numba_cpu.block_body import WIDEST
from statqat_sim.backends.numba_cpu.block_shape import ELEMENT, BlockShape, Extent
from statqat_sim.geometry import WHOLE
from statqat_sim.plan.philox import RANDOM

SLACK = 8 * WIDEST
"""Bytes that vectors may read and write beyond the end of a row of a buffer."""

NUMBERS = (
    *("start", "stop", "chunks", "bands"),  # tiles: those of this piece; in a row of tiles, in a matrix
    *("rows", "columns", "tile rows", "tile columns"),
    *("x", "out", "out row"),  # addresses of elements, and the bytes of a row of results
    *("seed", "offset"),  # the seed's address, and the index of the first element
    *("weights", "halvings"),  # the addresses of weights; log2 of a block's size, rounded up
)


class Buffer(NamedTuple):
    """Rows of numbers inside a tile: one for every `extent` of its elements."""

    name: str
    extent: Extent
    size: int = 4
    """Bytes of a number."""

    def row_bytes(self, tile_columns: int) -> int:
        columns = -(-tile_columns // self.extent.columns) if self.extent.columns else 1
        return -(-columns * self.size // 64) * 64 + SLACK

    def rows(self, tile_rows: int) -> int:
        return -(-tile_rows // self.extent.rows) if self.extent.rows else 1


ROW = Extent(WHOLE, 1)
"""The extent of a buffer with a single row: one number per column of a tile."""


def measured_name(stage: int, statistic: str) -> str:
    """The buffer name of a stage's own statistic."""
    return f"{stage}: {statistic}"


def result_name(result: str) -> str:
    """The buffer name of a stage's result."""
    return f"result: {result}"


def trial_name(result: str) -> str:
    """The buffer name of the current candidate's result."""
    return f"trial: {result}"


def source_name(name: str) -> str:
    """The buffer name of words that the caller passes."""
    return f"source: {name}"


def spread_name(name: str) -> str:
    """The buffer name of words repeated for every element of a row."""
    return f"spread: {name}"


def words_of(shape: BlockShape) -> dict[str, Extent]:
    """The extent of every named stream, except elements and a stage's own statistics."""
    named = {result: stage.extent for stage in shape.stages for result in stage.results if stage.plans}
    return {source.name: source.extent for source in shape.sources} | named


def buffers(shape: BlockShape) -> Iterator[Buffer]:
    """All buffers of a kernel."""
    for place, stage in enumerate(shape.stages):
        names = [measured_name(place, statistic.name) for statistic in stage.statistics]
        results = [result_name(result) for result in stage.results] if stage.plans else []
        yield from (Buffer(name, stage.extent) for name in (*names, *results))
        yield from (Buffer(spread_name(name), ROW) for name in names if not _is_plain(stage.extent))
    yield from (Buffer(source_name(source.name), source.extent) for source in shape.sources)
    yield from (Buffer(spread_name(name), ROW) for name, extent in words_of(shape).items() if not _is_plain(extent))
    yield Buffer("folded", ROW)
    if shape.draws is not None:
        yield Buffer(RANDOM, ROW)
    if shape.trial is not None:
        yield from _of_trials(shape)


def _of_trials(shape: BlockShape) -> Iterator[Buffer]:
    stage = shape.stages[-1]
    yield from (Buffer(trial_name(result), stage.extent) for result in stage.results)
    yield Buffer("terms", ELEMENT, 8)
    yield from (Buffer(name, stage.extent, 8) for name in ("errors", "least"))
    yield Buffer("halves", ROW, 8)


def _is_plain(extent: Extent) -> bool:
    """Whether vectors read such words without a buffer that repeats them, for inner blocks too: these divide outer."""
    return not extent.columns & (extent.columns - 1)


def names(shape: BlockShape, plans: int) -> tuple[str, ...]:
    """The names of a kernel's argument slots, in order."""
    outside = (*(f"from {source.name}" for source in shape.sources), *(f"to {stored.name}" for stored in shape.stored))
    inner = [name for buffer in buffers(shape) for name in (buffer.name, f"{buffer.name}, row")]
    numbers = [f"{kind} {plan}" for plan in range(plans) for kind in ("params", "tables")]
    return (*NUMBERS, *outside, *inner, *numbers)


def plan_count(shape: BlockShape) -> int:
    """How many plans a kernel has."""
    inner = sum(len(stage.statistics) + len(stage.plans) for stage in shape.stages)
    return inner + (shape.trial is not None) + (shape.element is not None)
