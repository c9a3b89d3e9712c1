"""The functions of a block format in SystemVerilog."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from statqat_sim.export.blocks import UNCHECKED, Blocks, Level, blocks_of
from statqat_sim.export.functions import Function
from statqat_sim.export.passes import VALUES, Extent, Let, Loop, Passes, Put, Rise, Sizes, Statement, Zero, kept
from statqat_sim.export.systemverilog_text import definition, logic
from statqat_sim.geometry import WHOLE
from statqat_sim.plan.block import CODES, ELEMENTS, GIVEN, Stored
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.step import WORD_BITS
from statqat_sim.spec.block import BlockFormat

MOST_BITS: Final = 1 << 16
"""The widest vectors that every tool takes: IEEE 1800-2017, 6.9.1."""

QUANTIZED: Final = "q"
KEY: Final = "key"


def block_lines(format: BlockFormat) -> Iterator[str]:
    """Its functions of words, then those of a block; see `to_systemverilog`."""
    blocks = blocks_of(format)
    for function in blocks.all:
        yield from ("", *definition(function))
    block = _Block.of(blocks)
    if block is not None:
        yield from ("", *block.type(), "", *block.quantize(), "", *block.dequantize())


@dataclass(frozen=True, slots=True)
class _Vector:
    """Words in a vector, the first in its lowest bits."""

    name: str
    bits: int
    count: int
    first: int = 0
    """The place of the first word."""

    def at(self, index: str) -> str:
        """A word."""
        if index.isdigit():
            low = self.first + int(index) * self.bits
            return f"{self.name}[{f'{low + self.bits - 1}:' if self.bits > 1 else ''}{low}]"
        skipped = f"{self.first} + " if self.first else ""
        place = index if index.isalnum() else f"({index})"
        return f"{self.name}[{skipped}{self.bits} * {place} +: {self.bits}]"

    @property
    def type(self) -> str:
        return logic(self.bits * self.count)


@dataclass(frozen=True, slots=True)
class _Expressions:
    """See `passes.Dialect`."""

    vectors: Mapping[str, _Vector]

    def call(self, function: Function, arguments: Sequence[str]) -> str:
        return f"{function.name}({', '.join(arguments)})"

    def read(self, array: str, index: str) -> str:
        return self.vectors[array].at(index) if array in self.vectors else array

    def word(self, count: str) -> str:
        return count


@dataclass(frozen=True)
class _Block:
    """As many elements as all blocks of a format divide."""

    blocks: Blocks
    levels: tuple[Level, ...]
    """Those whose blocks have a size."""

    rows: int
    columns: int

    @classmethod
    def of(cls, blocks: Blocks) -> _Block | None:
        """None for formats whose innermost blocks have no size, and for blocks that are too large."""
        levels = tuple(level for level in blocks.levels if WHOLE not in Extent.of(level.block))
        if blocks.levels[-1] not in levels:
            return None
        rows, columns = (math.lcm(*sizes) for sizes in zip(*(Extent.of(level.block) for level in levels), strict=True))
        block = cls(blocks, levels, rows, columns)
        return block if max(rows * columns * WORD_BITS, block._bits) <= MOST_BITS else None

    def type(self) -> Iterator[str]:
        """Names for the parts of the vectors that functions give and take."""
        yield f"// {self.rows * self.columns} codes and their scales, the first ones in the lowest bits."
        yield "typedef struct packed {"
        yield from (f"  {self._vectors[name].type} {name};" for name in reversed(self._members))
        yield "} block_t;"

    def quantize(self) -> Iterator[str]:
        """From elements to codes and scales."""
        inputs = [(self._vectors[name].type, name) for name in (ELEMENTS, RANDOM, GIVEN) if name in self._vectors]
        inputs += [(logic(WORD_BITS), name) for name in sorted(self._outer & self.blocks.read)]
        words = [f"{self._vectors[name].type} {name};" for name in kept(self.blocks, self.levels, self._outer)]
        statements = self._passes.quantize(self.levels)
        yield "// The bits of a block_t, from those of float32."
        yield from [f"// {UNCHECKED}"] * (GIVEN in self._vectors)
        yield from self._function("quantize", QUANTIZED, logic(self._bits), inputs, words, statements)

    def dequantize(self) -> Iterator[str]:
        """From codes and scales to elements."""
        outer = [one for one in self.blocks.stored if one.result not in self._members]
        inputs = [(logic(self._bits), QUANTIZED), *((logic(one.storage.bits), one.result) for one in outer)]
        yield "// The bits of float32, from those of a block_t."
        result = self._vectors[VALUES].type
        yield from self._function("dequantize", VALUES, result, inputs, [], self._passes.dequantize())

    def _function(
        self,
        name: str,
        target: str,
        result: str,
        inputs: Iterable[tuple[str, str]],
        words: Iterable[str],
        statements: tuple[Statement, ...],
    ) -> Iterator[str]:
        """A function that fills the vector `target`: not all tools write to parts of a function's own name."""
        yield f"function automatic {result} {name}({', '.join(f'input {type} {each}' for type, each in inputs)});"
        declared = dict.fromkeys([f"{result} {target};", *words, *_declarations(statements)])
        yield from (f"  {line}" for line in declared)
        yield from ("  begin", *(f"    {line}" for line in self._lines(statements)))
        yield from (f"    {name} = {target};", "  end", "endfunction")

    @property
    def _outer(self) -> frozenset[str]:
        """Words of levels whose blocks have no size."""
        return frozenset(name for level in self.blocks.levels if level not in self.levels for name in level.names)

    @property
    def _members(self) -> list[str]:
        """What a quantized block has."""
        return [CODES, *(one.result for one in self._sized)]

    @property
    def _bits(self) -> int:
        """The width of a quantized block."""
        return sum(self._vectors[name].bits * self._vectors[name].count for name in self._members)

    @cached_property
    def _vectors(self) -> dict[str, _Vector]:
        size = self.rows * self.columns
        shapes = {ELEMENTS: (WORD_BITS, size), VALUES: (WORD_BITS, size)}
        shapes |= {one.name: (one.storage.bits, size) for one in self.blocks.encode.arguments if one.name == RANDOM}
        given = [self._count(Extent.of(level.block)) for level in self.levels if level.is_given]
        shapes |= dict.fromkeys([GIVEN] * len(given), (WORD_BITS, sum(given)))
        words = kept(self.blocks, self.levels, self._outer)
        shapes |= {name: (WORD_BITS, self._count(extent)) for name, extent in words.items()}
        found = {name: _Vector(name, *shape) for name, shape in shapes.items()}
        bits = {CODES: self.blocks.encode.result_bits} | {one.result: one.storage.bits for one in self.blocks.stored}
        counts = {CODES: size} | {one.result: self._count(Extent.of(one.block)) for one in self._sized}
        first = 0
        for name in self._members:
            found[name] = _Vector(QUANTIZED, bits[name], counts[name], first)
            first += bits[name] * counts[name]
        return found

    @property
    def _sized(self) -> list[Stored]:
        """The stored arrays of blocks that have a size."""
        return [one for one in self.blocks.stored if WHOLE not in Extent.of(one.block)]

    def _count(self, extent: Extent) -> int:
        return (self.rows // extent.rows) * (self.columns // extent.columns)

    @property
    def _passes(self) -> Passes:
        rows, columns = Sizes(self.rows, "rows"), Sizes(self.columns, "columns")
        return Passes(self.blocks, rows, columns, _Expressions(self._vectors), self._outer)

    def _lines(self, statements: Iterable[Statement]) -> Iterator[str]:
        vectors = self._vectors
        for statement in statements:
            match statement:
                case Loop(index, first, (*_, limit), body):
                    yield f"for ({index} = {first}; {index} < {limit}; {index} = {index} + 1) begin"
                    yield from (f"  {line}" for line in self._lines(body))
                    yield "end"
                case Let(name, value):
                    yield f"{name} = {value};"
                case Zero(name):
                    yield f"{name} = {WORD_BITS}'h0;"
                case Rise(name, value):
                    yield f"{KEY} = {value};"
                    yield f"if ({name} < {KEY}) {name} = {KEY};"
                case Put(array, index, value):
                    yield f"{vectors[array].at(index)} = {value};"


def _declarations(statements: Iterable[Statement]) -> Iterator[str]:
    for statement in statements:
        match statement:
            case Loop(index, _, _, body):
                yield f"{logic(WORD_BITS)} {index};"
                yield from _declarations(body)
            case Let(name) | Zero(name):
                yield f"{logic(WORD_BITS)} {name};"
            case Rise():
                yield f"{logic(WORD_BITS)} {KEY};"
