"""A job on one array: the stages of any kind of block, one kernel after the other, and what is found by them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from statqat_sim.backends.cupy_gpu.block_device import Device
from statqat_sim.backends.cupy_gpu.block_errors import ErrorsShape, choice_kernel, errors_kernel, sums_kernel
from statqat_sim.backends.cupy_gpu.block_fusing import Fused, Job, Place, copy_map, stage_map
from statqat_sim.backends.cupy_gpu.block_group import GroupShape, Source, Trial
from statqat_sim.backends.cupy_gpu.block_group_text import group_kernel
from statqat_sim.backends.cupy_gpu.block_places import Site
from statqat_sim.backends.cupy_gpu.block_statistic import Patches, StatisticShape, statistic_kernel
from statqat_sim.backends.cupy_gpu.reduction_kernel import reduce
from statqat_sim.geometry import WHOLE, Geometry
from statqat_sim.plan.block import ELEMENT, INDEX, Stage, Statistic, Stored
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.reduction import maximum_plan
from statqat_sim.spec.scale import Block

ENOUGH_THREADS: Final = 1 << 17
"""Threads that suffice to add errors."""

ALONE: Final = 32
"""Terms that one thread adds where there are blocks enough."""

FAN: Final = 256
"""Sums that one thread adds."""


WHOLE_WORDS: Final = (Storage.UINT32, Storage.FLOAT32)


class Located(NamedTuple):
    """Words in memory."""

    array: Any
    place: Place


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of an array's elements and blocks, by name."""

    device: Device
    geometry: Geometry
    job: Job
    known: dict[str, Located]
    numbers: Mapping[str, Any]
    """What kernels read besides: seed, offset, weights."""

    stored: Mapping[str, Any]
    """Arrays that keep results, by name."""

    def stages(self, count: int) -> None:
        """Find the first stages."""
        for stage in self.job.stages[:count]:
            for statistic in stage.statistics:
                self.known[statistic.name] = self._statistic(statistic, stage.block)
            if len(stage.plans) == 1:
                self.known.update(self._results(stage, stage.plans[0], self._final(stage)))
            else:
                self._choose(stage)

    def finish(self, kernel: Fused, out: Any) -> None:
        """The stages that are left, and the elements."""
        shape = kernel.shape
        values = self.device.numbers(kernel.plans) | dict(self.numbers) | self._sources(shape.sources)
        values |= {f"to{place}": self.stored[kept.result] for place, kept in enumerate(shape.kept)}
        values |= {"elements": self.known[self.job.elements.name].array, "out": out}
        if kernel.candidates:
            values |= self.device.candidates(kernel.candidates)
        self._launch_groups(shape, ELEMENT, values)

    def keep(self, one: Stored) -> None:
        """Write a result that is known as it is stored."""
        found, target = self.known[one.result].array, self.stored[one.result]
        if found is not target:
            self._launch_groups(copy_map(one), one.block, {"from0": found, "to0": target})

    def _launch_groups(self, shape: GroupShape, unit: Block, values: Mapping[str, Any]) -> None:
        batch, height, length = self.geometry.grid(unit)
        if shape.down:
            numbers = {"rows": batch, "length": height, "width": length}
        else:
            numbers = {"rows": batch * height, "length": length, "height": height}
        threads = numbers["rows"] * -(-numbers["length"] // shape.size) * shape.lanes * numbers.get("width", 1)
        self.device.launch(group_kernel(shape), threads, {**values, **numbers})

    def _sources(self, sources: tuple[Source, ...]) -> dict[str, Any]:
        return {f"from{place}": self.known[source.name].array for place, source in enumerate(sources)}

    def _seen(self, name: str, unit: Block) -> Source:
        """Known words, as they are seen from blocks inside."""
        place = self.known[name].place
        return Source(name, place.storage, Site.of(place.block, unit, along_rows=self.geometry.along_rows))

    def _blocks(self, block: Block) -> int:
        return math.prod(self.geometry.grid(block))

    def _statistic(self, statistic: Statistic, block: Block) -> Located:
        """The largest key of every block; 0 of one without elements."""
        unit = self.known[statistic.of].place.block
        words = self.device.zeros(self._blocks(block))
        if self._blocks(unit):
            site = Site.of(block, unit, along_rows=self.geometry.along_rows)
            if site.shared and len(statistic.key.shape.streams) == 1:
                self._reduce_all(statistic, words)
            else:
                self._reduce_blocks(statistic, site, words)
        return Located(words, Place(Storage.UINT32, block))

    def _reduce_all(self, statistic: Statistic, words: Any) -> None:
        """Raise one word to the largest key of all units."""
        units = self.known[statistic.of]
        count = self._blocks(units.place.block)
        reduce(self.device, maximum_plan(statistic.key), units.array, 1, count, {"results": words})

    def _reduce_blocks(self, statistic: Statistic, site: Site, words: Any) -> None:
        """Raise the word of each block."""
        unit = self.known[statistic.of].place.block
        names = [stream.name for stream in statistic.key.shape.streams if stream.name != INDEX]
        shape = StatisticShape(statistic.key.shape, tuple(self._seen(name, unit) for name in names), site)
        batch, height, length = self.geometry.grid(unit)
        patches = Patches.of(site, height, length)
        values = self.device.numbers([statistic.key]) | self._sources(shape.sources) | patches._asdict()
        values |= {"threads": batch * patches.threads, "height": height, "length": length, "words": words}
        self.device.launch(statistic_kernel(shape), values["threads"], values)

    def _results(self, stage: Stage, plan: CodecPlan, into: dict[str, Located] | None = None) -> dict[str, Located]:
        """The outputs of a stage's plan, in new arrays if none are given."""
        one = Stage(stage.block, (), (plan,), stage.results)
        names = list(dict.fromkeys(stream.name for stream in plan.shape.streams))
        places = {name: self.known[name].place for name in names}
        shape = stage_map(names, places, one, self.geometry.along_rows)
        found = {name: self._new(stage.block) for name in stage.results} if into is None else into
        values = self.device.numbers([plan]) | self._sources(shape.sources)
        values |= {f"to{place}": found[name].array for place, name in enumerate(stage.results)}
        self._launch_groups(shape, stage.block, values)
        return found

    def _final(self, stage: Stage) -> dict[str, Located]:
        """Where a stage's results go: to the arrays that keep them, where these hold whole words."""
        storages = {one.result: one.storage for one in self.job.stored}
        found = {name: self._new(stage.block) for name in stage.results if storages.get(name) not in WHOLE_WORDS}
        for name in stage.results:
            if name not in found:
                found[name] = Located(self.stored[name], Place(Storage.UINT32, stage.block))
        return found

    def _new(self, block: Block) -> Located:
        return Located(self.device.words(self._blocks(block)), Place(Storage.UINT32, block))

    def _choose(self, stage: Stage) -> None:
        """Of a stage's candidates each block takes the one of least error, the first of equals."""
        assert self.job.trial is not None
        blocks = self._blocks(stage.block)
        least, best = self.device.doubles(blocks), self._final(stage)
        kernel = choice_kernel(len(best))
        for place, plan in enumerate(stage.plans):
            tried = self._results(stage, plan)
            self.known.update(tried)
            values = {"threads": blocks, "is_first": place == 0, "least": least, "errors": self._errors(stage)}
            for index, name in enumerate(stage.results):
                values |= {f"best{index}": best[name].array, f"tried{index}": tried[name].array}
            self.device.launch(kernel, blocks, values)
        self.known.update(best)

    def _errors(self, stage: Stage) -> Any:
        """The squared error of every block."""
        assert self.job.trial is not None
        elements, geometry, trial = self.job.elements, self.geometry, self.job.trial
        names = [stream.name for stream in trial.shape.streams if stream.name not in (elements.name, RANDOM)]
        site = Site.of(stage.block, ELEMENT, along_rows=geometry.along_rows)
        sources = tuple(self._seen(name, ELEMENT) for name in names)
        shape = ErrorsShape(elements, sources, Trial(trial.shape, self.job.weighted), site)
        shares = _Shares.of(site, geometry)
        threads = shares.blocks * shares.spread
        sums = self.device.doubles(threads)
        values = {**self.numbers, **self.device.numbers([trial]), **self._sources(sources), **shares.numbers}
        values |= {"elements": self.known[elements.name].array, "sums": sums, "threads": threads}
        self.device.launch(errors_kernel(shape), threads, values)
        return self._added(sums, shares)

    def _added(self, sums: Any, shares: _Shares) -> Any:
        """Reduce the partial sums to one sum for each block."""
        spread = shares.spread
        while spread > 1:
            left = max(spread // FAN, 1)
            threads = shares.blocks * left
            added = self.device.doubles(threads)
            values = {"threads": threads, "spread": left, "terms": spread // left, "terms_of": sums, "sums": added}
            self.device.launch(sums_kernel(), threads, values)
            sums, spread = added, left
        return sums


@dataclass(frozen=True, slots=True)
class _Shares:
    """How threads share the errors of blocks."""

    blocks: int
    spread: int
    numbers: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, site: Site, geometry: Geometry) -> _Shares:
        batch, height, length = geometry.grid(ELEMENT)
        rows = batch * height
        high = max(rows if site.shared else height, 1) if site.rows == WHOLE else site.rows
        wide = max(length, 1) if site.columns == WHOLE else site.columns
        down, across = -(-height // high), -(-length // wide)
        blocks = 1 if site.shared else batch * down * across
        places = 1 << (high * wide - 1).bit_length()
        wanted = 1 << max(ENOUGH_THREADS // max(blocks, 1), 1).bit_length() - 1
        spread = 1 if places <= ALONE else min(places, wanted)
        numbers = {"rows": rows, "height": height, "length": length, "high": high, "wide": wide}
        numbers |= {"down": max(down, 1), "across": max(across, 1), "spread": spread, "terms": places // spread}
        return cls(blocks, spread, numbers)
