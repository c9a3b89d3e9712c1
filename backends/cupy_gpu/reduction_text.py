"""Prints the kernels of reductions. A block reduces pieces of rows; integer atomics join the same in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from statqat_sim.backends.cupy_gpu.block_text import Numbers, Printed, Signature
from statqat_sim.backends.cupy_gpu.bodies import block, unrolled
from statqat_sim.backends.cupy_gpu.elementwise import ACCESS_BITS, THREAD_ELEMENTS, Layout
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS, WARP
from statqat_sim.backends.cupy_gpu.steps import never_nan, statements
from statqat_sim.plan.layout import INFINITY, MAGNITUDE
from statqat_sim.plan.program import Storage
from statqat_sim.plan.reduction import SIGN_AND_EXPONENT, Reducer, ReductionPlan

WINDOW: Final = 2048
"""Bins of each sign that a block counts in shared memory, 32 KiB in all; other bins are counted in global memory."""

LEAST_PIECE: Final = 1 << 16
"""The smallest piece, in elements: flushing a window costs as much as some thousand elements."""

MOST_PIECES: Final = 1 << 12
"""The most pieces that rows are cut into, all together: several for every multiprocessor."""


class Reading(NamedTuple):
    """How a thread reads elements: it issues `chunks` loads of `chunk` elements each before it uses the first."""

    layout: Layout
    chunk: int
    chunks: int

    @classmethod
    def of(cls, storage: Storage) -> Reading:
        chunk = ACCESS_BITS // storage.bits
        return cls(Layout.of(storage), chunk, THREAD_ELEMENTS // chunk)

    def word(self, words: str, element: str) -> tuple[str, str]:
        """C expressions of the low and the high word of a loaded element."""
        if self.layout.bits == 64:
            return f"{words}[2 * {element}]", f"{words}[2 * {element} + 1]"
        return f"code_at<{self.layout.bits}>({words}, {element})", "0"


def piece_elements(rows: int, length: int) -> int:
    """Elements of each piece of a row but the last one; a multiple of every chunk size."""
    pieces = max(1, min(-(-length // LEAST_PIECE), MOST_PIECES // rows))
    return -(-length // (pieces * ACCESS_BITS)) * ACCESS_BITS


@cache
def reduction_kernel(plan: ReductionPlan) -> Printed:
    """The kernel of all plans of this shape. It accumulates into results that must be zeroed before."""
    return _maxima(plan) if plan.reducer is Reducer.MAXIMUM else _histogram(plan)


def _maxima(plan: ReductionPlan) -> Printed:
    signature, kind = _signature(), "u64" if plan.in_pairs else "u32"
    results = signature.target("results", kind)
    print_words = _words(plan, signature)

    def element(streams: tuple[str, str]) -> Iterator[str]:
        lines, words = print_words(streams)
        yield from lines
        for place, number in enumerate(_paired(words) if plan.in_pairs else words):
            yield f"largest[{place}] = max(largest[{place}], {number});"

    joined = [
        "for (u32 step = 16; step; step /= 2)",
        "    largest[k] = max(largest[k], __shfl_xor_sync(0xffffffffu, largest[k], step));",
        f"{kind} *const result = {results} + row * {plan.width} + k;",
        # a stale value of the result can only be too small
        f"if (threadIdx.x % {WARP} == 0 && largest[k] > *result) atomicMax(result, largest[k]);",
    ]
    lines = [
        f"{kind} largest[{plan.width}] = {{0}};",
        *_each_element(Reading.of(plan.storage), element),
        *unrolled("k", plan.width, joined),
    ]
    return signature.printed("reduction_maxima", _each_piece(lines), cooperative=True)


def _paired(words: Sequence[str]) -> list[str]:
    """C expressions of 64-bit numbers from pairs of words, low word first."""
    return [f"((u64){high} << 32 | {low})" for low, high in zip(words[::2], words[1::2], strict=True)]


def _histogram(plan: ReductionPlan) -> Printed:
    signature = _signature()
    counts, sums = (signature.target(name, "u64") for name in ("counts", "sums"))
    lines, (word,) = _words(plan, signature)(("low", "high"))
    reading, half = Reading.of(plan.storage), plan.bins // 2
    window = min(WINDOW, half)
    body = [
        *block("const auto word_of = [&](u32 low, u32 high) -> u32", [*lines, f"return {word};"])[:-1],
        "};",
        f"__shared__ u32 counted[{2 * window}], summed[{2 * window}], zeros_of_block, top;",
        *_each_piece(
            [
                f"u64 *const row_counts = {counts} + row * {plan.bins}, *const row_sums = {sums} + row * {plan.bins};",
                *_choose_window(plan, reading, window),
                "u32 zeros = 0;",
                *block("const auto add = [&](u32 word)", _add(plan, window))[:-1],
                "};",
                *_each_element(reading, lambda streams: iter([f"add(word_of({', '.join(streams)}));"])),
                *_empty_window(half, window),
            ]
        ),
    ]
    return signature.printed("reduction_histogram", body, cooperative=True)


def _choose_window(plan: ReductionPlan, reading: Reading, window: int) -> Iterator[str]:
    """Zero the window, and place its end an octave above the largest of one sampled element per thread."""
    octave, half = plan.bins >> SIGN_AND_EXPONENT, plan.bins // 2
    yield f"for (u32 i = threadIdx.x; i < {2 * window}; i += {THREADS}) counted[i] = summed[i] = 0;"
    yield "if (threadIdx.x == 0) zeros_of_block = top = 0;"
    yield "__syncthreads();"
    yield f"const u64 seen = row * length + begin + (end - begin) * threadIdx.x / {THREADS};"
    yield f"const u32 sample = word_of({', '.join(_single(reading.layout))}) & {MAGNITUDE:#x}u;"
    yield f"if (sample < {INFINITY:#x}u) atomicMax(&top, sample >> {plan.shift});"
    yield "__syncthreads();"
    yield f"const u32 end_bin = max(min(top + {octave + 1}u, {half}u), {window}u), first_bin = end_bin - {window}u;"


def _single(layout: Layout) -> tuple[str, str]:
    """C expressions of the low and the high word of the element at index `seen`."""
    if layout.bits == 64:
        return "((const u32 *)x)[2 * seen]", "((const u32 *)x)[2 * seen + 1]"
    return f"((const u{layout.bits} *)x)[seen]", "0"


def _add(plan: ReductionPlan, window: int) -> Iterator[str]:
    """Count `word` in its bin. If the bin's 32-bit sum overflows, the carry goes to the row's sum."""
    rest = (1 << plan.shift) - 1
    yield "zeros += word == 0;"
    yield "if (word == 0) return;"
    yield f"const u32 magnitude = word & {MAGNITUDE:#x}u, bin = word >> {plan.shift};"
    yield f"const u32 rest = magnitude < {INFINITY:#x}u ? word & {rest:#x}u : 0;"
    yield f"const u32 inside = (magnitude >> {plan.shift}) - first_bin;"
    outside = ["atomicAdd(row_counts + bin, (u64)1);", "if (rest) atomicAdd(row_sums + bin, (u64)rest);", "return;"]
    yield from block(f"if (inside >= {window})", outside)
    yield f"const u32 slot = (word >> 31) * {window} + inside;"
    yield "atomicAdd(counted + slot, 1u);"
    yield "if (rest && atomicAdd(summed + slot, rest) + rest < rest) atomicAdd(row_sums + bin, (u64)1 << 32);"


def _empty_window(half: int, window: int) -> Iterator[str]:
    """Add the window's counts and sums to the row's results."""
    yield "if (zeros) atomicAdd(&zeros_of_block, zeros);"
    yield "__syncthreads();"
    yield "if (threadIdx.x == 0 && zeros_of_block) atomicAdd(row_counts, (u64)zeros_of_block);"
    lines = [
        f"const u32 bin = slot / {window} * {half} + first_bin + slot % {window};",
        "if (counted[slot]) atomicAdd(row_counts + bin, (u64)counted[slot]);",
        "if (summed[slot]) atomicAdd(row_sums + bin, (u64)summed[slot]);",
    ]
    yield from block(f"for (u32 slot = threadIdx.x; slot < {2 * window}; slot += {THREADS})", lines)
    yield "__syncthreads();"


def _signature() -> Signature:
    signature = Signature()
    signature.source("x", "void")
    for name in ("rows", "length", "pieces", "piece_elements"):
        signature.number(name)
    return signature


def _words(plan: ReductionPlan, signature: Signature) -> Callable[[tuple[str, str]], tuple[list[str], tuple[str, ...]]]:
    """A function from an element's stream words to the plan's C statements and output expressions."""
    shape, proven = plan.element.shape, never_nan(plan.element)
    numbers = Numbers.declared(signature, 0, shape)
    return lambda streams: statements(shape, [streams], "v", numbers.params, numbers.tables, proven)


def _each_piece(lines: Sequence[str]) -> list[str]:
    """Loop over the block's pieces: `lines` see the elements of `row` from `begin` to `end`, excluded."""
    place = [
        "const u64 row = quotient(piece, pieces), begin = (piece - row * pieces) * piece_elements;",
        "const u64 end = min(begin + piece_elements, length);",
    ]
    return block("for (u64 piece = blockIdx.x; piece < rows * pieces; piece += gridDim.x)", [*place, *lines])


def _each_element(reading: Reading, element: Callable[[tuple[str, str]], Iterator[str]]) -> list[str]:
    """Loop over the elements of a piece; `element` prints the statements for an element's stream words."""
    layout, chunk, chunks = reading.layout, reading.chunk, reading.chunks
    where = [
        f"const u64 place = first + k * {THREADS * chunk};",
        "if (place >= end) break;",
        f"const u32 left = end - place < {chunk} ? (u32)(end - place) : {chunk};",
    ]
    read = f"read_words<u{layout.unit}>(words[k], {layout.address('x')}, {layout.units('left')});"
    each = unrolled("j", chunk, block("if (j < left)", element(reading.word("words[k]", "j"))))
    begin, step = f"begin + threadIdx.x * {chunk}", THREADS * chunk * chunks
    return block(
        f"for (u64 first = {begin}; first < end; first += {step})",
        [
            f"u32 words[{chunks}][{layout.words(chunk)}];",
            *unrolled("k", chunks, [*where, read]),
            *unrolled("k", chunks, [*where, *each]),
        ],
    )
