"""The shape of a block kernel: all of a block format but its numbers, for one array layout and one purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from statqat_sim.geometry import WHOLE, Weighted, block_sizes, is_whole_array
from statqat_sim.plan.block import ELEMENTS, GIVEN, BlockPlan, Stage, Stored
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan, Packed, PlanShape, Storage, Stream


class Extent(NamedTuple):
    """Rows and columns of a block; or of a word's place, where an element has 1 × 1."""

    rows: int
    columns: int

    @classmethod
    def of(cls, one: Stage | Stored, *, along_rows: bool) -> Extent:
        """The extent of blocks in the matrices of a geometry."""
        return cls(*block_sizes(one.block, along_rows=along_rows))


ELEMENT = Extent(1, 1)
TENSOR = Extent(WHOLE, WHOLE)
"""The extent of the whole array: all matrices together."""


class Purpose(StrEnum):
    """What a kernel does with the elements of an array."""

    ENCODE = "encode"
    FAKE_QUANTIZE = "fake_quantize"
    DECODE = "decode"
    MEASURE = "measure"  # one statistic of the whole array


class StatisticShape(NamedTuple):
    """See `plan.block.Statistic`."""

    name: str
    of: str
    key: PlanShape


class StageShape(NamedTuple):
    """See `plan.block.Stage`."""

    extent: Extent
    statistics: tuple[StatisticShape, ...]
    plans: tuple[PlanShape, ...]
    results: tuple[str, ...]


class Words(NamedTuple):
    """An array with one number for each block, outside of the kernel."""

    name: str
    storage: Storage
    extent: Extent


@dataclass(frozen=True, slots=True)
class BlockShape:
    """A kernel: formats whose plans have these shapes share its machine code."""

    purpose: Purpose
    stages: tuple[StageShape, ...]
    sources: tuple[Words, ...]
    """Words that the stages read: the caller's scales, or the codes of scales that are decoded."""

    stored: tuple[Words, ...]
    """Results that are written."""

    element: PlanShape | None
    """From an element to what is written; None where only a statistic is measured: the last one of the last stage."""

    trial: PlanShape | None
    """The plan whose errors decide among the last stage's candidates."""

    weighted: Weighted | None = None
    """Which index chooses the caller's weight of a squared error."""

    @property
    def extents(self) -> list[Extent]:
        """The extents of all stages and sources."""
        return [stage.extent for stage in self.stages] + [source.extent for source in self.sources]

    @property
    def tiled(self) -> list[tuple[int, StageShape]]:
        """The stages, with their places, that are found tile by tile."""
        return [(place, stage) for place, stage in enumerate(self.stages) if stage.extent != TENSOR]

    def reads(self, result: str) -> bool:
        """Whether any plan or stored array reads a stage's result."""
        plans = [plan for plan in (self.element, self.trial) if plan is not None]
        plans += [plan for stage in self.stages for plan in (*stage.plans, *(one.key for one in stage.statistics))]
        read = {stream.name for plan in plans for stream in plan.streams}
        return result in read | {stored.name for stored in self.stored}

    @property
    def draws(self) -> PlanShape | None:
        """The plan of elements that reads random bits, if any does."""
        plans = [plan for plan in (self.element, self.trial) if plan is not None]
        return next((plan for plan in plans if random_bits(plan) is not None), None)


def random_bits(plan: PlanShape) -> Stream | None:
    """The stream of random bits, if a plan reads any."""
    return next((stream for stream in plan.streams if stream.name == RANDOM), None)


class BlockKernelPlan(NamedTuple):
    """A kernel's shape, and its plans in the order in which it counts them."""

    shape: BlockShape
    plans: tuple[CodecPlan, ...]


def quantizing(
    plan: BlockPlan,
    purpose: Purpose,
    *,
    along_rows: bool,
    weighted: Weighted | None = None,
    packed: Packed | None = None,
) -> BlockKernelPlan:
    """The kernel that gives codes and scales, or values alone."""
    codes = purpose is Purpose.ENCODE
    element = plan.encode if codes else plan.fake_quantize
    if packed is not None:
        element = replace(element, shape=replace(element.shape, result=packed))
    trial = plan.fake_quantize if plan.stages and len(plan.stages[-1].plans) > 1 else None
    last = tuple(one for one in (trial, element) if one is not None)
    shape = BlockShape(
        purpose,
        tuple(_stage(stage, along_rows) for stage in plan.stages),
        _given(plan, along_rows),
        tuple(_words(stored, along_rows) for stored in plan.stored) if codes else (),
        element.shape,
        None if trial is None else trial.shape,
        weighted if trial is not None else None,
    )
    return BlockKernelPlan(shape, (*_plans(plan.stages), *last))


def decoding(plan: BlockPlan, *, along_rows: bool) -> BlockKernelPlan:
    """The kernel that gives values from codes and what is stored."""
    sources = tuple(_words(stored, along_rows) for stored in plan.stored)
    stages = (_stage(plan.decoding, along_rows),)
    shape = BlockShape(Purpose.DECODE, stages, sources, (), plan.decode.shape, None)
    return BlockKernelPlan(shape, (*_plans((plan.decoding,)), plan.decode))


def measuring(plan: BlockPlan, place: int, statistic: int, *, along_rows: bool) -> BlockKernelPlan:
    """The kernel that finds one statistic of the whole array: that of the stage at `place`."""
    stage = plan.stages[place]
    measured = replace(stage, statistics=stage.statistics[: statistic + 1], plans=())
    of_elements = stage.statistics[statistic].of == ELEMENTS
    earlier = [one for one in plan.stages[:place] if not of_elements or is_whole_array(one.block)]
    stages = (*earlier, measured)
    shapes = tuple(_stage(one, along_rows) for one in stages)
    shape = BlockShape(Purpose.MEASURE, shapes, _given(plan, along_rows), (), None, None)
    return BlockKernelPlan(shape, tuple(_plans(stages)))


def _given(plan: BlockPlan, along_rows: bool) -> tuple[Words, ...]:
    """The caller's scales, if a stage reads them."""
    stage = plan.given_stage
    return () if stage is None else (Words(GIVEN, Storage.FLOAT32, Extent.of(stage, along_rows=along_rows)),)


def _words(stored: Stored, along_rows: bool) -> Words:
    return Words(stored.result, stored.storage, Extent.of(stored, along_rows=along_rows))


def _stage(stage: Stage, along_rows: bool) -> StageShape:
    statistics = tuple(StatisticShape(one.name, one.of, one.key.shape) for one in stage.statistics)
    extent = Extent.of(stage, along_rows=along_rows)
    return StageShape(extent, statistics, tuple(one.shape for one in stage.plans), stage.results)


def _plans(stages: tuple[Stage, ...]) -> Iterator[CodecPlan]:
    for stage in stages:
        yield from (statistic.key for statistic in stage.statistics)
        yield from stage.plans
