"""Prints an elementwise plan as a kernel. A thread takes chunks: consecutive elements that fill whole words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import gcd
from typing import Final, NamedTuple

from statqat_sim.backends.cupy_gpu.bodies import unrolled
from statqat_sim.backends.cupy_gpu.draws import drawn
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS, KernelText
from statqat_sim.backends.cupy_gpu.steps import statements
from statqat_sim.plan.philox import BLOCK_BITS
from statqat_sim.plan.program import Packed, PlanShape, Storage

ACCESS_BITS: Final = 128
"""Of the widest loads and stores."""

THREAD_ELEMENTS: Final = 16
"""So many are read before the first is written, to hide the memory's latency."""

MANY_STEPS: Final = 2048
"""Steps of a thread's elements beyond which it takes one chunk: more would only lengthen the code."""


class Feed(StrEnum):
    """Where a kernel gets a stream's elements from."""

    ARRAY = "array"  # one for each element
    ROW = "row"  # one for each row, an array
    NUMBER = "number"  # the same for all, an argument
    DRAWN = "drawn"  # the random field of the element's index


@dataclass(frozen=True, slots=True)
class Elementwise:
    """A kernel of rows of elements, which lie in C order; rows of dense codes begin with a byte.

    Its arguments: an array or a number for each stream that is not drawn, the result, how many rows there are and how
    many elements each has, parameters, tables; where bits are drawn their seed, and the index of the first element.
    """

    text: KernelText
    chunk: int
    """Elements; no chunk goes beyond the end of a row."""

    chunks_per_block: int

    def blocks(self, rows: int, length: int) -> int:
        return -(-rows * -(-length // self.chunk) // self.chunks_per_block)


class Layout(NamedTuple):
    """How elements lie in memory, as a string of bits."""

    bits: int
    """Of one element."""

    unit: int
    """Bits of the largest numbers that it is made of, by which the ends of rows are read and written."""

    is_big_endian: bool = False

    @classmethod
    def of(cls, storage: Storage | Packed, outputs: int = 1) -> Layout:
        if isinstance(storage, Packed):
            return cls(storage.bits, 8, storage.big_endian)
        bits = storage.bits if outputs == 1 else 32 * outputs
        return cls(bits, min(bits, 32))

    @property
    def chunk(self) -> int:
        """The fewest elements that fill whole words."""
        return 32 // gcd(32, self.bits)

    @property
    def is_dense(self) -> bool:
        return self.bits % self.unit != 0

    def words(self, count: int) -> int:
        return count * self.bits // 32

    def units(self, count: str) -> str:
        """How many units hold so many elements, in C."""
        if self.is_dense:
            return f"({count} * {self.bits} + 7) / 8"
        return f"{count} * {self.bits // self.unit}"

    def address(self, array: str) -> str:
        """The address of `place` in `row`, in C."""
        if self.is_dense:
            return f"(u8 *){array} + row * ((length * {self.bits} + 7) / 8) + place * {self.bits} / 8"
        return f"(u8 *){array} + (row * length + place) * {self.bits // 8}"


@cache
def elementwise(shape: PlanShape, feeds: tuple[Feed, ...], numbers: frozenset[int] = frozenset()) -> Elementwise:
    """The kernel of a plan whose streams come so; `numbers`: see `steps.never_nan`."""
    return _Printer(shape, feeds, numbers).kernel()


class _Printer:
    def __init__(self, shape: PlanShape, feeds: tuple[Feed, ...], numbers: frozenset[int]) -> None:
        self.shape, self.feeds, self.numbers = shape, feeds, numbers
        self.result = Layout.of(shape.result, len(shape.outputs))
        self.layouts = [Layout.of(stream.storage) for stream in shape.streams]
        self.arrays = [index for index, feed in enumerate(feeds) if feed is Feed.ARRAY]
        self.drawn = feeds.index(Feed.DRAWN) if Feed.DRAWN in feeds else None
        self.chunk = self._chunk()
        self.chunks = self._chunks()

    def kernel(self) -> Elementwise:
        return Elementwise(
            KernelText("elementwise", tuple(self._arguments()), "\n".join(self._body())),
            self.chunk,
            THREADS * self.chunks,
        )

    def _chunk(self) -> int:
        layouts = [self.result, *(self.layouts[index] for index in self.arrays)]
        widest = max(layout.bits for layout in layouts)
        fields = 1 if self.drawn is None else BLOCK_BITS // self.layouts[self.drawn].bits
        return max(ACCESS_BITS // widest, fields, *(layout.chunk for layout in layouts))

    def _chunks(self) -> int:
        """Of one thread."""
        steps = THREAD_ELEMENTS * len(self.shape.steps)
        return max(1, THREAD_ELEMENTS // self.chunk) if steps <= MANY_STEPS else 1

    def _arguments(self) -> Iterator[str]:
        for index, feed in enumerate(self.feeds):
            if feed is not Feed.DRAWN:
                yield f"u32 s{index}" if feed is Feed.NUMBER else f"const void *s{index}"
        yield from ("void *result", "u64 rows", "u64 length")
        yield from (f"u32 p{index}" for index in range(len(self.shape.params)))
        yield from (f"const u32 *t{index}" for index in range(len(self.shape.tables)))
        if self.drawn is not None:
            yield from ("u64 seed", "u64 offset")

    def _body(self) -> Iterator[str]:
        count, layouts = self.chunk, self.layouts
        yield f"const u64 row_chunks = (length + {count - 1}) / {count}, chunks = rows * row_chunks;"
        yield f"const u64 first = (u64)blockIdx.x * {THREADS * self.chunks} + threadIdx.x;"
        yield f"u64 row_of[{self.chunks}], place_of[{self.chunks}];"
        for index in self.arrays:
            yield f"u32 words{index}[{self.chunks}][{layouts[index].words(count)}];"
        yield from self._each_chunk(self._read())
        yield from self._each_chunk(self._write())

    def _each_chunk(self, lines: Iterator[str]) -> Iterator[str]:
        begin = [f"const u64 chunk = first + k * {THREADS};", "if (chunk >= chunks) break;"]
        yield from unrolled("k", self.chunks, [*begin, *lines])

    def _read(self) -> Iterator[str]:
        yield "const u64 row = rows == 1 ? 0 : quotient(chunk, row_chunks);"
        yield f"const u64 place = (chunk - row * row_chunks) * {self.chunk};"
        yield "row_of[k] = row, place_of[k] = place;"
        yield from self._left()
        for index in self.arrays:
            layout = self.layouts[index]
            yield f"read_words<u{layout.unit}>(words{index}[k], {layout.address(f's{index}')}, {layout.units('left')});"
            if layout.is_big_endian:
                yield f"swap_bytes(words{index}[k]);"

    def _left(self) -> Iterator[str]:
        """Elements of the chunk."""
        yield f"const u32 left = length - place < {self.chunk} ? (u32)(length - place) : {self.chunk};"

    def _write(self) -> Iterator[str]:
        yield "const u64 row = row_of[k], place = place_of[k];"
        yield from self._left()
        for index, feed in enumerate(self.feeds):
            if feed is Feed.ROW:
                yield f"const u32 row_word{index} = ((const u32 *)s{index})[row];"
        if self.drawn is not None:
            yield from drawn(self.layouts[self.drawn].bits, self.chunk)
        yield f"u32 results[{self.result.words(self.chunk)}] = {{0}};"
        yield from unrolled("j", self.chunk, self._element())
        if self.result.is_big_endian:
            yield "swap_bytes(results);"
        unit, address = f"u{self.result.unit}", self.result.address("result")
        yield f"write_words<{unit}>(results, {address}, {self.result.units('left')});"

    def _element(self) -> Iterator[str]:
        streams = [self._stream(index) for index in range(len(self.feeds))]
        params = [f"p{index}" for index in range(len(self.shape.params))]
        tables = [f"t{index}" for index in range(len(self.shape.tables))]
        lines, outputs = statements(self.shape, streams, "v", params, tables, self.numbers)
        yield from lines
        if len(outputs) > 1:
            for index, output in enumerate(outputs):
                yield f"results[{len(outputs)} * j + {index}] = {output};"
        elif self.result.is_dense:
            put = "put_big_code" if self.result.is_big_endian else "put_code"
            yield f"{put}<{self.result.bits}>(results, j, j < left ? {outputs[0]} : 0);"
        else:
            yield f"put_code<{self.result.bits}>(results, j, {outputs[0]});"

    def _stream(self, index: int) -> tuple[str, str]:
        """The words of element j."""
        layout = self.layouts[index]
        match self.feeds[index]:
            case Feed.NUMBER:
                return f"s{index}", "0"
            case Feed.ROW:
                return f"row_word{index}", "0"
            case Feed.DRAWN:
                return f"code_at<{layout.bits}>(drawn, j)", "0"
        words = f"words{index}[k]"
        if layout.bits == 64:
            return f"{words}[2 * j]", f"{words}[2 * j + 1]"
        return f"{'big_' * layout.is_big_endian}code_at<{layout.bits}>({words}, j)", "0"
