"""Stages of a block format: statistics of a tile's blocks, and the words that follow from them."""

from __future__ import annotations

from statqat_sim.backends.numba_cpu.block_body import Array, Plan, maxima_lanes
from statqat_sim.backends.numba_cpu.block_layout import (
    measured_name,
    result_name,
    source_name,
    trial_name,
)
from statqat_sim.backends.numba_cpu.block_passes import maximum, store_maxima, store_words, write_row
from statqat_sim.backends.numba_cpu.block_shape import (
    ELEMENT,
    Extent,
    StageShape,
    StatisticShape,
    Words,
)
from statqat_sim.backends.numba_cpu.block_site import Site, block_count, copying, least
from statqat_sim.backends.numba_cpu.block_streams import Row, Streams
from statqat_sim.backends.numba_cpu.block_vector import Value, pointer, word, word_at
from statqat_sim.backends.numba_cpu.vector import I32
from statqat_sim.geometry import WHOLE
from statqat_sim.plan.block import ELEMENTS
from statqat_sim.plan.program import Storage


class Stages:
    """Prints the stages."""

    def __init__(self, site: Site, streams: Streams) -> None:
        self.site, self.b, self.shape, self.streams = site, site.b, site.shape, streams

    def read(self, source: Words) -> None:
        """Read a tile's part of a caller's array into a buffer of 32-bit words."""
        with self.site.each_row(self.site.height(source.extent)) as row:
            outside = Array(self.site.outside(f"from {source.name}", source, row), source.storage, ends=True)
            target = {0: self.site.at(source_name(source.name), row)}
            plan = copying(source.storage, Storage.UINT32)
            store_words(self.site.here, plan, [outside], target, self.site.width(source.extent))

    def store_results(self, extent: Extent) -> None:
        """Write the stored results of blocks of this extent to the caller's arrays."""
        for stored in self.shape.stored:
            if stored.extent == extent:
                with self.site.each_row(self.site.height(extent)) as row:
                    outside = Array(self.site.outside(f"to {stored.name}", stored, row), stored.storage)
                    words = Array(self.site.at(result_name(stored.name), row))
                    plan = copying(Storage.UINT32, stored.storage)
                    write_row(self.site.here, plan, [words], outside, self.site.width(extent))

    def results(self, place: int, stage: StageShape, trial: Value | None = None, first: int = 0) -> None:
        """A stage's words, or those of one of its candidates: `trial` places after the `first` one."""
        shape = stage.plans[first]
        plan = self.site.plan(shape, self.site.first_plan(place) + len(stage.statistics) + first, trial)
        with self.site.each_row(self.site.height(stage.extent)) as row:
            sources = self.streams.of(shape, Row(stage.extent, row, place))
            targets = {
                output: self.site.at(trial_name(name) if trial is not None else result_name(name), row)
                for output, name in enumerate(stage.results)
                if self.shape.reads(name)
            }
            store_words(self.site.here, plan, sources, targets, self.site.width(stage.extent))

    def statistic(self, place: int, stage: StageShape, statistic: StatisticShape) -> None:
        """The largest key of every block of the tile."""
        b = self.b
        grid = ELEMENT if statistic.of == ELEMENTS else self.site.words[statistic.of]
        high, wide = (ratio(outer, inner) for outer, inner in zip(stage.extent, grid, strict=True))
        plan = self.site.plan(statistic.key, self.site.first_plan(place) + stage.statistics.index(statistic))
        name, rows = measured_name(place, statistic.name), self.site.height(grid)
        with self.site.each_row(rows) as row:
            block_row = b.udiv(row, word(high)) if high else word(0)
            in_block = b.sub(row, b.mul(block_row, word(high)))
            target, here = self.site.at(name, block_row), Row(grid, row, place, in_block, wide, high)
            if high == 1:
                self._maxima(plan, here, target)
            else:
                self._maxima_of_rows(plan, here, target, self._is_last(row, rows, high))

    def _maxima_of_rows(self, plan: Plan, row: Row, target: Value, is_last: Value) -> None:
        """Join one row to the others of its blocks; after the last one the columns of a block are joined."""
        assert row.in_block is not None
        is_first, count = self.b.icmp_unsigned("==", row.in_block, word(0)), self.site.width(row.grid)
        joined = target if row.size == 1 else self.site.at("folded")
        store_maxima(self.site.here, plan, self.streams.of(plan.shape, row), 1, joined, count, is_first=is_first)
        if row.size != 1:
            with self.b.if_then(is_last):
                self._fold(joined, row.size, target, count)

    def _is_last(self, row: Value, rows: Value, size: int) -> Value:
        """Whether a block ends with this row; of a whole one, the tile."""
        b, after = self.b, self.b.add(row, word(1))
        ends = b.icmp_unsigned("==", after, rows)
        return b.or_(ends, b.icmp_unsigned("==", b.urem(after, word(size)), word(0))) if size else ends

    def _maxima(self, plan: Plan, row: Row, target: Value) -> None:
        """Compute the maxima of blocks that lie inside one row."""
        b, count, size = self.b, self.site.width(row.grid), row.size
        if maxima_lanes(plan.shape, size) is not None:
            store_maxima(self.site.here, plan, self.streams.of(plan.shape, row), size, target, count)
        elif not size:
            b.store(maximum(self.site.here, plan, self.streams.of(plan.shape, row), count), pointer(b, target, I32))
        else:
            with self.site.each_row(block_count(b, count, size)) as block:
                sources = self.streams.of(plan.shape, row, block)
                within = least(b, word(size), b.sub(count, b.mul(block, word(size))))
                b.store(maximum(self.site.here, plan, sources, within), pointer(b, word_at(b, target, block), I32))

    def _fold(self, words: Value, size: int, target: Value, count: Value) -> None:
        """The maxima of a row of words by blocks."""
        b, plan = self.b, copying(Storage.UINT32, Storage.UINT32)
        if maxima_lanes(plan.shape, size) is not None:
            store_maxima(self.site.here, plan, [Array(words)], size, target, count)
        elif not size:
            b.store(maximum(self.site.here, plan, [Array(words)], count), pointer(b, target, I32))
        else:
            with self.site.each_row(block_count(b, count, size)) as block:
                first = b.mul(block, word(size))
                within = least(b, word(size), b.sub(count, first))
                most = maximum(self.site.here, plan, [Array(word_at(b, words, first))], within)
                b.store(most, pointer(b, word_at(b, target, block), I32))

    def measure(self) -> None:
        """Join this tile to the last statistic of the last stage."""
        b, place = self.b, len(self.shape.stages) - 1
        stage = self.shape.stages[place]
        statistic = stage.statistics[-1]
        grid = ELEMENT if statistic.of == ELEMENTS else self.site.words[statistic.of]
        plan = self.site.plan(statistic.key, self.site.first_plan(place) + len(stage.statistics) - 1)
        joined = pointer(b, self.site.at(measured_name(place, statistic.name)), I32)
        with self.site.each_row(self.site.height(grid)) as row:
            sources = self.streams.of(statistic.key, Row(grid, row, place))
            most = maximum(self.site.here, plan, sources, self.site.width(grid))
            before = b.load(joined)
            b.store(b.select(b.icmp_unsigned("<", before, most), most, before), joined)


def ratio(outer: int, inner: int) -> int:
    """The number of inner blocks along an outer one; `WHOLE` if it depends on the array."""
    return outer // inner if outer else (1 if inner == WHOLE else WHOLE)
