"""Runs the stages of a block plan on words whose axes are split where blocks end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.block_errors import split_weights, squared_errors
from statqat_sim.backends.torch_ops.draws import Draws
from statqat_sim.backends.torch_ops.grids import Grids
from statqat_sim.backends.torch_ops.largest import Among, largest
from statqat_sim.backends.torch_ops.program import Program
from statqat_sim.backends.torch_ops.streams import short_words
from statqat_sim.backends.torch_ops.tiling import Tiling
from statqat_sim.backends.torch_ops.vectors import (
    LANES,
    LOWEST,
    can_stay,
    in_memory,
    kept,
    largest_of_vectors,
    loops_matter,
)
from statqat_sim.geometry import block_sizes
from statqat_sim.plan.block import ELEMENT, ELEMENTS, GIVEN, INDEX, BlockPlan, Stage, Statistic
from statqat_sim.plan.block_statistics import highest, lowest, peak
from statqat_sim.plan.ranges import ranges
from statqat_sim.spec.scale import Block


class Key:
    """The key whose maximum is a statistic."""

    def __init__(self, statistic: Statistic) -> None:
        self.name, self.of = statistic.name, statistic.of
        self.program = Program(statistic.key)
        self.among = _among(statistic)

    @property
    def is_below_sign(self) -> bool:
        return self.among is Among.BELOW_SIGN


def _among(statistic: Statistic) -> Among:
    """What a statistic's keys are known to be."""
    if statistic == peak(statistic.of):
        return Among.BELOW_SIGN  # no index is larger than `LAST_INDEX`
    if statistic in (lowest(statistic.of), highest(statistic.of)):
        return Among.FINITE
    return Among.up_to(ranges(statistic.key)[statistic.key.shape.outputs[0]].high)


class StagePrograms:
    """A stage with its plans compiled; `is_given`: whether it reads the caller's scales."""

    def __init__(self, stage: Stage, *, is_given: bool = False) -> None:
        self.block, self.results = stage.block, stage.results
        self.keys = [Key(statistic) for statistic in stage.statistics]
        self.programs = [Program(plan) for plan in stage.plans]
        self.is_given = is_given


class Programs:
    """A block plan with all of its plans compiled."""

    def __init__(self, plan: BlockPlan) -> None:
        self.encode, self.fake_quantize, self.decode = map(Program, (plan.encode, plan.fake_quantize, plan.decode))
        self.stages = [StagePrograms(stage, is_given=stage is plan.given_stage) for stage in plan.stages]
        self.decoding = StagePrograms(plan.decoding)
        self.draws = Draws.of(plan.encode)


