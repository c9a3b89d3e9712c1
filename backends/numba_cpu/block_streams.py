"""What the streams of a plan are in one row of a tile: elements, words of blocks, places, random bits."""

from __future__ import annotations

from typing import NamedTuple

from statqat_sim.backends.numba_cpu.block_body import (
    Array,
    Places,
    Single,
    Source,
    Spread,
    fitting_lanes,
    is_regular,
)
from statqat_sim.backends.numba_cpu.block_layout import (
    measured_name,
    result_name,
    source_name,
    spread_name,
    trial_name,
)
from statqat_sim.backends.numba_cpu.block_passes import spread_words
from statqat_sim.backends.numba_cpu.block_shape import ELEMENT, Extent, Purpose, random_bits
from statqat_sim.backends.numba_cpu.block_site import Site
from statqat_sim.backends.numba_cpu.block_vector import Value, word, word_at
from statqat_sim.backends.numba_cpu.vector import Feed, PlanPrinter, Variant
from statqat_sim.geometry import WHOLE
from statqat_sim.plan.block import CODES, ELEMENTS, INDEX
from statqat_sim.plan.philox import BLOCK_BITS, RANDOM, philox
from statqat_sim.plan.program import Packed, PlanShape, Storage, Stream

READ_AHEAD = 512
"""Bytes. Hardware prefetchers lose an array whose tiles are read in turn with writing others."""


class Row(NamedTuple):
    """One row of a grid inside a tile: of its elements, or of the words of blocks of one extent."""

    grid: Extent
    place: Value
    """Which row of the tile."""

    stage: int | None = None
    """The stage whose own statistics may be read."""

    in_block: Value | None = None
    """Which row of the larger block whose statistic is taken."""

    size: int = 0
    """Columns of that block; 0: all."""

    high: int = 1
    """Rows of that block; 0: all."""


class Streams:
    """Finds the streams of plans."""

    def __init__(self, site: Site) -> None:
        self.site, self.b, self.shape = site, site.b, site.shape

    def of(self, plan: PlanShape, row: Row, block: Value | None = None, *, trial: bool = False) -> list[Source]:
        """A plan's streams in a row; or in one block of it, whose place is given."""
        fits = row.in_block is None and fitting_lanes(plan, self._sizes(plan, row)) is not None
        return [self._source(stream, row, block, trial, fits) for stream in plan.streams]

    def _sizes(self, plan: PlanShape, row: Row) -> list[int]:
        """Widths of the blocks whose words a plan reads, in columns of the row's grid."""
        extents = [self.site.words[stream.name] for stream in plan.streams if stream.name in self.site.words]
        return [extent.columns // max(row.grid.columns, 1) for extent in extents if extent.columns != WHOLE]

    def _source(self, stream: Stream, row: Row, block: Value | None, trial: bool, fits: bool) -> Source:
        b, name, storage = self.b, stream.name, stream.storage
        assert not isinstance(storage, Packed), name
        first = word(0) if block is None else b.mul(block, word(row.size))
        if name in (ELEMENTS, CODES) and row.grid == ELEMENT:
            index = b.add(self.site.element(row.place), first)
            address = b.add(self.site.number("x"), b.mul(index, word(storage.bits // 8)))
            return Array(address, storage, ends=True, ahead=self._ahead(storage, row))
        if name == RANDOM:
            per_block = BLOCK_BITS // storage.bits
            index = b.add(self.site.number("offset"), self.site.element(row.place))
            skipped = b.mul(b.urem(index, word(per_block)), word(storage.bits // 8))
            return Array(b.add(self.site.at(RANDOM), skipped), storage)
        if name == INDEX:
            return self._index(row, block)
        extent = self.site.words.get(name)
        own = row.stage is not None and name in [one.name for one in self.shape.stages[row.stage].statistics]
        if own:
            assert row.stage is not None
            name, extent = measured_name(row.stage, name), self.shape.stages[row.stage].extent
        assert extent is not None, f"no stream is named {name}"
        return self._repeated(self._home(name, trial, own), spread_name(name), extent, row, block, fits)

    def _ahead(self, storage: Storage, row: Row) -> Value | None:
        """How far ahead elements are prefetched: the next row, or by a little where values are written in between."""
        if row.high != 1:
            return self.b.mul(self.site.columns, word(storage.bits // 8))
        is_read_first = row.stage is not None and self.shape.purpose is Purpose.FAKE_QUANTIZE
        return word(READ_AHEAD) if is_read_first else None

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
            return Places(self.site.element(row.place), 0)
        size = row.size or 1
        return Places(self.b.mul(row.in_block, word(size)), 0 if block is not None else row.size)

    def _repeated(self, name: str, spread_to: str, extent: Extent, row: Row, block: Value | None, fits: bool) -> Source:
        """Words of blocks that contain, or are, the elements of a row."""
        b, grid = self.b, row.grid
        if extent.rows == WHOLE:
            address = self.site.at(name)
        else:
            address = self.site.at(name, b.udiv(row.place, word(extent.rows // max(grid.rows, 1))))
        if extent.columns == WHOLE:
            return Single(address) if grid.columns != WHOLE else Array(address)
        size = extent.columns // max(grid.columns, 1)
        if block is not None and size % row.size == 0:
            return Single(word_at(b, address, b.udiv(b.mul(block, word(row.size)), word(size))))
        if size > 1 and not fits and not is_regular(size):
            spread = self.site.at(spread_to)
            spread_words(b, address, size, spread, self.site.width(grid))
            address, size = spread, 1
        if block is not None:
            address = word_at(b, address, b.udiv(b.mul(block, word(row.size)), word(size)))
        return Spread(address, size) if size > 1 else Array(address)

    def draw(self, plan: PlanShape, row: Value) -> None:
        """Random fields of a row's elements, from the first of their counter's block on."""
        stream = random_bits(plan)
        if stream is None:
            return
        b, per_block = self.b, word(BLOCK_BITS // stream.storage.bits)
        index = b.add(self.site.number("offset"), self.site.element(row))
        block, skipped = b.udiv(index, per_block), b.urem(index, per_block)
        count = b.udiv(b.add(b.add(skipped, self.site.tile.columns), b.sub(per_block, word(1))), per_block)
        printer = PlanPrinter(b, philox().shape, Variant((Feed.COUNTER, Feed.SINGLE)), self.site.here.processor)
        printer.loop([block, self.site.number("seed")], self.site.at(RANDOM), count, word(0), word(0))
