"""Prints a block format as one loop over the tiles of an array: stages, scales, elements. See `vector`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

from statqat_sim.backends.numba_cpu.block_layout import (
    measured_name,
    names,
    plan_count,
    result_name,
    source_name,
    spread_name,
    trial_name,
    words_of,
)
from statqat_sim.backends.numba_cpu.block_shape import (
    ELEMENT,
    RANDOM,
    TENSOR,
    WHOLE,
    BlockShape,
    Extent,
    Purpose,
    StageShape,
    StatisticShape,
    Weighted,
    Words,
)
from statqat_sim.backends.numba_cpu.block_vector import (
    F64,
    Array,
    Here,
    Places,
    Plan,
    Single,
    Source,
    Spread,
    Value,
    by_halves,
    fadd,
    fitting_lanes,
    is_regular,
    maxima_lanes,
    maximum,
    pointer,
    splat,
    spread_words,
    store_errors,
    store_maxima,
    store_words,
    wide_at,
    word,
    word_at,
    write_row,
)
from statqat_sim.backends.numba_cpu.processor import Processor
from statqat_sim.backends.numba_cpu.vector import I32, I64, LANES, Feed, Variant, _Printer
from statqat_sim.plan.block import ELEMENTS, INDEX
from statqat_sim.plan.philox import BLOCK_BITS, philox
from statqat_sim.plan.program import Op, Packed, PlanShape, Step, Storage, Stream

cgutils: Any = untyped_cgutils

CODES = "codes"


def tiles(shape: BlockShape) -> Any:
    """An intrinsic that takes the address of the numbers that `block_layout.names` names."""

    @intrinsic
    def run(_: Any, numbers: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, _, features = context.codegen().magic_tuple()
            TilePrinter(Here(builder, Processor.of_features(features)), shape, arguments[0]).tiles()
            return context.get_dummy_value()

        return types.void(types.uintp), generate

    return run


def copying(source: Storage, result: Storage) -> PlanShape:
    """The plan that widens or narrows words."""
    return PlanShape((Step(Op.INPUT),), (Stream("word", source),), (), (), result, (0,))


class Row(NamedTuple):
    """One row of a grid inside a tile: of its elements, or of the words of blocks of one extent."""

    grid: Extent
    place: Value
    """Which row of the tile."""

    stage: int | None = None
    """Whose statistics are at hand."""

    in_block: Value | None = None
    """Which row of the larger block whose statistic is taken."""

    size: int = 0
    """Columns of that block; 0: all."""

    high: int = 1
    """Rows of that block; 0: all."""


class Tile(NamedTuple):
    """A part of one matrix."""

    batch: Value
    row: Value  # its first one
    column: Value
    rows: Value  # how many
    columns: Value


class TilePrinter:
    """Emits a kernel at the builder's position."""

    def __init__(self, here: Here, shape: BlockShape, numbers: Value) -> None:
        self.here, self.b, self.shape, self.numbers = here, here.b, shape, numbers
        self.places = {name: place for place, name in enumerate(names(shape, plan_count(shape)))}
        self.words = words_of(shape)
        self.rows, self.columns = self._number("rows"), self._number("columns")
        self.tile: Any = None

    def tiles(self) -> None:
        """Stages of the whole array, then the tiles from `start` to `stop`."""
        b = self.b
        zero = word(0)
        self.tile = Tile(zero, zero, zero, word(1), word(1))
        for source in self.shape.sources:
            if source.extent == TENSOR:
                self._read(source)
        for place, stage in enumerate(self.shape.stages):
            if stage.extent == TENSOR and stage.plans:
                self._results(place, stage)
        with b.if_then(b.icmp_unsigned("==", self._number("start"), zero)):
            self._store_results(TENSOR)
        bands, chunks = self._number("bands"), self._number("chunks")
        with cgutils.for_range(b, self._number("stop"), self._number("start"), intp=I64) as tile:
            chunk, above = b.urem(tile.index, chunks), b.udiv(tile.index, chunks)
            self._tile(b.udiv(above, bands), b.urem(above, bands), chunk)

    def _tile(self, batch: Value, band: Value, chunk: Value) -> None:
        b, high, wide = self.b, self._number("tile rows"), self._number("tile columns")
        row, column = b.mul(band, high), b.mul(chunk, wide)
        rows, columns = (
            _least(b, size, b.sub(end, first))
            for size, end, first in ((high, self.rows, row), (wide, self.columns, column))
        )
        self.tile = Tile(batch, row, column, rows, columns)
        for source in self.shape.sources:
            if source.extent != TENSOR:
                self._read(source)
        for place, stage in self.shape.tiled:
            for statistic in stage.statistics:
                self._statistic(place, stage, statistic)
            if len(stage.plans) > 1:
                self._choose(place, stage)
            elif stage.plans:
                self._results(place, stage)
            self._store_results(stage.extent)
        if self.shape.purpose is Purpose.MEASURE:
            self._measure()
        else:
            self._elements()

    # --- where things are ---------------------------------------------------------------------------------------

    def _number(self, name: str) -> Value:
        return self.b.load(self.b.gep(pointer(self.b, self.numbers, I64), [word(self.places[name])]))

    def _plan(self, shape: PlanShape, place: int, further: Value | None = None) -> Plan:
        """A plan with its numbers; `further` plans on, of the same shape."""
        b = self.b
        first = word(self.places[f"params {place}"])
        at = first if further is None else b.add(first, b.mul(further, word(2)))
        start = pointer(b, self.numbers, I64)
        return Plan(shape, b.load(b.gep(start, [at])), b.load(b.gep(start, [b.add(at, word(1))])))

    def _copying(self, source: Storage, result: Storage) -> Plan:
        return Plan(copying(source, result), word(0), word(0))

    def _first_plan(self, stage: int) -> int:
        """The place of a stage's first key among all plans."""
        return sum(len(one.statistics) + len(one.plans) for one in self.shape.stages[:stage])

    def _at(self, name: str, row: Value | None = None) -> Value:
        """The address of a row of a buffer."""
        start = self._number(name)
        return start if row is None else self.b.add(start, self.b.mul(row, self._number(f"{name}, row")))

    def _height(self, extent: Extent) -> Value:
        """Rows of blocks in this tile."""
        return word(1) if extent.rows == WHOLE else _blocks(self.b, self.tile.rows, extent.rows)

    def _width(self, extent: Extent) -> Value:
        return word(1) if extent.columns == WHOLE else _blocks(self.b, self.tile.columns, extent.columns)

    def _outside(self, start: str, words: Words, row: Value) -> Value:
        """The address of a row of words in an array that has one for each block of the whole array."""
        b, tile, extent = self.b, self.tile, words.extent
        if extent == TENSOR:
            return self._number(start)
        down = word(1) if extent.rows == WHOLE else _blocks(b, self.rows, extent.rows)
        across = word(1) if extent.columns == WHOLE else _blocks(b, self.columns, extent.columns)
        first_row = word(0) if extent.rows == WHOLE else b.udiv(tile.row, word(extent.rows))
        first = word(0) if extent.columns == WHOLE else b.udiv(tile.column, word(extent.columns))
        index = b.add(b.mul(b.add(b.mul(tile.batch, down), b.add(first_row, row)), across), first)
        return b.add(self._number(start), b.mul(index, word(words.storage.bits // 8)))

    def _element(self, row: Value) -> Value:
        """The index, in the array, of the first element of a row of the tile."""
        b, tile = self.b, self.tile
        return b.add(b.mul(b.add(b.mul(tile.batch, self.rows), b.add(tile.row, row)), self.columns), tile.column)

    @contextmanager
    def _each_row(self, count: Value) -> Iterator[Value]:
        with cgutils.for_range(self.b, count, intp=I64) as row:
            yield row.index

    # --- streams ------------------------------------------------------------------------------------------------

    def _sources(self, plan: PlanShape, row: Row, block: Value | None = None, *, trial: bool = False) -> list[Source]:
        """A plan's streams in a row; or in one block of it, whose place is given."""
        fits = row.in_block is None and fitting_lanes(plan, self._sizes(plan, row)) is not None
        return [self._source(stream, row, block, trial, fits) for stream in plan.streams]

    def _sizes(self, plan: PlanShape, row: Row) -> list[int]:
        """Of the blocks whose words a plan reads, in columns of the row's grid."""
        extents = [self.words[stream.name] for stream in plan.streams if stream.name in self.words]
        return [extent.columns // max(row.grid.columns, 1) for extent in extents if extent.columns != WHOLE]

    def _source(self, stream: Stream, row: Row, block: Value | None, trial: bool, fits: bool) -> Source:
        b, name, storage = self.b, stream.name, stream.storage
        assert not isinstance(storage, Packed), name
        first = word(0) if block is None else b.mul(block, word(row.size))
        if name in (ELEMENTS, CODES) and row.grid == ELEMENT:
            index = b.add(self._element(row.place), first)
            address = b.add(self._number("x"), b.mul(index, word(storage.bits // 8)))
            next_row = b.mul(self.columns, word(storage.bits // 8)) if row.high != 1 else None
            return Array(address, storage, ends=True, next_row=next_row)
        if name == RANDOM:
            per_block = BLOCK_BITS // storage.bits
            index = b.add(self._number("offset"), self._element(row.place))
            skipped = b.mul(b.urem(index, word(per_block)), word(storage.bits // 8))
            return Array(b.add(self._at("random"), skipped), storage)
        if name == INDEX:
            return self._index(row, block)
        extent = self.words.get(name)
        own = row.stage is not None and name in [one.name for one in self.shape.stages[row.stage].statistics]
        if own:
            assert row.stage is not None
            name, extent = measured_name(row.stage, name), self.shape.stages[row.stage].extent
        assert extent is not None, f"no stream is named {name}"
        return self._repeated(self._home(name, trial, own), spread_name(name), extent, row, block, fits)

    def _home(self, name: str, trial: bool, own: bool) -> str:
        """The buffer of a stream's words."""
        if own:
            return name
        if trial and name in self.shape.stages[-1].results:
            return trial_name(name)
        is_source = name in {source.name for source in self.shape.sources}
        return source_name(name) if is_source else result_name(name)

    def _index(self, row: Row, block: Value | None) -> Source:
        if row.in_block is None:  # of the whole array
            return Places(self._element(row.place), 0)
        size = row.size or 1
        return Places(self.b.mul(row.in_block, word(size)), 0 if block is not None else row.size)

    def _repeated(self, name: str, spread_to: str, extent: Extent, row: Row, block: Value | None, fits: bool) -> Source:
        """Words of blocks that contain, or are, the elements of a row."""
        b, grid = self.b, row.grid
        if extent.rows == WHOLE:
            address = self._at(name)
        else:
            address = self._at(name, b.udiv(row.place, word(extent.rows // max(grid.rows, 1))))
        if extent.columns == WHOLE:
            return Single(address) if grid.columns != WHOLE else Array(address)
        size = extent.columns // max(grid.columns, 1)
        if block is not None and size % row.size == 0:
            return Single(word_at(b, address, b.udiv(b.mul(block, word(row.size)), word(size))))
        if size > 1 and not fits and not is_regular(size):
            spread = self._at(spread_to)
            spread_words(b, address, size, spread, self._width(grid))
            address, size = spread, 1
        if block is not None:
            address = word_at(b, address, b.udiv(b.mul(block, word(row.size)), word(size)))
        return Spread(address, size) if size > 1 else Array(address)

    # --- stages -------------------------------------------------------------------------------------------------

    def _read(self, source: Words) -> None:
        """Words from outside, as words."""
        with self._each_row(self._height(source.extent)) as row:
            outside = Array(self._outside(f"from {source.name}", source, row), source.storage, ends=True)
            target = {0: self._at(source_name(source.name), row)}
            plan = self._copying(source.storage, Storage.UINT32)
            store_words(self.here, plan, [outside], target, self._width(source.extent))

    def _store_results(self, extent: Extent) -> None:
        """Those that are kept, of blocks of one extent."""
        for stored in self.shape.stored:
            if stored.extent == extent:
                with self._each_row(self._height(extent)) as row:
                    outside = Array(self._outside(f"to {stored.name}", stored, row), stored.storage)
                    words = Array(self._at(result_name(stored.name), row))
                    plan = self._copying(Storage.UINT32, stored.storage)
                    write_row(self.here, plan, [words], outside, self._width(extent))

    def _results(self, place: int, stage: StageShape, trial: Value | None = None, first: int = 0) -> None:
        """A stage's words, or those of one of its candidates: `trial` places after the `first` one."""
        shape = stage.plans[first]
        plan = self._plan(shape, self._first_plan(place) + len(stage.statistics) + first, trial)
        with self._each_row(self._height(stage.extent)) as row:
            sources = self._sources(shape, Row(stage.extent, row, place))
            targets = {
                output: self._at(trial_name(name) if trial is not None else result_name(name), row)
                for output, name in enumerate(stage.results)
                if self._is_used(name)
            }
            store_words(self.here, plan, sources, targets, self._width(stage.extent))

    def _is_used(self, result: str) -> bool:
        """Whether anybody reads a result."""
        shape = self.shape
        plans = [plan for plan in (shape.element, shape.trial) if plan is not None]
        plans += [plan for stage in shape.stages for plan in (*stage.plans, *(one.key for one in stage.statistics))]
        read = {stream.name for plan in plans for stream in plan.streams}
        return result in read | {stored.name for stored in shape.stored}

    def _statistic(self, place: int, stage: StageShape, statistic: StatisticShape) -> None:
        """The largest key of every block of the tile."""
        b = self.b
        grid = ELEMENT if statistic.of == ELEMENTS else self.words[statistic.of]
        high, wide = (_ratio(outer, inner) for outer, inner in zip(stage.extent, grid, strict=True))
        plan = self._plan(statistic.key, self._first_plan(place) + stage.statistics.index(statistic))
        name, rows = measured_name(place, statistic.name), self._height(grid)
        with self._each_row(rows) as row:
            block_row = b.udiv(row, word(high)) if high else word(0)
            in_block = b.sub(row, b.mul(block_row, word(high)))
            target, here = self._at(name, block_row), Row(grid, row, place, in_block, wide, high)
            if high == 1:
                self._maxima(plan, here, target)
            else:
                self._maxima_of_rows(plan, here, target, self._is_last(row, rows, high))

    def _maxima_of_rows(self, plan: Plan, row: Row, target: Value, is_last: Value) -> None:
        """Join one row to the others of its blocks; after the last one the columns of a block are joined."""
        assert row.in_block is not None
        is_first, count = self.b.icmp_unsigned("==", row.in_block, word(0)), self._width(row.grid)
        joined = target if row.size == 1 else self._at("folded")
        store_maxima(self.here, plan, self._sources(plan.shape, row), 1, joined, count, is_first=is_first)
        if row.size != 1:
            with self.b.if_then(is_last):
                self._fold(joined, row.size, target, count)

    def _is_last(self, row: Value, rows: Value, size: int) -> Value:
        """Whether a block ends with this row; of a whole one, the tile."""
        b, after = self.b, self.b.add(row, word(1))
        ends = b.icmp_unsigned("==", after, rows)
        return b.or_(ends, b.icmp_unsigned("==", b.urem(after, word(size)), word(0))) if size else ends

    def _maxima(self, plan: Plan, row: Row, target: Value) -> None:
        """Of blocks inside one row."""
        b, count, size = self.b, self._width(row.grid), row.size
        if maxima_lanes(plan.shape, size) is not None:
            store_maxima(self.here, plan, self._sources(plan.shape, row), size, target, count)
        elif not size:
            b.store(maximum(self.here, plan, self._sources(plan.shape, row), count), pointer(b, target, I32))
        else:
            with self._each_row(_blocks(b, count, size)) as block:
                sources = self._sources(plan.shape, row, block)
                within = _least(b, word(size), b.sub(count, b.mul(block, word(size))))
                b.store(maximum(self.here, plan, sources, within), pointer(b, word_at(b, target, block), I32))

    def _fold(self, words: Value, size: int, target: Value, count: Value) -> None:
        """The maxima of a row of words by blocks."""
        b, plan = self.b, self._copying(Storage.UINT32, Storage.UINT32)
        if maxima_lanes(plan.shape, size) is not None:
            store_maxima(self.here, plan, [Array(words)], size, target, count)
        elif not size:
            b.store(maximum(self.here, plan, [Array(words)], count), pointer(b, target, I32))
        else:
            with self._each_row(_blocks(b, count, size)) as block:
                first = b.mul(block, word(size))
                within = _least(b, word(size), b.sub(count, first))
                most = maximum(self.here, plan, [Array(word_at(b, words, first))], within)
                b.store(most, pointer(b, word_at(b, target, block), I32))

    def _measure(self) -> None:
        """Join this tile to the last statistic of the last stage."""
        b, place = self.b, len(self.shape.stages) - 1
        stage = self.shape.stages[place]
        statistic = stage.statistics[-1]
        grid = ELEMENT if statistic.of == ELEMENTS else self.words[statistic.of]
        plan = self._plan(statistic.key, self._first_plan(place) + len(stage.statistics) - 1)
        joined = pointer(b, self._at(measured_name(place, statistic.name)), I32)
        with self._each_row(self._height(grid)) as row:
            sources = self._sources(statistic.key, Row(grid, row, place))
            most = maximum(self.here, plan, sources, self._width(grid))
            before = b.load(joined)
            b.store(b.select(b.icmp_unsigned("<", before, most), most, before), joined)

    # --- elements -----------------------------------------------------------------------------------------------

    def _elements(self) -> None:
        shape = self.shape.element
        assert shape is not None
        plan = self._plan(shape, plan_count(self.shape) - 1)
        has_rows = any(extent.rows != 1 for extent in self.shape.extents if extent != TENSOR)
        next_row = self._number("out row") if has_rows else None
        with self._each_row(self.tile.rows) as row:
            self._draw(shape, row)
            sources = self._sources(shape, Row(ELEMENT, row))
            target = Array(self._out(shape.result, row), shape.result, next_row=next_row)
            write_row(self.here, plan, sources, target, self.tile.columns)

    def _out(self, storage: Storage | Packed, row: Value) -> Value:
        """The address of a row of results."""
        b, tile = self.b, self.tile
        rows = b.add(b.mul(tile.batch, self.rows), b.add(tile.row, row))
        within = b.udiv(b.mul(tile.column, word(storage.bits)), word(8))
        return b.add(self._number("out"), b.add(b.mul(rows, self._number("out row")), within))

    def _draw(self, plan: PlanShape, row: Value) -> None:
        """Random fields of a row's elements, from the first of their counter's block on."""
        if plan.streams[-1].name != RANDOM:
            return
        b, per_block = self.b, word(BLOCK_BITS // plan.streams[-1].storage.bits)
        index = b.add(self._number("offset"), self._element(row))
        block, skipped = b.udiv(index, per_block), b.urem(index, per_block)
        count = b.udiv(b.add(b.add(skipped, self.tile.columns), b.sub(per_block, word(1))), per_block)
        printer = _Printer(b, philox().shape, Variant((Feed.COUNTER, Feed.SINGLE)), self.here.processor)
        printer.loop([block, self._number("seed")], self._at(RANDOM), count, word(0), word(0))

    # --- candidates ---------------------------------------------------------------------------------------------

    def _choose(self, place: int, stage: StageShape) -> None:
        """Of each block's candidates the one with the least squared error."""
        b, first = self.b, 0
        with self._each_row(word(len(stage.plans))) as trial:
            for _, alike in groupby(stage.plans):
                count = len(list(alike))
                further = b.sub(trial, word(first))  # of those before, more than there are
                with b.if_then(b.icmp_unsigned("<", further, word(count))):
                    self._results(place, stage, further, first)
                first += count
            self._errors()
            self._sum(stage.extent)
            self._take(stage, b.icmp_unsigned("==", trial, word(0)))

    def _errors(self) -> None:
        shape = self.shape.trial
        assert shape is not None
        plan = self._plan(shape, plan_count(self.shape) - 2)
        x = next(place for place, stream in enumerate(shape.streams) if stream.name == ELEMENTS)
        with self._each_row(self.tile.rows) as row:
            self._draw(shape, row)
            sources = self._sources(shape, Row(ELEMENT, row), trial=True)
            terms = self._at("terms", row)
            store_errors(self.here, plan, sources, x, self._weights(row), terms, self.tile.columns)

    def _weights(self, row: Value) -> Source | None:
        b, tile, weighted = self.b, self.tile, self.shape.weighted
        if weighted is None:
            return None
        if weighted is Weighted.ROW:
            return Single(wide_at(b, self._number("weights"), b.add(tile.row, row)))
        return Array(wide_at(b, self._number("weights"), tile.column), Storage.FLOAT64)

    def _sum(self, extent: Extent) -> None:
        """Errors of blocks, in the one order that all backends share: by halves of a power of two."""
        lanes = maxima_lanes(copying(Storage.UINT32, Storage.UINT32), extent.columns)
        if extent.rows == 1 and lanes is not None:
            with self._each_row(self.tile.rows) as row:
                self._sum_in_row(row, extent.columns, lanes)
        elif extent.columns == 1:
            self._sum_columns(extent)
        else:
            self._sum_blocks(extent)

    def _sum_in_row(self, row: Value, size: int, lanes: int) -> None:
        b, kind, count = self.b, ir.VectorType(F64, lanes), self.tile.columns
        terms, errors = self._at("terms", row), self._at("errors", row)
        power = 1 << (size - 1).bit_length()
        order = [block + place if place < size else lanes for block in range(0, lanes, size) for place in range(power)]
        zeros, numbers = ir.Constant(kind, [0.0] * lanes), ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
        with self._each_row(_blocks(b, count, lanes)) as part:
            start = b.mul(part, word(lanes))
            left = splat(b, b.trunc(b.sub(count, start), I32), lanes)
            values = b.load(pointer(b, wide_at(b, terms, start), kind), align=8)
            values = b.select(b.icmp_unsigned("<", numbers, left), values, zeros)
            padded = b.shuffle_vector(values, zeros, ir.Constant(ir.VectorType(I32, len(order)), order))
            sums = by_halves(b, padded, power, fadd)
            b.store(sums, pointer(b, wide_at(b, errors, b.udiv(start, word(size))), sums.type), align=8)

    def _sum_columns(self, extent: Extent) -> None:
        """Blocks of one column: whole rows are added, 16 columns at a time."""
        b, kind = self.b, ir.VectorType(F64, LANES)
        size = word(extent.rows) if extent.rows else self.tile.rows
        with self._each_row(self._height(extent)) as band:
            first = b.mul(band, size)
            rows = _least(b, size, b.sub(self.tile.rows, first))
            with self._each_half() as half:
                upper = _least(b, half, b.sub(_most(b, rows, half), half))
                with self._each_row(upper) as row, self._each_row(_blocks(b, self.tile.columns, LANES)) as part:
                    start = b.mul(part, word(LANES))
                    low, high = (
                        pointer(b, wide_at(b, self._at("terms", b.add(first, one)), start), kind)
                        for one in (row, b.add(row, half))
                    )
                    b.store(b.fadd(b.load(low, align=8), b.load(high, align=8)), low, align=8)
            source, target = self._at("terms", first), self._at("errors", band)
            _copy(b, target, source, b.mul(self.tile.columns, word(8)))

    def _sum_blocks(self, extent: Extent) -> None:
        """Any blocks, one by one."""
        b, tile = self.b, self.tile
        high, wide = (word(size) if size else whole for size, whole in zip(extent, tile[3:], strict=True))
        halves = self._at("halves")
        with self._each_row(self._height(extent)) as down, self._each_row(self._width(extent)) as across:
            first_row, first = b.mul(down, high), b.mul(across, wide)
            columns = _least(b, wide, b.sub(tile.columns, first))
            size = b.shl(word(1), self._number("halvings"))
            cgutils.memset(b, pointer(b, halves, ir.IntType(8)), b.mul(size, word(8)), 0)
            with self._each_row(_least(b, high, b.sub(tile.rows, first_row))) as row:
                source = wide_at(b, self._at("terms", b.add(first_row, row)), first)
                _copy(b, wide_at(b, halves, b.mul(row, wide)), source, b.mul(columns, word(8)))
            with self._each_half() as half, self._each_row(half) as place:
                low, high_half = (pointer(b, wide_at(b, halves, one), F64) for one in (place, b.add(place, half)))
                b.store(b.fadd(b.load(low), b.load(high_half)), low)
            b.store(b.load(pointer(b, halves, F64)), pointer(b, wide_at(b, self._at("errors", down), across), F64))

    @contextmanager
    def _each_half(self) -> Iterator[Value]:
        """Half the power of two that a block's elements fill, half of that, … 1."""
        b, steps = self.b, self._number("halvings")
        with self._each_row(steps) as step:
            yield b.shl(word(1), b.sub(b.sub(steps, step), word(1)))

    def _take(self, stage: StageShape, is_first: Value) -> None:
        """Keep a candidate where its error is less."""
        b, wide, words = self.b, ir.VectorType(F64, LANES), ir.VectorType(I32, LANES)
        kept = [name for name in stage.results if self._is_used(name)]
        with self._each_row(self._height(stage.extent)) as row:
            width = self._width(stage.extent)
            with self._each_row(_blocks(b, width, LANES)) as part:
                start = b.mul(part, word(LANES))
                errors, least = (wide_at(b, self._at(name, row), start) for name in ("errors", "least"))
                error, before = (b.load(pointer(b, one, wide), align=8) for one in (errors, least))
                better = b.or_(b.fcmp_ordered("<", error, before), splat(b, is_first, LANES))
                b.store(b.select(better, error, before), pointer(b, least, wide), align=8)
                for name in kept:
                    new, old = (
                        pointer(b, word_at(b, self._at(one, row), start), words)
                        for one in (trial_name(name), result_name(name))
                    )
                    chosen = b.select(better, b.load(new, align=4), b.load(old, align=4))
                    b.store(chosen, old, align=4)


def _ratio(outer: int, inner: int) -> int:
    return outer // inner if outer else (1 if inner == WHOLE else WHOLE)


def _blocks(b: Value, count: Value, size: int) -> Value:
    return b.udiv(b.add(count, word(size - 1)), word(size))


def _least(b: Value, left: Value, right: Value) -> Value:
    return b.select(b.icmp_unsigned("<", left, right), left, right)


def _most(b: Value, left: Value, right: Value) -> Value:
    return b.select(b.icmp_unsigned("<", left, right), right, left)


def _copy(b: Value, target: Value, source: Value, count: Value) -> None:
    cgutils.raw_memcpy(b, *(pointer(b, one, ir.IntType(8)) for one in (target, source)), count, 1)
