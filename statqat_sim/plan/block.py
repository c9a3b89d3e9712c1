"""Plans of a block format: stages that compute the scales, one word per block, and plans for its elements.

A backend only loops; every computation is a plan. Their streams are read by name: `x`, `codes` and `random` are
elements; `index` is an element's place in its block, in C order; `given` is the caller's scale; any other name is a
statistic of the stage at hand or a result of an earlier stage, repeated for each of the block's elements.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.spec.scale import Block

ELEMENTS = "x"
CODES = "codes"
INDEX = "index"
GIVEN = "given"

ELEMENT: Block = 1
"""An element is a block of its own."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One word per block: the largest key of its elements; 0 for an empty block."""

    name: str
    of: str
    """The elements: `x`, or a result of an earlier stage of smaller blocks."""

    key: CodecPlan
    """The plan that maps an element (and its other streams) to the key that is compared."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Words for every block of one size, from its statistics and the results of earlier stages."""

    block: Block
    statistics: tuple[Statistic, ...]
    plans: tuple[CodecPlan, ...]
    """One plan, or the candidates: each block takes the first with the least squared error."""

    results: tuple[str, ...]
    """Names of the plan's outputs."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A result that is stored with the codes."""

    result: str
    storage: Storage
    """The code's unsigned integer; the float type itself for a scale that is stored as a float."""

    block: Block


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """All plans of a block format.

    Raises:
        ValueError: if a plan reads a stream that nothing before it provides, or a stored name is no stage's result.
    """

    stages: tuple[Stage, ...]
    scales: tuple[Stored, ...]
    """Outermost first."""

    offsets: tuple[Stored, ...]
    """Outermost first; the last one belongs to the smallest blocks."""

    encode: CodecPlan
    """x and results of the stages -> code."""

    fake_quantize: CodecPlan
    """x and results of the stages -> float32."""

    decoding: Stage
    """The stored results, by name -> the words that `decode` needs."""

    decode: CodecPlan
    """codes and results of `decoding` -> float32."""

    def __post_init__(self) -> None:
        found: frozenset[str] = frozenset()
        for index, stage in enumerate(self.stages):
            _check_stage(stage, found | {GIVEN}, f"stage {index}")
            found |= set(stage.results)
        stored = frozenset(each.result for each in self.stored)
        if not stored <= found:
            raise ValueError(f"what is stored reads {_listed(stored - found)}; allowed: {_listed(found)}")
        _check_stage(self.decoding, stored, "decoding")
        _check_reads(self.encode, found | {ELEMENTS, RANDOM}, "encode")
        _check_reads(self.fake_quantize, found | {ELEMENTS, RANDOM}, "fake_quantize")
        _check_reads(self.decode, frozenset({CODES, *self.decoding.results}), "decode")

    @property
    def stored(self) -> tuple[Stored, ...]:
        """All arrays that are stored with the codes."""
        return self.scales + self.offsets

    @property
    def given_stage(self) -> Stage | None:
        """The stage that reads the caller's scales."""
        return next((stage for stage in self.stages if any(_reads(plan, GIVEN) for plan in stage.plans)), None)


def _check_stage(stage: Stage, known: frozenset[str], what: str) -> None:
    """Raises ValueError unless its keys and plans read only known names, and give a word for each result."""
    elements = (known - {GIVEN}) | {ELEMENTS}
    statistics: frozenset[str] = frozenset()
    for statistic in stage.statistics:
        told = f"{what}, {statistic.name}"
        if statistic.of not in elements:
            raise ValueError(f"{told} is of {statistic.of}; allowed: {_listed(elements)}")
        _check_reads(statistic.key, elements | statistics | {INDEX}, told)
        statistics |= {statistic.name}
    for plan in stage.plans:
        _check_reads(plan, known | statistics, what)
        if len(plan.shape.outputs) != len(stage.results):
            raise ValueError(f"{what} gives {len(plan.shape.outputs)} words; allowed: {_listed(stage.results)}")


def _reads(plan: CodecPlan, name: str) -> bool:
    return any(stream.name == name for stream in plan.shape.streams)


def _check_reads(plan: CodecPlan, known: frozenset[str], what: str) -> None:
    """Raises ValueError for a stream that nothing before provides."""
    unknown = {stream.name for stream in plan.shape.streams} - known
    if unknown:
        raise ValueError(f"{what} reads {_listed(unknown)}; allowed: {_listed(known)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
