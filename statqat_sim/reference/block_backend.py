"""The interpreter of block plans: numpy, stage by stage; its results define those of all other backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.geometry import Geometry
from statqat_sim.plan.block import CODES, ELEMENT, ELEMENTS, GIVEN, INDEX, BlockPlan, Stage, Statistic, Stored
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan, Packed, Storage
from statqat_sim.reference.block_tiles import Located, tiled
from statqat_sim.reference.dense import pack
from statqat_sim.reference.interpret import interpret
from statqat_sim.reference.streams import Words, random_fields, words
from statqat_sim.spec.scale import Block

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ReferenceBlockKernel:
    """A block plan that numpy interprets. See `runtime.BlockKernel`."""

    plan: BlockPlan

    def quantize(
        self,
        x: Array,
        geometry: Geometry,
        *,
        given: Array | None = None,
        weights: Array | None = None,
        seed: int = 0,
        offset: int = 0,
        packed: Packed | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        found = self._found(x, geometry, given, weights, seed, offset)
        codes = found.elements(self.plan.encode)
        if packed is None:
            codes = _as_storage(codes, self.plan.encode.shape.result).reshape(geometry.shape)
        else:
            codes = pack(codes.reshape(geometry.shape or (1,)), packed)
        return codes, tuple(_kept(found.known[stored.result], stored, geometry) for stored in self.plan.stored)

    def fake_quantize(
        self,
        x: Array,
        geometry: Geometry,
        *,
        out: Array | None = None,
        given: Array | None = None,
        weights: Array | None = None,
        seed: int = 0,
        offset: int = 0,
    ) -> Array:
        found = self._found(x, geometry, given, weights, seed, offset)
        return _values(found.elements(self.plan.fake_quantize), geometry, out)

    def dequantize(
        self, codes: Array, stored: tuple[Array, ...], geometry: Geometry, *, out: Array | None = None
    ) -> Array:
        found = _Found(geometry, {CODES: _located(codes, geometry, ELEMENT)})
        for kind, array in zip(self.plan.stored, stored, strict=True):
            found.known[kind.result] = _located(array, geometry, kind.block)
        found.add(self.plan.decoding, found.results(self.plan.decoding.plans[0], self.plan.decoding.block))
        return _values(found.elements(self.plan.decode), geometry, out)

    def _found(
        self, x: Array, geometry: Geometry, given: Array | None, weights: Array | None, seed: int, offset: int
    ) -> _Found:
        """The results of all stages."""
        found = _Found(geometry, {ELEMENTS: _located(x, geometry, ELEMENT)})
        drawn = [s for s in self.plan.encode.shape.streams if s.name == RANDOM]
        if drawn:
            fields = random_fields(seed, offset, geometry.shape, drawn[0].storage)
            found.known[RANDOM] = _located(fields, geometry, ELEMENT)
        for stage in self.plan.stages:
            for statistic in stage.statistics:
                found.known[statistic.name] = found.statistic(statistic, stage.block)
            if given is not None and stage is self.plan.given_stage:
                found.known[GIVEN] = _located(given, geometry, stage.block)
            if len(stage.plans) == 1:
                found.add(stage, found.results(stage.plans[0], stage.block))
            else:
                found.choose(stage, self.plan.fake_quantize, weights)
        return found


@dataclass(frozen=True, slots=True)
class _Found:
    """The words of an array's elements and blocks computed so far, by name."""

    geometry: Geometry
    known: dict[str, Located] = field(default_factory=dict)

    def elements(self, program: CodecPlan) -> Words:
        """The result of an element plan."""
        return self._run(program, ELEMENT)

    def results(self, program: CodecPlan, block: Block) -> list[Words]:
        """The outputs of a stage's plan."""
        result = self._run(program, block)
        return [result[..., place] for place in range(result.shape[-1])] if result.ndim > 3 else [result]

    def add(self, stage: Stage, results: list[Words]) -> None:
        for name, result in zip(stage.results, results, strict=True):
            self.known[name] = Located(result, stage.block)

    def statistic(self, statistic: Statistic, block: Block) -> Located:
        """The largest key of every block; 0 for a block without elements."""
        unit = self.known[statistic.of].block
        streams = {
            stream.name: tiled(self.known[stream.name].spread(self.geometry, unit), self.geometry, unit, block)
            for stream in statistic.key.shape.streams
            if stream.name != INDEX
        }
        exists = tiled(np.ones(self.geometry.grid(unit), bool), self.geometry, unit, block)
        streams[INDEX] = np.broadcast_to(np.arange(exists.shape[-1], dtype=np.uint32), exists.shape)
        keys = np.where(exists, _interpreted(statistic.key, streams, exists.shape), 0)
        return Located(keys.max(axis=-1, initial=0), block)

    def choose(self, stage: Stage, fake_quantize: CodecPlan, weights: Array | None) -> None:
        """Give each block the candidate with the smallest error, the first among equals."""
        self.add(stage, self.results(stage.plans[0], stage.block))
        least = self._errors(stage.block, fake_quantize, weights)
        best = [self.known[name].words for name in stage.results]
        for program in stage.plans[1:]:
            candidate = self.results(program, stage.block)
            self.add(stage, candidate)
            errors = self._errors(stage.block, fake_quantize, weights)
            better = errors < least
            least = np.where(better, errors, least)
            best = [np.where(better, new, old) for new, old in zip(candidate, best, strict=True)]
        self.add(stage, best)

    def _errors(self, block: Block, fake_quantize: CodecPlan, weights: Array | None) -> Array:
        """The squared error of every block, float64, summed pairwise by halves; Inf where an element becomes NaN."""
        x = self.known[ELEMENTS].words.view(np.float32)
        y = self.elements(fake_quantize).view(np.float32)
        with np.errstate(all="ignore"):
            difference = x.astype(np.float64) - y
            squares = difference * difference * self._weights(weights)
            terms = tiled(np.where(np.isfinite(x), squares, 0.0), self.geometry, ELEMENT, block)
            sums = _added_by_halves(terms)
            return np.where(np.isnan(sums), np.inf, sums)

    def _weights(self, weights: Array | None) -> Array:
        """Weights, one for each index along the blocked axis, in a shape that broadcasts against the elements."""
        if weights is None:
            return np.ones((), np.float64)
        is_last = self.geometry.axis == max(len(self.geometry.shape), 1) - 1
        return weights.reshape(1, 1, -1) if is_last else weights.reshape(1, -1, 1)

    def _run(self, program: CodecPlan, block: Block) -> Words:
        names = [stream.name for stream in program.shape.streams]
        streams = {name: self.known[name].spread(self.geometry, block) for name in names}
        return _interpreted(program, streams, self.geometry.grid(block))


