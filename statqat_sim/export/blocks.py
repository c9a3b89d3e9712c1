"""What is exported of a block format: functions of single words, which `passes` calls for elements and blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from statqat_sim.errors import UnsupportedError
from statqat_sim.export.arithmetic import FLOAT_OPERATIONS, Operation, arithmetic
from statqat_sim.export.functions import Function, check_takes_nan, identifier
from statqat_sim.export.powers import gives_powers, powers
from statqat_sim.export.simplify import simplified
from statqat_sim.plan.block import CODES, ELEMENTS, GIVEN, BlockPlan, Stage, Statistic, Stored
from statqat_sim.plan.lower import Lowering
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import CodecPlan, Packed, Stream
from statqat_sim.plan.step import WORD_BITS, Op
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.scale import Block

UNCHECKED: Final = (
    "Given scales are not checked: a NaN, which the codec refuses, becomes their format's NaN, Inf or largest value."
)
"""What functions that read the caller's scales say of them."""


@dataclass(frozen=True, slots=True)
class Maximum:
    """A statistic of a block: the largest key of its elements, or of smaller blocks' words."""

    name: str
    of: str
    """What is compared: `x`, or an earlier level's word."""

    key: Function


@dataclass(frozen=True, slots=True)
class Level:
    """The words of blocks of one size; see `plan.block.Stage`."""

    block: Block
    maxima: tuple[Maximum, ...]
    words: tuple[tuple[str, Function], ...]
    """Those that are read or stored, by name."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.words)

    @property
    def is_given(self) -> bool:
        """Whether the caller's scales are read."""
        return any(argument.name == GIVEN for _, function in self.words for argument in function.arguments)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A block format's functions. All names are identifiers."""

    name: str
    arithmetic: tuple[Function, ...]
    """The float operations that the others call."""

    levels: tuple[Level, ...]
    stored: tuple[Stored, ...]
    encode: Function
    decoding: Level
    decode: Function

    @property
    def all(self) -> tuple[Function, ...]:
        """Every function once, each after those that it calls."""
        found = [*self._quantizing, self.encode, *(function for _, function in self.decoding.words), self.decode]
        return *self.arithmetic, *dict.fromkeys(found)

    @property
    def read(self) -> frozenset[str]:
        """What functions read while scales are found, and elements encoded."""
        arguments = (argument.name for function in (*self._quantizing, self.encode) for argument in function.arguments)
        return frozenset(arguments) | {maximum.of for level in self.levels for maximum in level.maxima}

    @property
    def _quantizing(self) -> list[Function]:
        return [
            function
            for level in self.levels
            for function in (*(maximum.key for maximum in level.maxima), *(function for _, function in level.words))
        ]


def blocks_of(format: BlockFormat) -> Blocks:
    """The functions of a block format.

    Raises:
        UnsupportedError: for formats that compare the errors of candidates (`rule: mse`), or refuse NaN.
    """
    check_takes_nan(format)
    plan = lower_block(format, Lowering.INTEGER)
    if any(len(stage.plans) > 1 for stage in plan.stages):
        told = f"{format.name} compares errors (rule: mse), which is not exported; allowed: other rules"
        raise UnsupportedError(told)
    to_codes, to_values = _Writer(plan), _Writer(plan)
    levels = tuple(map(to_codes.level, plan.stages))
    encode = to_codes.function("encode", _of_element(format), plan.encode, bits=format.element.bits)
    decoding = to_values.decoding()
    decode = to_values.function("decode", "The float32 of a code, as its bits.", _of_codes(plan.decode, format))
    made = Blocks(identifier(format.name), (), levels, plan.stored, encode, decoding, decode)
    return replace(made, arithmetic=tuple(map(_arithmetic, _operations(made.all))))


def _of_element(format: BlockFormat) -> str:
    policy, told = format.element.encode, "The code of an element."
    if policy.rounding.is_stochastic:
        told += f" random: uniform bits, of which the top {policy.random_bits} are used."
    return told


