"""The functions of a block format in C99."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from statqat_sim.export.blocks import UNCHECKED, Blocks, blocks_of
from statqat_sim.export.c_text import comment, definition, unsigned
from statqat_sim.export.functions import Function
from statqat_sim.export.passes import MATRIX, VALUES, Extent, Let, Loop, Passes, Put, Rise, Sizes, Statement, Zero, kept
from statqat_sim.plan.block import CODES, ELEMENTS, GIVEN, Stored
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import Storage
from statqat_sim.spec.block import BlockFormat

ROWS: Final = Sizes("rows", "rows")
COLUMNS: Final = Sizes("columns", "columns")


def block_lines(format: BlockFormat) -> Iterator[str]:
    """Its functions of words, then those of matrices; see `to_c`."""
    blocks = blocks_of(format)
    for function in blocks.all:
        yield from (*definition(blocks.name, function), "")
    yield from _conversions(blocks.name)
    single = frozenset(name for level in blocks.levels if Extent.of(level.block) == MATRIX for name in level.names)
    passes = Passes(blocks, ROWS, COLUMNS, _Expressions(blocks), single)
    printer = _Matrices(blocks, passes, kept(blocks, blocks.levels, single))
    yield from printer.workspace()
    yield from printer.quantize()
    yield from printer.dequantize()


@dataclass(frozen=True, slots=True)
class _Expressions:
    """See `passes.Dialect`."""

    blocks: Blocks

    def call(self, function: Function, arguments: Sequence[str]) -> str:
        return f"{self.blocks.name}_{function.name}({', '.join(arguments)})"

    def read(self, array: str, index: str) -> str:
        word = f"{array}[{index}]"
        return f"{self.blocks.name}_bits({word})" if array in self.floats else word

    def word(self, count: str) -> str:
        return f"(uint32_t)({count})"

    @property
    def floats(self) -> set[str]:
        """The arrays of `float`."""
        stored = {one.result for one in self.blocks.stored if one.storage is Storage.FLOAT32}
        return {ELEMENTS, GIVEN, VALUES, *stored}


@dataclass(frozen=True, slots=True)
class _Matrices:
    """Functions of whole matrices."""

    blocks: Blocks
    passes: Passes
    kept: Mapping[str, Extent]
    """The words of blocks that `quantize` keeps in its workspace."""

    def workspace(self) -> Iterator[str]:
        """How many words `quantize` keeps, where it keeps any."""
        if not self.kept:
            return
        body = [f"    return {' + '.join(map(self._room, self.kept.values()))};"]
        yield comment(["The words that the workspace of quantize has room for."])
        yield from self._function("workspace", [], body, result="size_t")

    def quantize(self) -> Iterator[str]:
        """From elements to codes and scales."""
        read = {argument.name: argument.storage for argument in self.blocks.encode.arguments}
        inputs = [f"const float *{ELEMENTS}"]
        if RANDOM in read:
            inputs.append(f"const {unsigned(read[RANDOM].bits)} *{RANDOM}")
        if is_given := any(level.is_given for level in self.blocks.levels):
            inputs.append(f"const float *{GIVEN}")
        outputs = [f"{_element(self.blocks)} *{CODES}", *(f"{_type(one)} *{one.result}" for one in self.blocks.stored)]
        buffers, start = [], "workspace"
        for name, extent in self.kept.items():
            buffers.append(f"    uint32_t *const {name} = {start};")
            start = f"{name} + {self._room(extent)}"
        inner = ["uint32_t *workspace"] if self.kept else []
        body = [*buffers, *self._lines(self.passes.quantize(self.blocks.levels))]
        yield comment(["Codes and scales of a matrix in C order, quantized along its rows.", *[UNCHECKED] * is_given])
        yield from self._function("quantize", [*inputs, *outputs, *inner], body)

    def dequantize(self) -> Iterator[str]:
        """From codes and scales to elements."""
        inputs = [f"const {_element(self.blocks)} *{CODES}"]
        inputs += [f"const {_type(one)} *{one.result}" for one in self.blocks.stored]
        yield comment(["The values of codes and scales."])
        yield from self._function("dequantize", [*inputs, f"float *{VALUES}"], self._lines(self.passes.dequantize()))

    def _function(self, name: str, arguments: list[str], body: Iterable[str], result: str = "void") -> Iterator[str]:
        """A function of a matrix, after how many blocks of each size it has."""
        lines, lengths = list(body), ["size_t rows", "size_t columns"]
        yield f"static inline {result} {self.blocks.name}_{name}("
        yield f"    {', '.join([*lengths, *arguments])})"
        yield "{"
        read = set(re.findall(r"\w+", "\n".join(lines)))
        for sizes, size in self._counts():
            if sizes.count(size) in read:
                length = sizes.length
                number = f"{length} / {size} + ({length} % {size} > 0)" if size else f"{length} > 0"
                yield f"    const size_t {sizes.count(size)} = {number};"
        names = (re.sub(r".*\W", "", argument) for argument in (*lengths, *arguments))
        yield from (f"    (void){name};" for name in names if name not in read)
        yield from (*lines, "}", "")

    def _counts(self) -> Iterator[tuple[Sizes, int]]:
        """The sizes of blocks along rows and columns, of which functions may need to know how many there are."""
        extents = [Extent.of(level.block) for level in (*self.blocks.levels, self.blocks.decoding)]
        for sizes, found in ((ROWS, {each.rows for each in extents}), (COLUMNS, {each.columns for each in extents})):
            yield from ((sizes, size) for size in sorted(found - {1}))

    def _room(self, extent: Extent) -> str:
        """The number of blocks of a matrix."""
        return f"{ROWS.count(extent.rows)} * {COLUMNS.count(extent.columns)}"

    def _lines(self, statements: Iterable[Statement], depth: int = 1) -> Iterator[str]:
        for statement in statements:
            yield from ("    " * depth + line for line in self._statement(statement))

    def _statement(self, statement: Statement) -> Iterator[str]:
        match statement:
            case Loop(index, first, limits, body):
                condition = " && ".join(f"{index} < {limit}" for limit in limits)
                yield f"for (size_t {index} = {first}; {condition}; {index}++) {{"
                yield from self._lines(body)
                yield "}"
            case Let(name, value):
                yield f"const uint32_t {name} = {value};"
            case Zero(name):
                yield f"uint32_t {name} = 0;"
            case Rise(name, value):
                yield f"{name} = {self.blocks.name}_larger({name}, {value});"
            case Put(array, index, value):
                is_float = array in _Expressions(self.blocks).floats
                yield f"{array}[{index}] = {f'{self.blocks.name}_float({value})' if is_float else value};"


def _conversions(name: str) -> Iterator[str]:
    """What the functions of matrices need besides."""
    yield f"static inline uint32_t {name}_bits(float value)"
    yield from ("{", "    uint32_t bits;", "    memcpy(&bits, &value, sizeof bits);", "    return bits;", "}", "")
    yield f"static inline float {name}_float(uint32_t bits)"
    yield from ("{", "    float value;", "    memcpy(&value, &bits, sizeof value);", "    return value;", "}", "")
    yield f"static inline uint32_t {name}_larger(uint32_t a, uint32_t b)"
    yield from ("{", "    return a < b ? b : a;", "}", "")


def _element(blocks: Blocks) -> str:
    return unsigned(blocks.encode.result_bits)


def _type(stored: Stored) -> str:
    """What a stored array is made of."""
    return "float" if stored.storage is Storage.FLOAT32 else unsigned(stored.storage.bits)
