"""Prints a group kernel: the stages of small blocks in registers, with shuffles between lanes, then the elements."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache

from statqat_sim.backends.cupy_gpu.block_group import GroupShape, Inner, Measured, Trial
from statqat_sim.backends.cupy_gpu.block_memory import (
    Held,
    draw_fields,
    load_elements,
    load_words,
    store_elements,
    store_word,
    words_of,
)
from statqat_sim.backends.cupy_gpu.block_places import multiplied
from statqat_sim.backends.cupy_gpu.block_text import (
    ALL_THREADS,
    FIRST_THREAD,
    Numbers,
    Printed,
    Signature,
    c_type,
    each_thread,
    printed_plan,
)
from statqat_sim.backends.cupy_gpu.block_trial import add_by_halves, comparable, term
from statqat_sim.backends.cupy_gpu.bodies import block, unrolled
from statqat_sim.backends.cupy_gpu.kernel_text import WARP
from statqat_sim.backends.cupy_gpu.steps import without_nan
from statqat_sim.geometry import Weighted
from statqat_sim.plan.block import INDEX
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import PlanShape


@cache
def group_kernel(shape: GroupShape) -> Printed:
    """The kernel of a group shape. Each lane holds `left` units of `row`, from `place` on.

    A variant without checks for the ends of rows is printed first; it is taken where all rows form one row of whole
    blocks, the usual case.
    """
    signature = Signature()
    lines = _Printer(shape, signature, is_whole=False).lines()
    if shape.fills_words:
        lines = [*_Printer(shape, signature, is_whole=True).lines(), *lines]
    return signature.printed("block_group", lines, cooperative=shape.is_cooperative)


class _Printer:
    def __init__(self, shape: GroupShape, signature: Signature, *, is_whole: bool) -> None:
        self.shape, self.each, self.signature, self.is_whole = shape, shape.each, signature, is_whole
        self.held: dict[str, Held] = {}
        self.sizes: dict[str, int] = {}
        """The number of units that share a word, by the word's name."""
        self.printed, self.numbered = 0, 0
        self.first = "0" if shape.lanes == 1 else f"part * {shape.each}"

    def lines(self) -> list[str]:
        for name in ("rows", "length", "width" if self.shape.down else "height"):
            self.signature.number(name)
        lines = [*self._begin(), *self._load(), *self._stages(), *self._store()]
        if self.is_whole:
            return self._each_whole_lane(lines)
        return [*self._count(), *(self._each_warp(lines) if self.shape.lanes > 1 else self._each_group(lines))]

    # --- where a lane is -----------------------------------------------------------------------------------------

    def _each_whole_lane(self, lines: list[str]) -> list[str]:
        """Loop over whole warps of one row of whole, aligned groups."""
        lanes, elements = self.shape.lanes, self.shape.elements
        assert elements is not None
        together = self.each * (WARP if lanes > 1 else 1)
        place = [f"const u64 row = 0, place = thread * {self.each};", f"[[maybe_unused]] const u32 left = {self.each};"]
        if lanes > 1:
            place.append(f"[[maybe_unused]] const u32 part = threadIdx.x % {lanes};")
        each = each_thread(f"length / {self.each}", [*place, *lines])
        aligned = [
            f"is_aligned<{words_of(self.each, storage)}>({array})"
            for array, storage in (("elements", elements.storage), ("out", self.shape.result))
        ]
        whole = " && ".join(["rows == 1", f"length % {together} == 0", *aligned])
        return block(f"if ({whole})", [*each, "return;"])

    def _each_group(self, lines: list[str]) -> list[str]:
        if not self.shape.down:
            return each_thread("groups", ["const u64 group = thread;", *lines])
        begin = "const u64 group = quotient(thread, width), column = thread - group * width;"
        return each_thread("groups * width", [begin, *lines])

    def _each_warp(self, lines: list[str]) -> list[str]:
        """Loop over whole warps: a shuffle needs all lanes of its warp."""
        lanes = self.shape.lanes
        begin = [
            f"const u64 thread = first + threadIdx.x % {WARP};",
            f"const u32 part = threadIdx.x % {lanes};",
            f"const bool is_there = thread / {lanes} < groups;",
            f"const u64 group = is_there ? thread / {lanes} : groups - 1;",
        ]
        head = f"u64 first = {FIRST_THREAD} - threadIdx.x % {WARP}; first < groups * {lanes}; first += {ALL_THREADS}"
        return block(f"for ({head})", begin + lines)

    def _count(self) -> Iterator[str]:
        size = self.shape.size
        yield f"const u64 row_groups = (length + {size - 1}) / {size}, groups = rows * row_groups;"

    def _begin(self) -> Iterator[str]:
        has_near = not all(source.site.shared for source in self.shape.sources)
        if self.is_whole:
            yield from ["[[maybe_unused]] const u64 near = place;"] * has_near
            return
        yield "const u64 row = rows == 1 ? 0 : quotient(group, row_groups);"
        yield f"const u64 place = (group - row * row_groups) * {self.shape.size} + {self.first};"
        is_there = "place < length" if self.shape.lanes == 1 else "is_there && place < length"
        if has_near:
            yield "const u64 near = min(place, length - 1);"
        yield f"const u32 left = {is_there} ? (u32)min(length - place, (u64){self.each}) : 0;"

    # --- what it reads -------------------------------------------------------------------------------------------

    def _load(self) -> Iterator[str]:
        if self.shape.elements is not None:
            name, storage = self.shape.elements
            array = self.signature.source("elements", c_type(storage))
            yield from load_elements(array, "x", self.shape, storage, is_whole=self.is_whole)
            self._hold(name, Held("x", 1), 1)
        for index, source in enumerate(self.shape.sources):
            array = self.signature.source(f"from{index}", c_type(source.storage))
            lines, held = load_words(array, f"w{index}", self.shape, source)
            yield from lines
            self._hold(source.name, held, source.site.columns)
        if self.shape.drawn is not None:
            for name in ("seed", "offset"):
                self.signature.number(name)
            yield from draw_fields("random", self.shape.drawn, self.each)
            self._hold(RANDOM, Held("random", 1), 1)

    def _hold(self, name: str, held: Held, size: int) -> None:
        self.held[name], self.sizes[name] = held, size

    def _words(self, variable: str, size: int) -> Held:
        """Words of blocks of `size` units: an array of one per block in the lane, or a single word."""
        return Held(variable, size if size < self.each else 0)

    def _declared(self, held: Held, kind: str = "u32", start: str = "") -> str:
        if held.size:
            return f"{kind} {held.name}[{self.each // held.size}]{f' = {{{start}}}' if start else ''};"
        return f"{kind} {held.name}{f' = {start}' if start else ''};"

    # --- plans ---------------------------------------------------------------------------------------------------

    def _numbers(self, shape: PlanShape) -> Numbers:
        self.numbered += 1
        return Numbers.declared(self.signature, self.numbered - 1, shape)

    def _plan(
        self,
        shape: PlanShape,
        numbers: Numbers,
        unit: str,
        *,
        index: str = "0",
        outputs: Collection[int] | None = None,
        proven: Collection[int] = (),
        has_nan: str | None = None,
    ) -> tuple[list[str], list[str]]:
        """A plan's statements for a unit of the lane, and the expressions of its outputs."""
        words = [index if stream.name == INDEX else self.held[stream.name].at(unit) for stream in shape.streams]
        self.printed += 1
        return printed_plan(shape, words, f"v{self.printed}_", numbers, outputs, proven, has_nan)

    # --- stages --------------------------------------------------------------------------------------------------

    def _stages(self) -> Iterator[str]:
        for place, stage in enumerate(self.shape.stages):
            for index, statistic in enumerate(stage.statistics):
                yield from self._statistic(f"m{place}_{index}", stage.size, statistic)
            results = {
                output: self._words(f"s{place}_{output}", stage.size)
                for output, name in enumerate(stage.results)
                if self.shape.is_read(name)
            }
            if self.shape.trial is not None and stage is self.shape.stages[-1]:
                yield from self._choice(stage, self.shape.trial, results)
                continue
            numbers = self._numbers(stage.plan)
            yield from self._stage(stage, numbers, results)
            self._hold_results(stage, results)

    def _hold_results(self, stage: Inner, results: Mapping[int, Held]) -> None:
        for output, held in results.items():
            self._hold(stage.results[output], held, stage.size)

    def _statistic(self, variable: str, size: int, statistic: Measured) -> Iterator[str]:
        """Compute the largest key of each block, first of a lane's units, then across the lanes that hold the block."""
        held, unit = self._words(variable, size), self.sizes[statistic.of]
        step = min(unit, self.each)
        place = multiplied("e", step)
        index = f"(u32)({self.first} + {place}) % {size} / {unit}"
        lines, (key,) = self._plan(statistic.key, self._numbers(statistic.key), place, index=index)
        largest = f"{held.at(place)} = max({held.at(place)}, {key});"
        yield self._declared(held, start="0")
        yield from unrolled("e", self.each // step, [*lines, f"if ({self._exists(place, unit)}) {largest}"])
        lanes = 1
        while lanes * self.each < size:
            yield f"{variable} = max({variable}, __shfl_xor_sync(0xffffffffu, {variable}, {lanes}));"
            lanes *= 2
        self._hold(statistic.name, held, size)

    def _exists(self, place: str, unit: int) -> str:
        """A C condition: whether the block of `unit` units at this place in the lane has any element."""
        return f"{place} < left" if unit <= self.each else f"place - {self.first} % {unit} < length"

    def _stage(self, stage: Inner, numbers: Numbers, results: Mapping[int, Held]) -> Iterator[str]:
        """Declare and compute results of a stage's plan; `results` maps output indices to the words that hold them."""
        yield from (self._declared(held) for held in results.values())
        yield from without_nan("has_nan", lambda has_nan: self._found(stage, numbers, results, has_nan))

    def _found(self, stage: Inner, numbers: Numbers, results: Mapping[int, Held], has_nan: str | None) -> list[str]:
        place = multiplied("k", stage.size)
        lines, outputs = self._plan(stage.plan, numbers, place, outputs=results, has_nan=has_nan)
        stores = [f"{held.at(place)} = {output};" for held, output in zip(results.values(), outputs, strict=True)]
        return unrolled("k", max(self.each // stage.size, 1), [*lines, *stores])

    # --- candidates ----------------------------------------------------------------------------------------------

    def _choice(self, stage: Inner, trial: Trial, tried: Mapping[int, Held]) -> Iterator[str]:
        """Give each block the candidate with the smallest error, the first among equals."""
        place, count = self.numbered, len(stage.plan.params)
        self.numbered += 1
        tables = Numbers.declared_tables(self.signature, place, stage.plan)
        numbers = Numbers(tuple(f"__ldg(tried + {index})" for index in range(count)), tables)
        used = [output for output in tried if self.shape.is_used(stage.results[output])]
        best = {output: self._words(f"best{output}", stage.size) for output in used}
        least = self._words("least", stage.size)
        choices, candidates = self.signature.source("choices", "u32"), self.signature.number("candidates", "u32")
        lines = [f"const u32 *tried = {choices} + candidate * {count};", *self._stage(stage, numbers, tried)]
        self._hold_results(stage, tried)
        lines += [*self._errors(stage, trial), *self._better(stage, tried, best, least)]
        yield from (self._declared(held, start="0") for held in best.values())
        yield self._declared(least, "double", "0")
        yield from block(f"for (u32 candidate = 0; candidate < {candidates}; candidate++)", lines)
        self._hold_results(stage, best)

    def _errors(self, stage: Inner, trial: Trial) -> Iterator[str]:
        """Declare `errors`; a block's error is at the place of its first element."""
        weight = None if trial.weighted is None else self._weight(trial.weighted)
        lines, (value,) = self._plan(trial.plan, self._numbers(trial.plan), "e")
        lines += term("x[e]", value, weight)
        yield f"double errors[{self.each}];"
        yield from unrolled("e", self.each, [*lines, "errors[e] = e < left ? term : 0;"])
        yield from add_by_halves("errors", stage.size, self.each)

    def _weight(self, weighted: Weighted) -> str:
        weights = self.signature.source("weights", "double")
        if weighted is Weighted.ROW and not self.shape.down:
            return f"{weights}[row - quotient(row, height) * height]"
        return f"(e < left ? {weights}[place + e] : 0)"

    def _better(self, stage: Inner, tried: Mapping[int, Held], best: Mapping[int, Held], least: Held) -> list[str]:
        """Replace a block's best results if the candidate's error is smaller."""
        place = multiplied("k", stage.size)
        error = f"errors[{place}]" if stage.size < self.each else "errors[0]"
        replaced = [f"{held.at(place)} = {tried[output].at(place)};" for output, held in best.items()]
        lines = [
            f"const double error = {comparable(error)};",
            *block(f"if (!candidate || error < {least.at(place)})", [f"{least.at(place)} = error;", *replaced]),
        ]
        return unrolled("k", max(self.each // stage.size, 1), lines)

    # --- what it writes ------------------------------------------------------------------------------------------

    def _store(self) -> Iterator[str]:
        for index, kept in enumerate(self.shape.kept):
            array = self.signature.target(f"to{index}", c_type(kept.storage))
            yield from store_word(array, self.shape, kept, self.held[kept.result], self.first)
        if self.shape.plan is not None:
            yield f"u32 result[{self.each}];"
            numbers, plan = self._numbers(self.shape.plan), self.shape.plan
            yield from without_nan("has_nan", lambda has_nan: self._results(plan, numbers, has_nan))
            array = self.signature.target("out", c_type(self.shape.result))
            yield from store_elements(array, "result", self.shape, is_whole=self.is_whole)

    def _results(self, plan: PlanShape, numbers: Numbers, has_nan: str | None) -> list[str]:
        lines, (output,) = self._plan(plan, numbers, "e", proven=self.shape.numbers, has_nan=has_nan)
        return unrolled("e", self.each, [*lines, f"result[e] = {output};"])
