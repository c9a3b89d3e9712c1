"""The shape of a kernel that processes rows in groups: plans of one shape share the printed kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from statqat_sim.backends.cupy_gpu.block_places import Site
from statqat_sim.geometry import Weighted
from statqat_sim.plan.block import INDEX
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import Packed, PlanShape, Storage


class Source(NamedTuple):
    """Words in memory: one for each block that lies so."""

    name: str
    storage: Storage
    site: Site


class Measured(NamedTuple):
    """See `plan.block.Statistic`."""

    name: str
    of: str
    key: PlanShape


class Inner(NamedTuple):
    """A stage whose blocks are `size` units of a row, and parts of a group. See `plan.block.Stage`."""

    size: int
    statistics: tuple[Measured, ...]
    plan: PlanShape
    results: tuple[str, ...]


class Kept(NamedTuple):
    """A result that is written: one word for each `size` units of a row."""

    result: str
    storage: Storage
    size: int


class Trial(NamedTuple):
    """The last stage has candidates: the plan whose errors decide, and which index chooses a caller's weight."""

    plan: PlanShape
    weighted: Weighted | None


class Elements(NamedTuple):
    """An array with one element for each unit."""

    name: str
    storage: Storage


@dataclass(frozen=True, slots=True)
class GroupShape:
    """A kernel: so many lanes hold a group of a row, each lane so many consecutive units of it.

    Where blocks are parts of columns, these are taken for rows: one thread has one group, its neighbours the next
    columns'.
    """

    lanes: int
    each: int
    elements: Elements | None
    sources: tuple[Source, ...]
    stages: tuple[Inner, ...] = ()
    kept: tuple[Kept, ...] = ()
    plan: PlanShape | None = None
    """The plan from an element to its result."""

    numbers: frozenset[int] = frozenset()
    """Operations of it that never give NaN; see `steps.never_nan`."""

    trial: Trial | None = None
    down: bool = False
    """Whether rows are columns."""

    @property
    def size(self) -> int:
        return self.lanes * self.each

    def index(self, place: str) -> str:
        """C: where a word lies that has this place among those of its row, and of those before."""
        return f"({place}) * width + column" if self.down else place

    @property
    def result(self) -> Storage | Packed:
        assert self.plan is not None
        return self.plan.result

    @property
    def fills_words(self) -> bool:
        """Whether the elements of a lane lie next to each other and make whole words, read and written."""
        if self.elements is None or self.plan is None or self.down:
            return False
        return all(self.each * storage.bits % 32 == 0 for storage in (self.elements.storage, self.result))

    def plans(self) -> Iterator[PlanShape]:
        """All of them, in the order in which their numbers are counted."""
        for stage in self.stages:
            yield from (statistic.key for statistic in stage.statistics)
            yield stage.plan
        if self.trial is not None:
            yield self.trial.plan
        if self.plan is not None:
            yield self.plan

    def is_read(self, name: str) -> bool:
        """Whether any plan reads a word, or it is kept."""
        return self.is_used(name) or any(stream.name == name for plan in self.plans() for stream in plan.streams)

    def is_used(self, name: str) -> bool:
        """Whether a word is read when all stages are found, or kept."""
        streams = () if self.plan is None else self.plan.streams
        return name in (stream.name for stream in streams) or name in (kept.result for kept in self.kept)

    @property
    def drawn(self) -> Storage | None:
        """How the random fields of elements are stored, if any plan reads them."""
        streams = [stream for plan in self.plans() for stream in plan.streams if stream.name == RANDOM]
        storage = streams[0].storage if streams else None
        assert not isinstance(storage, Packed)
        return storage

    @property
    def is_cooperative(self) -> bool:
        """Whether lanes exchange words: statistics or errors of blocks that several lanes hold."""
        wide = [stage for stage in self.stages if stage.size > self.each]
        return any(stage.statistics for stage in wide) or (self.trial is not None and self.stages[-1] in wide)


def read_names(shape: GroupShape) -> list[str]:
    """Names of the words that a kernel reads from memory because it does not compute them, in order."""
    found = {INDEX, RANDOM} | ({shape.elements.name} if shape.elements else set())
    read: dict[str, None] = {}

    def see(plan: PlanShape) -> None:
        read.update((stream.name, None) for stream in plan.streams if stream.name not in found)

    for stage in shape.stages:
        for statistic in stage.statistics:
            see(statistic.key)
            found.add(statistic.name)
        see(stage.plan)
        found.update(stage.results)
    for plan in (shape.trial.plan if shape.trial else None, shape.plan):
        if plan is not None:
            see(plan)
    read.update((kept.result, None) for kept in shape.kept if kept.result not in found)
    return list(read)