class _Writer:
    """Makes functions of a block format's plans, and remembers which of their results are powers of two."""

    def __init__(self, plan: BlockPlan) -> None:
        self._plan, self._powers, self._keys = plan, set[str](), dict[CodecPlan, Function]()
        self._storages = {one.result: one.storage for one in plan.stored}
        self._needed = frozenset(_needed(plan))

    def level(self, stage: Stage) -> Level:
        """What is found for each block of a stage."""
        maxima = tuple(Maximum(identifier(one.name), identifier(one.of), self._key(one)) for one in stage.statistics)
        block, (plan,) = _named(stage.block), stage.plans
        words = tuple(
            self._word(name, f"{identifier(name)}_of", f"The {name} of {block}.", plan, place)
            for place, name in enumerate(stage.results)
            if name in self._needed
        )
        return Level(stage.block, maxima, words)

    def decoding(self) -> Level:
        """What elements are decoded with, from what is stored."""
        stage = self._plan.decoding
        plan = _renamed(stage.plans[0], lambda stream: replace(stream, storage=self._storages[stream.name]))
        words = tuple(
            self._word(name, f"{identifier(name)}_from", f"The {name}, from what is stored.", plan, place)
            for place, name in enumerate(stage.results)
        )
        return Level(stage.block, (), words)

    def function(self, name: str, meaning: str, plan: CodecPlan, place: int = 0, *, bits: int = WORD_BITS) -> Function:
        """One output of a plan, as a function of the streams that it depends on."""
        plan = simplified(replace(plan, shape=replace(plan.shape, outputs=plan.shape.outputs[place : place + 1])))
        plan = _renamed(_without_unread(plan), lambda stream: replace(stream, name=identifier(stream.name)))
        return Function(name, meaning, plan, bits, frozenset(self._powers & {each.name for each in plan.shape.streams}))

    def _word(self, name: str, called: str, meaning: str, plan: CodecPlan, place: int) -> tuple[str, Function]:
        bits = self._storages[name].bits if name in self._storages else WORD_BITS
        function = self.function(called, meaning, plan, place, bits=bits)
        if gives_powers(function.plan, function.powers):
            self._powers.add(identifier(name))
        return identifier(name), function

    def _key(self, statistic: Statistic) -> Function:
        """What is compared; levels with equal keys share the function."""
        plan = _key_of(statistic)
        if plan not in self._keys:
            blocks = [_named(stage.block) for stage in self._plan.stages if plan in map(_key_of, stage.statistics)]
            told = f"Of elements; the {statistic.name} of {' or of '.join(blocks)} is the largest, 0 if there are none."
            others = sum(function.name.startswith(f"{statistic.name}_key") for function in self._keys.values())
            self._keys[plan] = self.function(f"{identifier(statistic.name)}_key{others or ''}", told, plan)
        return self._keys[plan]


def _key_of(statistic: Statistic) -> CodecPlan:
    """A statistic's key, as a function of `x` whatever it is of."""
    return _renamed(statistic.key, lambda one: replace(one, name=ELEMENTS) if one.name == statistic.of else one)


def _named(block: Block) -> str:
    match block:
        case int():
            return f"a block of {block}"
        case (rows, columns):
            return f"a block of {rows} x {columns}"
    return f"a {block}"


def _needed(plan: BlockPlan) -> Iterator[str]:
    """The names that plans read, and those of what is stored."""
    keys = [statistic.key for stage in plan.stages for statistic in stage.statistics]
    for each in (*keys, *(stage.plans[0] for stage in plan.stages), plan.encode):
        yield from (stream.name for stream in each.shape.streams)
    yield from (stored.result for stored in plan.stored)


def _of_codes(plan: CodecPlan, format: BlockFormat) -> CodecPlan:
    """A plan that reads nothing above a code's width."""
    code = Packed(format.element.bits)
    return _renamed(plan, lambda stream: replace(stream, storage=code) if stream.name == CODES else stream)


def _renamed(plan: CodecPlan, rename: Callable[[Stream], Stream]) -> CodecPlan:
    return replace(plan, shape=replace(plan.shape, streams=tuple(map(rename, plan.shape.streams))))


def _without_unread(plan: CodecPlan) -> CodecPlan:
    """The plan without streams that it does not read."""
    shape = plan.shape
    read = sorted({step.value for step in shape.steps if step.op is Op.INPUT})
    steps = (replace(step, value=read.index(step.value)) if step.op is Op.INPUT else step for step in shape.steps)
    streams = tuple(shape.streams[place] for place in read)
    return replace(plan, shape=replace(shape, steps=tuple(steps), streams=streams))


def _operations(functions: Iterable[Function]) -> list[Operation]:
    """The float operations that functions call, in a fixed order."""
    called = set[Operation]()
    for function in functions:
        steps, known = function.plan.shape.steps, powers(function.plan, function.powers)
        called |= {FLOAT_OPERATIONS[step.op][known[step.args[1]]] for step in steps if step.op in FLOAT_OPERATIONS}
    return sorted(called, key=lambda operation: operation.name)


def _arithmetic(operation: Operation) -> Function:
    power = " b is a power of two, 0, Inf or NaN." if operation.by_power else ""
    meaning = f"a {operation.sign} b, of float32 given as bits, rounded once to nearest even.{power}"
    return Function(operation.name, meaning, simplified(arithmetic(operation)), WORD_BITS)