def _interpreted(program: CodecPlan, streams: Mapping[str, Words], shape: tuple[int, ...]) -> Words:
    """A plan's result, broadcast to `shape`; several outputs are stacked along a last axis."""
    outputs = () if len(program.shape.outputs) == 1 else (len(program.shape.outputs),)
    result = interpret(program, [streams[stream.name] for stream in program.shape.streams])
    return np.broadcast_to(result, (*shape, *outputs))


def _added_by_halves(terms: Array) -> Array:
    """Sums over the last axis: padded with zeros to a power of two, the upper half is added to the lower."""
    count = 1 << (terms.shape[-1] - 1).bit_length()
    sums = np.concatenate([terms, np.zeros((*terms.shape[:-1], count - terms.shape[-1]))], axis=-1)
    while sums.shape[-1] > 1:
        half = sums.shape[-1] // 2
        sums = sums[..., :half] + sums[..., half:]
    return sums[..., 0]


def _located(array: Array, geometry: Geometry, block: Block) -> Located:
    return Located(words(array).reshape(geometry.grid(block)), block)


def _kept(result: Located, stored: Stored, geometry: Geometry) -> Array:
    return _as_storage(result.words, stored.storage).reshape(geometry.scale_shape(stored.block))


def _as_storage(result: Words, storage: Storage | Packed) -> Array:
    """Words as an array of the storage's dtype."""
    return result.astype(f"u{storage.bits // 8}").view(storage.value if isinstance(storage, Storage) else np.uint8)


def _values(result: Words, geometry: Geometry, out: Array | None) -> Array:
    values = np.ascontiguousarray(result).view(np.float32).reshape(geometry.shape)
    if out is None:
        return values
    out[...] = values
    return out
