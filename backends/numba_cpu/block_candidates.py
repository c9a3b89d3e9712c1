"""Chooses, for each block of the last stage, the candidate with the least squared error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from llvmlite import ir
from numba.core import cgutils as untyped_cgutils

from statqat_sim.backends.numba_cpu.block_body import Array, Single, Source
from statqat_sim.backends.numba_cpu.block_layout import plan_count, result_name, trial_name
from statqat_sim.backends.numba_cpu.block_passes import Errors
from statqat_sim.backends.numba_cpu.block_shape import ELEMENT, Extent, StageShape
from statqat_sim.backends.numba_cpu.block_site import Site, block_count, least
from statqat_sim.backends.numba_cpu.block_stages import Stages
from statqat_sim.backends.numba_cpu.block_streams import Row, Streams
from statqat_sim.backends.numba_cpu.block_vector import F64, Value, pointer, splat, wide_at, word, word_at
from statqat_sim.backends.numba_cpu.vector import I32, LANES
from statqat_sim.geometry import Weighted
from statqat_sim.plan.block import ELEMENTS
from statqat_sim.plan.program import Storage

cgutils: Any = untyped_cgutils


class Candidates:
    """Prints the choice."""

    def __init__(self, site: Site, streams: Streams, stages: Stages) -> None:
        self.site, self.b, self.shape, self.streams, self.stages = site, site.b, site.shape, streams, stages

    def choose(self, place: int, stage: StageShape) -> None:
        """Try each candidate, and keep the best one of each block."""
        b, first = self.b, 0
        with self.site.each_row(word(len(stage.plans))) as trial:
            for _, alike in groupby(stage.plans):
                count = len(list(alike))
                further = b.sub(trial, word(first))  # wraps to a large number before the first of them
                with b.if_then(b.icmp_unsigned("<", further, word(count))):
                    self.stages.results(place, stage, further, first)
                first += count
            self._errors(stage.extent)
            self._take(stage, b.icmp_unsigned("==", trial, word(0)))

    def _errors(self, extent: Extent) -> None:
        """Compute every block's squared error with the current candidate's results."""
        shape = self.shape.trial
        assert shape is not None
        plan = self.site.plan(shape, plan_count(self.shape) - 2)
        x = next(place for place, stream in enumerate(shape.streams) if stream.name == ELEMENTS)
        is_summed = False
        with self.site.each_row(self.site.tile.rows) as row:
            self.streams.draw(shape, row)
            errors = Errors(plan, self.streams.of(shape, Row(ELEMENT, row), trial=True), x, self._weights(row))
            is_summed = extent.rows == 1 and errors.fits(extent.columns)
            if is_summed:
                errors.store_sums(self.site.here, extent.columns, self.site.at("errors", row), self.site.tile.columns)
            else:
                errors.store(self.site.here, self.site.at("terms", row), self.site.tile.columns)
        if not is_summed:
            self._sum(extent)

    def _weights(self, row: Value) -> Source | None:
        b, tile, weighted = self.b, self.site.tile, self.shape.weighted
        if weighted is None:
            return None
        if weighted is Weighted.ROW:
            return Single(wide_at(b, self.site.number("weights"), b.add(tile.row, row)))
        return Array(wide_at(b, self.site.number("weights"), tile.column), Storage.FLOAT64)

    def _sum(self, extent: Extent) -> None:
        """Errors of blocks, in the one order that all backends share: by halves of a power of two."""
        if extent.columns == 1:
            self._sum_columns(extent)
        else:
            self._sum_blocks(extent)

    def _sum_columns(self, extent: Extent) -> None:
        """Blocks of one column: whole rows are added, `LANES` columns at a time."""
        b, kind = self.b, ir.VectorType(F64, LANES)
        size = word(extent.rows) if extent.rows else self.site.tile.rows
        with self.site.each_row(self.site.height(extent)) as band:
            first = b.mul(band, size)
            rows = least(b, size, b.sub(self.site.tile.rows, first))
            with self._each_half() as half:
                upper = least(b, half, b.sub(most(b, rows, half), half))
                with (
                    self.site.each_row(upper) as row,
                    self.site.each_row(block_count(b, self.site.tile.columns, LANES)) as part,
                ):
                    start = b.mul(part, word(LANES))
                    low, high = (
                        pointer(b, wide_at(b, self.site.at("terms", b.add(first, one)), start), kind)
                        for one in (row, b.add(row, half))
                    )
                    b.store(b.fadd(b.load(low, align=8), b.load(high, align=8)), low, align=8)
            source, target = self.site.at("terms", first), self.site.at("errors", band)
            _copy(b, target, source, b.mul(self.site.tile.columns, word(8)))

    def _sum_blocks(self, extent: Extent) -> None:
        """Any blocks, one by one."""
        b, tile = self.b, self.site.tile
        high, wide = (word(size) if size else whole for size, whole in zip(extent, tile[3:], strict=True))
        halves = self.site.at("halves")
        with (
            self.site.each_row(self.site.height(extent)) as down,
            self.site.each_row(self.site.width(extent)) as across,
        ):
            first_row, first = b.mul(down, high), b.mul(across, wide)
            columns = least(b, wide, b.sub(tile.columns, first))
            size = b.shl(word(1), self.site.number("halvings"))
            cgutils.memset(b, pointer(b, halves, ir.IntType(8)), b.mul(size, word(8)), 0)
            with self.site.each_row(least(b, high, b.sub(tile.rows, first_row))) as row:
                source = wide_at(b, self.site.at("terms", b.add(first_row, row)), first)
                _copy(b, wide_at(b, halves, b.mul(row, wide)), source, b.mul(columns, word(8)))
            with self._each_half() as half, self.site.each_row(half) as place:
                low, high_half = (pointer(b, wide_at(b, halves, one), F64) for one in (place, b.add(place, half)))
                b.store(b.fadd(b.load(low), b.load(high_half)), low)
            b.store(b.load(pointer(b, halves, F64)), pointer(b, wide_at(b, self.site.at("errors", down), across), F64))

    @contextmanager
    def _each_half(self) -> Iterator[Value]:
        """Half the power of two that a block's elements fill, half of that, … 1."""
        b, steps = self.b, self.site.number("halvings")
        with self.site.each_row(steps) as step:
            yield b.shl(word(1), b.sub(b.sub(steps, step), word(1)))

    def _take(self, stage: StageShape, is_first: Value) -> None:
        """Keep a candidate where its error is less."""
        b, wide, words = self.b, ir.VectorType(F64, LANES), ir.VectorType(I32, LANES)
        kept = [name for name in stage.results if self.shape.reads(name)]
        with self.site.each_row(self.site.height(stage.extent)) as row:
            width = self.site.width(stage.extent)
            with self.site.each_row(block_count(b, width, LANES)) as part:
                start = b.mul(part, word(LANES))
                errors, least = (wide_at(b, self.site.at(name, row), start) for name in ("errors", "least"))
                error, before = (b.load(pointer(b, one, wide), align=8) for one in (errors, least))
                infinite = ir.Constant(wide, [float("inf")] * LANES)
                error = b.select(b.fcmp_unordered("uno", error, error), infinite, error)
                better = b.or_(b.fcmp_ordered("<", error, before), splat(b, is_first, LANES))
                b.store(b.select(better, error, before), pointer(b, least, wide), align=8)
                for name in kept:
                    new, old = (
                        pointer(b, word_at(b, self.site.at(one, row), start), words)
                        for one in (trial_name(name), result_name(name))
                    )
                    chosen = b.select(better, b.load(new, align=4), b.load(old, align=4))
                    b.store(chosen, old, align=4)


def most(b: Value, left: Value, right: Value) -> Value:
    """The larger count."""
    return b.select(b.icmp_unsigned("<", left, right), right, left)


def _copy(b: Value, target: Value, source: Value, count: Value) -> None:
    cgutils.raw_memcpy(b, *(pointer(b, one, ir.IntType(8)) for one in (target, source)), count, 1)
