"""How a block plan becomes one kernel: which of its stages a group kernel finds itself, and how lanes share a group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from statqat_sim.backends.cupy_gpu.block_group import (
    Elements,
    GroupShape,
    Inner,
    Kept,
    Measured,
    Source,
    Trial,
    read_names,
)
from statqat_sim.backends.cupy_gpu.block_places import Site
from statqat_sim.backends.cupy_gpu.kernel_text import WARP
from statqat_sim.backends.cupy_gpu.steps import never_nan
from statqat_sim.geometry import Weighted, block_sizes
from statqat_sim.plan.block import ELEMENT, Stage, Stored
from statqat_sim.plan.program import CodecPlan, Packed, Storage
from statqat_sim.spec.scale import Block

USUAL_UNITS: Final = 8
"""Preferred units per lane: two loads of 128 bits; a stage's plan runs once for all of them."""

MOST_UNITS: Final = 32
"""The most units per lane that fit its registers."""


class Place(NamedTuple):
    """Where words lie in memory."""

    storage: Storage
    block: Block


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with elements, whatever arrays they lie in."""

    elements: Elements
    stages: tuple[Stage, ...]
    outside: tuple[tuple[str, Place], ...]
    """Words that the caller passes, by name."""

    plan: CodecPlan
    stored: tuple[Stored, ...] = ()
    trial: CodecPlan | None = None
    """The plan whose errors decide among the last stage's candidates, if it has any."""

    weighted: Weighted | None = None
    along_rows: bool = True


@dataclass(frozen=True, slots=True)
class Fused:
    """A group kernel that does the rest of a job when its first stages have been found."""

    first: int
    """The number of stages that earlier kernels compute."""

    shape: GroupShape
    plans: tuple[CodecPlan, ...]
    """In the order of the shape's; of a stage with candidates the first one."""

    candidates: tuple[CodecPlan, ...]


def fused(job: Job, least: int = 0) -> Fused | None:
    """The kernel that finds as many stages as one can; None where dense codes would not begin with bytes.

    Args:
        job: what is done.
        least: how many stages are found before, at least.
    """
    for first in range(least, len(job.stages) + 1):
        sizes = [_size(stage.block, job) for stage in job.stages[first:]]
        if all(sizes) and _can_choose(job, first):
            for lanes, each in layouts(sizes):
                shape = _shape(job, first, lanes, each)
                if _fits(shape, sizes):
                    return Fused(first, shape, tuple(_plans(job, first)), _candidates(job, first))
    return None


def layouts(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Lanes and units of each that hold a group of whole blocks of these sizes, the best ones first."""
    size = max(sizes, default=1)
    if size < USUAL_UNITS:
        size = math.lcm(size, USUAL_UNITS if USUAL_UNITS % size == 0 else 4)
    several = [(1 << power, size >> power) for power in range(WARP.bit_length()) if size % (1 << power) == 0]
    fitting = [(lanes, each) for lanes, each in several if each <= MOST_UNITS]
    yield from sorted(fitting, key=lambda one: (one[1] % 4 != 0, abs(one[1] - USUAL_UNITS)))


def stage_map(names: Sequence[str], places: Mapping[str, Place], stage: Stage, along_rows: bool) -> GroupShape:
    """The kernel that finds a stage's results one by one: its units are blocks."""
    plan = stage.plans[0].shape
    sources = tuple(_source(name, places[name], stage.block, along_rows) for name in names)
    kept = tuple(Kept(name, Storage.UINT32, 1) for name in stage.results)
    return GroupShape(1, 1, None, sources, (Inner(1, (), plan, stage.results),), kept)


def copy_map(one: Stored) -> GroupShape:
    """The kernel that writes words as they are stored."""
    source = Source(one.result, Storage.UINT32, Site(1, 1))
    return GroupShape(1, 1, None, (source,), (), (Kept(one.result, one.storage, 1),))


def places_of(job: Job, count: int) -> dict[str, Place]:
    """Storage and block of the words that the caller passes or the first `count` stages compute, by name."""
    places = dict(job.outside)
    for stage in job.stages[:count]:
        for name in (*(one.name for one in stage.statistics), *stage.results):
            places[name] = Place(Storage.UINT32, stage.block)
    return places


def _size(block: Block, job: Job) -> int:
    """Of a block that is a part of a row, or of a column where these are taken for rows; 0 of any other."""
    rows, columns = block_sizes(block, along_rows=job.along_rows)
    across, along = (rows, columns) if job.along_rows else (columns, rows)
    return along if across == 1 else 0


def _can_choose(job: Job, first: int) -> bool:
    """Whether the kernel can compare the candidates, or has none."""
    if first == len(job.stages) or len(job.stages[-1].plans) == 1:
        return True
    plans, size = job.stages[-1].plans, _size(job.stages[-1].block, job)
    alike = all((plan.shape, plan.tables) == (plans[0].shape, plans[0].tables) for plan in plans)
    return alike and size & (size - 1) == 0


def _shape(job: Job, first: int, lanes: int, each: int) -> GroupShape:
    inner = job.stages[first:]
    stages = tuple(_inner(stage, _size(stage.block, job)) for stage in inner)
    results = {name: stage.size for stage in stages for name in stage.results}
    kept = tuple(Kept(one.result, one.storage, results[one.result]) for one in job.stored if one.result in results)
    trial = Trial(job.trial.shape, job.weighted) if inner and job.trial is not None else None
    down = bool(inner) and not job.along_rows
    plan, numbers = job.plan.shape, never_nan(job.plan)
    shape = GroupShape(lanes, each, job.elements, (), stages, kept, plan, numbers, trial, down)
    places = places_of(job, first)
    sources = [_source(name, places[name], ELEMENT, job.along_rows) for name in read_names(shape)]
    turned = [source._replace(site=source.site.turned) for source in sources]
    return replace(shape, sources=tuple(turned if down else sources))


def _inner(stage: Stage, size: int) -> Inner:
    statistics = tuple(Measured(one.name, one.of, one.key.shape) for one in stage.statistics)
    return Inner(size, statistics, stage.plans[0].shape, stage.results)


def _source(name: str, place: Place, unit: Block, along_rows: bool) -> Source:
    return Source(name, place.storage, Site.of(place.block, unit, along_rows=along_rows))


def _fits(shape: GroupShape, sizes: Sequence[int]) -> bool:
    """Whether lanes hold whole blocks, or blocks whole lanes."""
    each, result = shape.each, shape.result
    if isinstance(result, Packed) and each * result.bits % 8:
        return False
    if shape.down and (shape.lanes > 1 or shape.drawn):
        return False
    if any(shape.size % size for size in sizes):
        return False
    if shape.trial is not None and each & (each - 1):
        return False
    columns = [source.site.columns for source in shape.sources]
    return all(one % each == 0 or each % one == 0 for one in (*sizes, *columns))


def _plans(job: Job, first: int) -> Iterator[CodecPlan]:
    for stage in job.stages[first:]:
        yield from (statistic.key for statistic in stage.statistics)
        yield stage.plans[0]
    if job.trial is not None and first < len(job.stages):
        yield job.trial
    yield job.plan


def _candidates(job: Job, first: int) -> tuple[CodecPlan, ...]:
    return job.stages[-1].plans if job.trial is not None and first < len(job.stages) else ()
