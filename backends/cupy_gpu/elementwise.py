"""Prints an elementwise plan as a kernel. A thread takes chunks: consecutive elements that fill whole words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import gcd
from typing import Final, NamedTuple

from statqat_sim.backends.cupy_gpu.bodies import block, unrolled
from statqat_sim.backends.cupy_gpu.draws import drawn
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS, KernelText
from statqat_sim.backends.cupy_gpu.steps import statements, without_nan
from statqat_sim.plan.philox import BLOCK_BITS
from statqat_sim.plan.program import Packed, PlanShape, Storage

ACCESS_BITS: Final = 128
"""Bits of the widest loads and stores."""

THREAD_ELEMENTS: Final = 16
"""Elements that a thread reads before it writes the first, to hide the memory's latency."""

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

    def address(self, array: str, place: str = "place") -> str:
        """The address of a place in `row`, in C."""
        if self.is_dense:
            return f"(u8 *){array} + row * ((length * {self.bits} + 7) / 8) + {place} * {self.bits} / 8"
        return f"(u8 *){array} + (row * length + {place}) * {self.bits // 8}"

    def moved(self, way: str, words: str, address: str, *, is_whole: bool) -> str:
        """C: read or write words of `left` elements; of as many as fill them, and aligned, where it is whole."""
        if is_whole:
            return f"{way}_whole({words}, {address});"
        return f"{way}_words<u{self.unit}>({words}, {address}, {self.units('left')});"


@cache
def elementwise(shape: PlanShape, feeds: tuple[Feed, ...], numbers: frozenset[int] = frozenset()) -> Elementwise:
    """The kernel of a plan whose streams have these feeds; `numbers`: see `steps.never_nan`."""
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
        yield f"const u64 row_chunks = (length + {self.chunk - 1}) / {self.chunk};"
        yield f"const u64 begin = (u64)blockIdx.x * {THREADS * self.chunks};"
        yield from block("", self._whole_block())
        yield from self._any_block()

    def _whole_block(self) -> Iterator[str]:
        """Nearly all blocks lie in one row and are aligned: they look once."""
        yield "const u64 row = rows == 1 ? 0 : quotient(begin, row_chunks);"
        yield f"const u64 start = (begin - row * row_chunks) * {self.chunk};"
        aligned = [f"is_aligned<{layout.words(self.chunk)}>({at})" for layout, at in self._addresses("start")]
        span = THREADS * self.chunks * self.chunk
        yield from block(f"if ({' && '.join([f'start + {span} <= length', *aligned])})", self._whole())

    def _addresses(self, place: str) -> Iterator[tuple[Layout, str]]:
        """Layouts and addresses of the arrays that are read, and of the result."""
        for index in self.arrays:
            yield self.layouts[index], self.layouts[index].address(f"s{index}", place)
        yield self.result, self.result.address("result", place)

    def _whole(self) -> Iterator[str]:
        """All chunks of a thread are read before the first is written."""
        where = f"const u64 place = start + (k * {THREADS} + threadIdx.x) * {self.chunk};"
        yield from self._declared(f"[{self.chunks}]")
        yield from self._row_words()
        yield from unrolled("k", self.chunks, [where, *self._read("[k]", is_whole=True)])
        yield from unrolled("k", self.chunks, [where, *self._write("[k]", is_whole=True)])
        yield "return;"

    def _any_block(self) -> Iterator[str]:
        """One chunk after the other: short code, and enough threads to hide the memory's latency."""
        lines = [
            f"const u64 chunk = begin + k * {THREADS} + threadIdx.x;",
            "if (chunk >= rows * row_chunks) break;",
            "const u64 row = rows == 1 ? 0 : quotient(chunk, row_chunks);",
            f"const u64 place = (chunk - row * row_chunks) * {self.chunk};",
            f"const u32 left = length - place < {self.chunk} ? (u32)(length - place) : {self.chunk};",
            *self._declared(),
            *self._row_words(),
            *self._read("", is_whole=False),
            *self._write("", is_whole=False),
        ]
        yield "#pragma unroll 1"
        yield from block(f"for (u32 k = 0; k < {self.chunks}; k++)", lines)

    def _declared(self, chunks: str = "") -> Iterator[str]:
        for index in self.arrays:
            yield f"u32 words{index}{chunks}[{self.layouts[index].words(self.chunk)}];"

    def _row_words(self) -> Iterator[str]:
        for index, feed in enumerate(self.feeds):
            if feed is Feed.ROW:
                yield f"const u32 row_word{index} = ((const u32 *)s{index})[row];"

    def _read(self, chunk: str, *, is_whole: bool) -> Iterator[str]:
        """A chunk, by the index of its words: `left` elements from `place` of `row` on."""
        for index in self.arrays:
            layout, words = self.layouts[index], f"words{index}{chunk}"
            yield layout.moved("read", words, layout.address(f"s{index}"), is_whole=is_whole)
            if layout.is_big_endian:
                yield f"swap_bytes({words});"

    def _write(self, chunk: str, *, is_whole: bool) -> Iterator[str]:
        if self.drawn is not None:
            yield from drawn(self.layouts[self.drawn].bits, self.chunk, str(self.chunk) if is_whole else "left")
        yield f"u32 results[{self.result.words(self.chunk)}];"
        yield from without_nan("has_nan", lambda has_nan: self._results(chunk, is_whole, has_nan))
        if self.result.is_big_endian:
            yield "swap_bytes(results);"
        yield self.result.moved("write", "results", self.result.address("result"), is_whole=is_whole)

    def _results(self, chunk: str, is_whole: bool, has_nan: str | None) -> Iterator[str]:
        yield from unrolled("i", self.result.words(self.chunk), ["results[i] = 0;"])
        yield from unrolled("j", self.chunk, self._element(chunk, is_whole, has_nan))

    def _element(self, chunk: str, is_whole: bool, has_nan: str | None) -> Iterator[str]:
        streams = [self._stream(index, chunk) for index in range(len(self.feeds))]
        params = [f"p{index}" for index in range(len(self.shape.params))]
        tables = [f"t{index}" for index in range(len(self.shape.tables))]
        lines, outputs = statements(self.shape, streams, "v", params, tables, self.numbers, has_nan)
        yield from lines
        if len(outputs) > 1:
            for index, output in enumerate(outputs):
                yield f"results[{len(outputs)} * j + {index}] = {output};"
        else:
            put = "put_big_code" if self.result.is_big_endian else "put_code"
            code = outputs[0] if is_whole or not self.result.is_dense else f"j < left ? {outputs[0]} : 0"
            yield f"{put}<{self.result.bits}>(results, j, {code});"

    def _stream(self, index: int, chunk: str) -> tuple[str, str]:
        """The words of element j of a chunk."""
        layout = self.layouts[index]
        match self.feeds[index]:
            case Feed.NUMBER:
                return f"s{index}", "0"
            case Feed.ROW:
                return f"row_word{index}", "0"
            case Feed.DRAWN:
                return f"code_at<{layout.bits}>(drawn, j)", "0"
        words = f"words{index}{chunk}"
        if layout.bits == 64:
            return f"{words}[2 * j]", f"{words}[2 * j + 1]"
        return f"{'big_' * layout.is_big_endian}code_at<{layout.bits}>({words}, j)", "0"
