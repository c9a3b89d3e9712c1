"""The loops over blocks that call a block format's functions, whatever the language.

They work on a matrix in C order, whose rows blocks of one dimension are parts of. Its sizes are numbers, or variables
of the language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeAlias

from statqat_sim.export.blocks import Blocks, Level, Maximum
from statqat_sim.export.functions import Function
from statqat_sim.geometry import WHOLE, block_sizes
from statqat_sim.plan.block import CODES, ELEMENTS, GIVEN, INDEX
from statqat_sim.plan.philox import RANDOM
from statqat_sim.spec.scale import Block

VALUES: Final = "y"
"""What decoders write."""

NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Loop:
    """For each index from `first` on, while it is less than all `limits`."""

    index: str
    first: str
    limits: tuple[str, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Let:
    """A word is what a function gives."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Zero:
    """A word that will rise begins with 0."""

    name: str


@dataclass(frozen=True, slots=True)
class Rise:
    """A word becomes another one if that is larger."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Put:
    """A word is written to an array."""

    array: str
    index: str
    value: str


Statement: TypeAlias = Loop | Let | Zero | Rise | Put


class Dialect(Protocol):
    """Expressions of a language."""

    def call(self, function: Function, arguments: Sequence[str]) -> str:
        """A function's result."""

    def read(self, array: str, index: str) -> str:
        """A word of an array."""

    def word(self, count: str) -> str:
        """A count as a word."""


class Extent(NamedTuple):
    """Rows and columns of a block; `WHOLE` where it extends to the matrix's end."""

    rows: int
    columns: int

    @classmethod
    def of(cls, block: Block) -> Extent:
        return cls(*block_sizes(block, along_rows=True))


