"""Prints a block format as one loop over the tiles of an array: stages, scales, elements. See `vector`."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

from statqat_sim.backends.numba_cpu.block_body import Array, Here
from statqat_sim.backends.numba_cpu.block_candidates import Candidates
from statqat_sim.backends.numba_cpu.block_layout import plan_count
from statqat_sim.backends.numba_cpu.block_passes import write_row
from statqat_sim.backends.numba_cpu.block_shape import ELEMENT, TENSOR, BlockShape, Purpose
from statqat_sim.backends.numba_cpu.block_site import Site, Tile, least
from statqat_sim.backends.numba_cpu.block_stages import Stages
from statqat_sim.backends.numba_cpu.block_streams import Row, Streams
from statqat_sim.backends.numba_cpu.block_vector import Value, word
from statqat_sim.backends.numba_cpu.processor import Processor
from statqat_sim.backends.numba_cpu.vector import I64

cgutils: Any = untyped_cgutils

WRITE_AHEAD = 4096
"""Bytes. Hardware prefetchers stop at the ends of pages."""


def tiles(shape: BlockShape) -> Any:
    """An intrinsic whose one argument is the address of the numbers listed by `block_layout.names`."""

    @intrinsic
    def run(_: Any, numbers: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, _, features = context.codegen().magic_tuple()
            TilePrinter(Here(builder, Processor.of_features(features)), shape, arguments[0]).tiles()
            return context.get_dummy_value()

        return types.void(types.uintp), generate

    return run


class TilePrinter:
    """Emits a block kernel at the builder's position."""

    def __init__(self, here: Here, shape: BlockShape, numbers: Value) -> None:
        self.site = Site(here, shape, numbers)
        self.b, self.shape, self.streams = here.b, shape, Streams(self.site)
        self.stages = Stages(self.site, self.streams)
        self.candidates = Candidates(self.site, self.streams, self.stages)

    def tiles(self) -> None:
        """Emit the stages that run once per array, then the loop over tiles from `start` to `stop`."""
        b = self.b
        zero = word(0)
        self.site.tile = Tile(zero, zero, zero, word(1), word(1))
        for source in self.shape.sources:
            if source.extent == TENSOR:
                self.stages.read(source)
        for place, stage in enumerate(self.shape.stages):
            if stage.extent == TENSOR and stage.plans:
                self.stages.results(place, stage)
        with b.if_then(b.icmp_unsigned("==", self.site.number("start"), zero)):
            self.stages.store_results(TENSOR)
        bands, chunks = self.site.number("bands"), self.site.number("chunks")
        with cgutils.for_range(b, self.site.number("stop"), self.site.number("start"), intp=I64) as tile:
            chunk, above = b.urem(tile.index, chunks), b.udiv(tile.index, chunks)
            self._tile(b.udiv(above, bands), b.urem(above, bands), chunk)

    def _tile(self, batch: Value, band: Value, chunk: Value) -> None:
        b, high, wide = self.b, self.site.number("tile rows"), self.site.number("tile columns")
        row, column = b.mul(band, high), b.mul(chunk, wide)
        rows, columns = (
            least(b, size, b.sub(end, first))
            for size, end, first in ((high, self.site.rows, row), (wide, self.site.columns, column))
        )
        self.site.tile = Tile(batch, row, column, rows, columns)
        for source in self.shape.sources:
            if source.extent != TENSOR:
                self.stages.read(source)
        for place, stage in self.shape.tiled:
            for statistic in stage.statistics:
                self.stages.statistic(place, stage, statistic)
            if len(stage.plans) > 1:
                self.candidates.choose(place, stage)
            elif stage.plans:
                self.stages.results(place, stage)
            self.stages.store_results(stage.extent)
        if self.shape.purpose is Purpose.MEASURE:
            self.stages.measure()
        else:
            self._elements()

    def _elements(self) -> None:
        shape = self.shape.element
        assert shape is not None
        plan = self.site.plan(shape, plan_count(self.shape) - 1)
        with self.site.each_row(self.site.tile.rows) as row:
            self.streams.draw(shape, row)
            sources = self.streams.of(shape, Row(ELEMENT, row))
            target = Array(self.site.out(shape.result, row), shape.result, ahead=self._ahead())
            write_row(self.site.here, plan, sources, target, self.site.tile.columns)

    def _ahead(self) -> Value | None:
        """How far ahead the memory of results is prefetched: the next row, or by a page where values are written."""
        if any(extent.rows != 1 for extent in self.shape.extents if extent != TENSOR):
            return self.site.number("out row")
        return word(WRITE_AHEAD) if self.shape.purpose is Purpose.FAKE_QUANTIZE else None
