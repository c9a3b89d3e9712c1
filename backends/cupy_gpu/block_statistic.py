"""Prints the kernel that finds one statistic of blocks of any kind: the largest key of the units in each.

A thread takes a patch of one block, some rows of every so many columns, and then raises the block's word.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from statqat_sim.backends.cupy_gpu.block_group import Source
from statqat_sim.backends.cupy_gpu.block_places import HERE, Site
from statqat_sim.backends.cupy_gpu.block_text import Numbers, Printed, Signature, c_type, each_thread, printed_plan
from statqat_sim.backends.cupy_gpu.bodies import block
from statqat_sim.geometry import WHOLE
from statqat_sim.plan.block import INDEX
from statqat_sim.plan.program import PlanShape

PATCH_ROWS: Final = 32
PATCH_COLUMNS: Final = 32
NEIGHBOURS: Final = 32
"""Threads that take columns in turn: they read memory together."""


class StatisticShape(NamedTuple):
    """What is printed of a statistic."""

    key: PlanShape
    sources: tuple[Source, ...]
    site: Site
    """The blocks, in units."""


class Patches(NamedTuple):
    """How blocks are cut. Counts of units, unless they say otherwise."""

    high: int
    """Rows of a block."""

    wide: int
    down: int
    """Blocks below each other."""

    across: int
    steps: int
    """Patches below each other in a block."""

    parts: int
    patch_rows: int
    neighbours: int
    part_columns: int
    """Columns that neighbours share."""

    @classmethod
    def of(cls, site: Site, height: int, length: int) -> Patches:
        high = height if site.rows == WHOLE else site.rows
        wide = length if site.columns == WHOLE else site.columns
        neighbours = min(NEIGHBOURS, wide)
        part = min(wide, neighbours * PATCH_COLUMNS)
        patch_rows = min(high, PATCH_ROWS)
        counts = -(-height // high), -(-length // wide), -(-high // patch_rows), -(-wide // part)
        return cls(high, wide, *counts, patch_rows, neighbours, part)

    @property
    def threads(self) -> int:
        """Threads for one matrix."""
        return self.down * self.across * self.steps * self.parts * self.neighbours


@cache
def statistic_kernel(shape: StatisticShape) -> Printed:
    """The kernel. It raises words that begin with 0."""
    signature = Signature()
    for name in ("threads", "length", "height", *Patches._fields):
        signature.number(name)
    words = signature.target("words", "u32")
    lines = [*_patch(), "u32 largest = 0;", *_each_unit(_key(shape, signature)), *_raise(words, shape.site)]
    return signature.printed("block_statistic", each_thread("threads", lines))


def _patch() -> Iterator[str]:
    """Where a thread's patch lies."""
    yield "u64 rest = thread, next = quotient(rest, neighbours);"
    yield "const u64 neighbour = rest - next * neighbours;"
    for name, count in (("part", "parts"), ("block_column", "across"), ("step", "steps"), ("block_row", "down")):
        yield f"rest = next, next = quotient(rest, {count});"
        yield f"const u64 {name} = rest - next * {count};"
    yield "const u64 matrix = next;"
    yield "const u64 top = block_row * high + step * patch_rows, left = block_column * wide + part * part_columns;"
    yield "const u64 bottom = min(min(top + patch_rows, (block_row + 1) * high), height);"
    yield "const u64 right = min(min(left + part_columns, (block_column + 1) * wide), length);"


def _each_unit(lines: list[str]) -> list[str]:
    columns = block("for (u64 place = left + neighbour; place < right; place += neighbours)", lines)
    return block("for (u64 line = top; line < bottom; line++)", ["const u64 row = matrix * height + line;", *columns])


def _key(shape: StatisticShape, signature: Signature) -> list[str]:
    sources = {source.name: source for source in shape.sources}
    arrays = {
        source.name: signature.source(f"from{place}", c_type(source.storage))
        for place, source in enumerate(shape.sources)
    }
    numbers = Numbers.declared(signature, 0, shape.key)
    words = {name: f"{array}[{_word(sources[name].site, shape.site)}]" for name, array in arrays.items()}
    words[INDEX] = _index(shape.site)
    lines, (key,) = printed_plan(shape.key, [words[stream.name] for stream in shape.key.streams], "v", numbers)
    return [*lines, f"largest = max(largest, {key});"]


def _word(site: Site, measured: Site) -> str:
    """C: where the word of the unit at `row` and `place` lies."""
    if site == HERE:
        return "row * length + place"
    return _target(site) if site == measured else site.word("place")


def _index(site: Site) -> str:
    """C: the place of a unit in its block, in C order."""
    if site.shared:
        return "(u32)(row * length + place)"
    return "(u32)((line - block_row * high) * wide + place - block_column * wide)"


def _target(site: Site) -> str:
    return "0" if site.shared else "(matrix * down + block_row) * across + block_column"


def _raise(words: str, site: Site) -> Iterator[str]:
    """Most patches find a word that is large enough; a stale one is too small at worst."""
    yield f"u32 *word = {words} + {_target(site)};"
    yield "if (largest > *word) atomicMax(word, largest);"