@dataclass
class Found:
    """The words of an array's elements and blocks computed so far, by name."""

    tiling: Tiling | Grids
    device: torch.device
    known: dict[str, Tensor] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)
    """The block that each name has one word for."""

    loops_matter: bool = False
    """See `vectors.loops_matter`."""

    is_in_memory: bool = False
    """Whether the elements are `vectors.in_memory`."""

    def put(self, name: str, array: Tensor, block: Block) -> None:
        """Add an array with one element for each block."""
        self.known[name] = self.tiling.split(short_words(array), block)
        self.blocks[name] = block

    def put_elements(self, x: Tensor, stages: Iterable[StagePrograms]) -> None:
        """Add the elements to quantize; `stages` are those that will read them."""
        vectors = any(self._compares_vectors(key, stage.block) for stage in stages for key in stage.keys)
        self.loops_matter = loops_matter(x)
        self.is_in_memory = vectors and self.loops_matter and can_stay(x)
        self.put(ELEMENTS, in_memory(x) if self.is_in_memory else x, ELEMENT)

    def elements(self, program: Program) -> Tensor:
        """The result of an element plan, with split axes."""
        return self._run(program, ELEMENT)[0].broadcast_to(self.tiling.shape(ELEMENT))

    def values(self, program: Program) -> Tensor:
        """The result of an element plan, float32, in the array's shape."""
        return self.tiling.joined(self.elements(program).view(torch.float32), ELEMENT).reshape(
            self.tiling.geometry.shape
        )

    def add(self, stage: StagePrograms, results: tuple[Tensor, ...]) -> None:
        """Add the results of a stage."""
        for name, result in zip(stage.results, results, strict=True):
            self.known[name] = result
            self.blocks[name] = stage.block

    def decode(self, stage: StagePrograms) -> None:
        """Run the stage that `decode` needs."""
        self.add(stage, self._run(stage.programs[0], stage.block))

    def do(self, stage: StagePrograms, fake_quantize: Program, given: Tensor | None, weights: Tensor | None) -> None:
        """Run a stage that `encode` needs."""
        for key in stage.keys:
            found = self._largest(key, stage.block)
            self.known[key.name] = kept(found) if len(stage.keys) > 1 else found  # other keys may read it
            self.blocks[key.name] = stage.block
        if given is not None and stage.is_given:
            self.put(GIVEN, given, stage.block)
        if len(stage.programs) == 1:
            results = self._run(stage.programs[0], stage.block)
            self.add(stage, tuple(map(kept, results)) if self._is_repeated(stage, fake_quantize) else results)
        else:
            self._choose(stage, fake_quantize, weights)

    def _largest(self, key: Key, block: Block) -> Tensor:
        """The largest key of every block; 0 for a block without elements."""
        unit, shape = self.blocks[key.of], self.tiling.shape(block)
        if key.of != ELEMENTS:
            self.known[key.of] = kept(self.known[key.of])  # the compiler would not vectorize what computes it
        if 0 in self.tiling.shape(unit):
            return torch.zeros(shape, dtype=torch.int32, device=self.device)
        if INDEX in key.program.names:
            self.known[INDEX], self.blocks[INDEX] = self.tiling.index(unit, block, self.device), unit
        if self.loops_matter and 1 < self.tiling.count_in_row(unit, block) < LANES:
            return kept(self._largest_of_places(key, block)).reshape(shape)  # what reads it would be strided, too
        keys, inside = self.tiling.gathered(self._run(key.program, unit)[0], unit, block)
        if self.is_in_memory and self._compares_vectors(key, block):
            return largest_of_vectors(keys, is_below_sign=key.is_below_sign).reshape(shape)
        return (largest(keys, inside, key.among) if inside else keys).reshape(shape)

    def _largest_of_places(self, key: Key, block: Block) -> Tensor:
        """`_largest` of blocks shorter than vectors: all their first words, then all their second words, and so on.

        Vectors then hold words of different blocks. `_compares_vectors` is faster for longer blocks.
        """
        unit, words = self.blocks[key.of], []
        for place in range(self.tiling.count_in_row(unit, block)):
            streams = {name: (self._at(place, name, unit, block), None) for name in key.program.names}
            word = key.program(streams, self.device)[0]
            words.append(word if key.is_below_sign else word ^ LOWEST)
        found = reduce(torch.maximum, words)
        return found if key.is_below_sign else found ^ LOWEST

    def _at(self, place: int, name: str, unit: Block, block: Block) -> Tensor:
        """The words of the blocks `unit` at one place in every `block`, or the words of the blocks themselves."""
        words, of = self.known[name], self.blocks[name]
        if of != unit:
            return self.tiling.spread(words, of, block)
        return self.tiling.gathered(words, unit, block)[0][..., place]

    def _compares_vectors(self, key: Key, block: Block) -> bool:
        """Whether `largest_of_vectors` is faster than `largest`, of elements in memory."""
        count = self.tiling.count_in_row(ELEMENT, block) if key.of == ELEMENTS else 0
        if key.among is Among.WORDS:
            return count > 0 and not count % LANES
        return count == LANES and key.is_below_sign

    def _is_repeated(self, stage: StagePrograms, fake_quantize: Program) -> bool:
        """Whether the compiler would compute the words of a block again for each of several vectors of elements."""
        rows, columns = block_sizes(stage.block, along_rows=self.tiling.geometry.along_rows)
        if rows == 1:
            return columns == 0 or columns >= 2 * LANES
        is_last = any(name in fake_quantize.names for name in stage.results)
        return columns == 1 and (rows == 0 or rows >= (LANES // 2 if is_last else LANES))

    def _choose(self, stage: StagePrograms, fake_quantize: Program, weights: Tensor | None) -> None:
        """Give each block the candidate with the smallest error, the first among equals."""
        best = self._run(stage.programs[0], stage.block)
        least = self._errors(stage, best, fake_quantize, weights)
        for program in stage.programs[1:]:
            candidate = self._run(program, stage.block)
            errors = self._errors(stage, candidate, fake_quantize, weights)
            better = errors < least
            least = torch.where(better, errors, least)
            best = tuple(torch.where(better, new, old) for new, old in zip(candidate, best, strict=True))
        self.add(stage, tuple(map(kept, best)))

    def _errors(
        self, stage: StagePrograms, results: tuple[Tensor, ...], fake_quantize: Program, weights: Tensor | None
    ) -> Tensor:
        """The squared error of each block under a candidate's results."""
        self.add(stage, results)
        x, y = self.known[ELEMENTS], self._run(fake_quantize, ELEMENT)[0]
        along = None if weights is None else split_weights(weights, self.tiling)
        return squared_errors(x.view(torch.float32), y.view(torch.float32), along, self.tiling, stage.block)

    def _run(self, program: Program, unit: Block) -> tuple[Tensor, ...]:
        """The outputs of a plan, one word for each block `unit`."""
        known, blocks = self.known, self.blocks
        streams = {name: (self.tiling.spread(known[name], blocks[name], unit), None) for name in program.names}
        return program(streams, self.device)