ELEMENT: Final = Extent(1, 1)
MATRIX: Final = Extent(WHOLE, WHOLE)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long a matrix's rows, or columns, are: a number, or a variable's name."""

    length: int | str
    name: str

    def count(self, size: int) -> str:
        """How many blocks of a size begin there: a number, or a variable."""
        if isinstance(self.length, int):
            return str(-(-self.length // size) if size else 1)
        return self.length if size == 1 else f"{self.name}_{size or 'whole'}"


class At(NamedTuple):
    """A row or column of blocks: its place among those of a size, which is 1 for elements."""

    place: str
    size: int

    def among(self, size: int) -> str:
        """The index of the larger block, or the same, that it lies in: sizes divide each other."""
        if WHOLE in (size, self.size) or self.place == "0":
            return "0"
        return self.place if size == self.size else f"{self.place} / {size // self.size}"


Bounds: TypeAlias = tuple[str, tuple[str, ...]]
"""Where an index begins, and what it is less than."""


class Spot(NamedTuple):
    """A block, or an element."""

    row: At
    column: At


def kept(blocks: Blocks, levels: Sequence[Level], single: frozenset[str]) -> dict[str, Extent]:
    """The words that further levels read from arrays: those of all levels but the last."""
    names = blocks.read - single
    return {name: Extent.of(level.block) for level in levels[:-1] for name in level.names if name in names}


@dataclass(frozen=True, slots=True)
class Passes:
    """Writes what becomes of a matrix, block by block."""

    blocks: Blocks
    rows: Sizes
    columns: Sizes
    dialect: Dialect
    single: frozenset[str]
    """Words of which there is one, in a variable or an argument."""

    def quantize(self, levels: Sequence[Level]) -> tuple[Statement, ...]:
        """Codes and scales from elements: these levels, then the elements of the last one's blocks."""
        *outer, last = levels
        statements = [one for level in outer for one in self._each(level, self._words(level))]
        body = (*self._words(last), *self._elements(last, CODES, self.blocks.encode))
        return *statements, *self._each(last, body)

    def dequantize(self) -> tuple[Statement, ...]:
        """Elements from codes and scales."""
        level = self.blocks.decoding
        spot = self._spot(level)
        words = (Let(name, self._call(function, spot, level)) for name, function in level.words)
        return self._each(level, (*words, *self._elements(level, VALUES, self.blocks.decode)))

    def _each(self, level: Level, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """Statements for each block of a level."""
        extent = Extent.of(level.block)
        if extent == MATRIX:
            return body
        for index, sizes, size in (("j", self.columns, extent.columns), ("i", self.rows, extent.rows)):
            if sizes.count(size) != "1":
                body = (Loop(index, "0", (sizes.count(size),), body),)
        return body

    def _words(self, level: Level) -> tuple[Statement, ...]:
        """The words of one block."""
        spot, found = self._spot(level), list[Statement]()
        for maximum in level.maxima:
            found += self._maximum(level, maximum)
        stored = {one.result for one in self.blocks.stored}
        is_last = level is self.blocks.levels[-1]
        for name, function in level.words:
            value, index = self._call(function, spot, level), self._index(spot, Extent.of(level.block))
            if name in stored:  # codes are not read
                found.append(Put(name, index, value))
            elif name in self.blocks.read:
                found.append(Let(name, value) if is_last or name in self.single else Put(name, index, value))
        return tuple(found)

    def _maximum(self, level: Level, maximum: Maximum) -> tuple[Statement, ...]:
        unit = ELEMENT if maximum.of == ELEMENTS else self._extent(maximum.of)
        name = self._variable(level, maximum.name)

        def rise(spot: Spot, place: str) -> Statement:
            unit_words = {ELEMENTS: self._word(maximum.of, spot), INDEX: self.dialect.word(place)}
            return Rise(name, self._call(maximum.key, spot, level, unit_words))

        return Zero(name), *self._within(level, unit, rise)

    def _elements(self, level: Level, target: str, function: Function) -> tuple[Statement, ...]:
        def put(spot: Spot, _: str) -> Statement:
            return Put(target, self._index(spot, ELEMENT), self._call(function, spot, level))

        return self._within(level, ELEMENT, put)

    def _within(self, level: Level, unit: Extent, do: Callable[[Spot, str], Statement]) -> tuple[Statement, ...]:
        """A statement for each unit of a block, which is told the unit's place in it."""
        extent = Extent.of(level.block)
        row, rows = self._along("r", "i", self.rows, extent.rows, unit.rows)
        column, columns = self._along("c", "j", self.columns, extent.columns, unit.columns)
        wide = extent.columns // unit.columns if extent.columns else self.columns.count(unit.columns)
        down, across = _less(row.place, rows), _less(column.place, columns)
        place = across if down == "0" else f"({down}) * {wide} + {across}"
        body: tuple[Statement, ...] = (do(Spot(row, column), place),)
        for at, loop in ((column, columns), (row, rows)):
            if loop is not None:
                body = (Loop(at.place, *loop, body),)
        return body

    def _along(self, index: str, block: str, sizes: Sizes, size: int, unit: int) -> tuple[At, Bounds | None]:
        """The units of one axis of a block, and the bounds of their loop, if there are several."""
        if size == WHOLE or sizes.count(size) == "1":
            end = sizes.count(unit)
            return (At("0", unit), None) if end == "1" else (At(index, unit), ("0", (end,)))
        if size == unit:
            return At(block, unit), None
        first, end = f"{size // unit} * {block}", sizes.count(unit)
        limits = (f"{first} + {size // unit}",)
        return At(index, unit), (first, limits if end.isdigit() else (end, *limits))

    def _spot(self, level: Level) -> Spot:
        """A level's block, in the loops over its blocks."""
        extent = Extent.of(level.block)
        row, column = self.rows.count(extent.rows), self.columns.count(extent.columns)
        return Spot(At("0" if row == "1" else "i", extent.rows), At("0" if column == "1" else "j", extent.columns))

    def _variable(self, level: Level, name: str) -> str:
        """The variable of a maximum: its name, numbered if several levels have it."""
        having = [each for each in self.blocks.levels if name in {maximum.name for maximum in each.maxima}]
        return name if len(having) == 1 else f"{name}{having.index(level)}"

    def _index(self, spot: Spot, extent: Extent) -> str:
        """The index of the block of this extent in which a spot lies."""
        row, column = spot.row.among(extent.rows), spot.column.among(extent.columns)
        across = self.columns.count(extent.columns)
        if row == "0":
            return column
        above = row if across == "1" else f"{row} * {across}"
        return above if column == "0" else f"{above} + {column}"

    def _call(self, function: Function, spot: Spot, level: Level, more: Mapping[str, str] = NONE) -> str:
        """A function's result for a block or an element."""
        own = {maximum.name for maximum in level.maxima}
        arguments = []
        for argument in function.arguments:
            name = argument.name
            if name in more:
                arguments.append(more[name])
            elif name in own:
                arguments.append(self._variable(level, name))
            elif name in level.names and level in (self.blocks.levels[-1], self.blocks.decoding):
                arguments.append(name)
            else:
                arguments.append(self._word(name, spot))
        return self.dialect.call(function, arguments)

    def _word(self, name: str, spot: Spot) -> str:
        """A word of the block, or of the element, in which a spot lies."""
        is_variable = name in self.single and name in self.blocks.read
        return name if is_variable else self.dialect.read(name, self._index(spot, self._extent(name)))

    def _extent(self, name: str) -> Extent:
        """The block that a word belongs to."""
        if name in (ELEMENTS, CODES, RANDOM):
            return ELEMENT
        blocks = {one.result: one.block for one in self.blocks.stored}
        blocks |= {each: level.block for level in self.blocks.levels for each in level.names}
        if name == GIVEN:
            return next(Extent.of(level.block) for level in self.blocks.levels if level.is_given)
        return Extent.of(blocks[name])


def _less(index: str, bounds: Bounds | None) -> str:
    """An index, counted from where its loop begins."""
    if bounds is None:
        return "0"
    first, _ = bounds
    return index if first == "0" else f"{index} - {first}"
