"""Where the words of blocks lie, as seen from the elements or smaller blocks that read them."""

from __future__ import annotations

from typing import Final, NamedTuple

from statqat_sim.geometry import WHOLE, Geometry, block_sizes, is_whole_array
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.program import Packed
from statqat_sim.spec.scale import Block


class Site(NamedTuple):
    """The block that contains a unit: its rows and columns, counted in such units."""

    rows: int
    columns: int
    shared: bool = False
    """Whether all matrices have it in common."""

    @classmethod
    def of(cls, block: Block, unit: Block, *, along_rows: bool) -> Site:
        if is_whole_array(block):
            return cls(WHOLE, WHOLE, shared=True)
        outer, inner = (block_sizes(one, along_rows=along_rows) for one in (block, unit))
        rows, columns = (_parts(*sizes) for sizes in zip(outer, inner, strict=True))
        return cls(rows, columns)

    @property
    def turned(self) -> Site:
        """The same where rows are taken for columns."""
        return Site(self.columns, self.rows, self.shared)

    @property
    def in_row(self) -> str:
        """C: how many of these blocks lie next to each other."""
        return _count("length", self.columns)

    def line(self) -> str:
        """C: the first of the words that belong to the blocks at a unit's `row`, which counts through all matrices."""
        if self.shared:
            return "0"
        matrix = "quotient(row, height)"
        line = "row" if self.rows == 1 else matrix
        if self.rows not in (1, WHOLE):
            line = f"({matrix} * {_count('height', self.rows)} + (row - {matrix} * height) / {self.rows})"
        return line if self.columns == WHOLE else f"{line} * {self.in_row}"

    def word(self, place: str) -> str:
        """C: the word of the unit at `row` and a place in it."""
        return self.line() if self.columns == WHOLE else f"{self.line()} + {divided(place, self.columns)}"


HERE: Final = Site(1, 1)


def _parts(size: int, part: int) -> int:
    """How many parts of a size make another one."""
    return 1 if size == part else -(-size // max(part, 1))


def divided(count: str, size: int) -> str:
    """C: a count in whole parts of a size."""
    return count if size == 1 else f"{count} / {size}"


def multiplied(count: str, size: int) -> str:
    """C: a count times a size."""
    return count if size == 1 else f"({count} * {size})"


def _count(length: str, size: int) -> str:
    """C: how many blocks of a size lie along a length."""
    if size == WHOLE:
        return "1"
    return length if size == 1 else f"(({length} + {size - 1}) / {size})"


def as_one_row(geometry: Geometry, plan: BlockPlan, packed: Packed | None, *, weighted: bool = False) -> Geometry:
    """A geometry with longer rows whose blocks are the same; one row, where no row has a shorter block."""
    batch, rows, columns = geometry.batch, geometry.rows, geometry.columns
    if not geometry.along_rows and columns == 1:
        batch, rows, columns = 1, batch, rows
    elif not geometry.along_rows:
        return geometry
    blocks = {stage.block for stage in (*plan.stages, plan.decoding)}
    sizes = [block_sizes(block, along_rows=True) for block in blocks if not is_whole_array(block)]
    whole = all(high == 1 and wide and columns % wide == 0 for high, wide in sizes)
    is_dense = packed is None or columns * packed.bits % 8 == 0
    if whole and is_dense and not weighted:
        return Geometry(geometry.shape, geometry.axis, 1, 1, batch * rows * columns, True)
    return Geometry(geometry.shape, geometry.axis, batch, rows, columns, True)
