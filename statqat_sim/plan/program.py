"""The program of a format: straight-line steps over 32-bit words, verified when it is created.

A `PlanShape` holds the steps; a `CodecPlan` adds the format's own numbers (parameters and tables). Formats of
one shape share one compiled kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from statqat_sim.plan.ranges import ranges
from statqat_sim.plan.step import WORD, Op, Step

SMALL_TABLE: Final = 16
"""Words of a table that backends may keep in registers, because it is indexed by `word & 15`."""


_LAST_OF_SMALL_TABLE: Final = Step(Op.CONST, value=SMALL_TABLE - 1)


class Storage(StrEnum):
    """The dtype of an array's elements, by its name in numpy or ml_dtypes. Floats are read as bit patterns."""

    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def bits(self) -> int:
        return int(self.value[-2:].lstrip("t"))


@dataclass(frozen=True, slots=True)
class Packed:
    """Dense codes, each row padded to whole bytes: a little-endian or a big-endian bit string."""

    bits: int
    big_endian: bool = False

    def row_bytes(self, count: int) -> int:
        """The bytes of a row of `count` codes."""
        return -(-count * self.bits // 8)


@dataclass(frozen=True, slots=True)
class Stream:
    """A named array that a plan reads one element at a time, zero-extended to a word."""

    name: str
    storage: Storage | Packed


@dataclass(frozen=True)
class PlanShape:
    """The part of a plan that is compiled: everything but the format's own numbers.

    An element of the result is the words of `outputs`, low word first, truncated to the width of `result`: one word, or
    two for a float64. A plan may also have several separate output words.
    """

    steps: tuple[Step, ...]
    streams: tuple[Stream, ...]
    params: tuple[str, ...]
    tables: tuple[str, ...]
    result: Storage | Packed
    outputs: tuple[int, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _key(self) -> tuple[object, ...]:
        return self.steps, self.streams, self.params, self.tables, self.result, self.outputs

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def reads_small_table(self, step: Step) -> bool:
        """Whether a step reads a table at an index masked to 0..15, visible from the shape alone."""
        if step.op is not Op.TABLE:
            return False
        index = self.steps[step.args[0]]
        return index.op is Op.AND and any(self.steps[arg] == _LAST_OF_SMALL_TABLE for arg in index.args)

    def __reduce__(self) -> tuple[type[PlanShape], tuple[object, ...]]:
        """Pickle without the cached hash: string hashes differ between processes."""
        return PlanShape, self._key


@dataclass(frozen=True)
class CodecPlan:
    """A shape and a format's numbers: parameters as words, tables as little-endian uint32 bytes.

    Raises:
        ValueError: if the program is malformed: operands out of order, a shift by 32 or more, a table read
            outside its bounds.
    """

    shape: PlanShape
    params: tuple[int, ...] = ()
    tables: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        _verify(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def _verify(plan: CodecPlan) -> None:
    shape = plan.shape
    if (len(shape.params), len(shape.tables)) != (len(plan.params), len(plan.tables)):
        raise ValueError("the plan's numbers do not match its shape")
    if any(not 0 <= word <= WORD for word in plan.params):
        raise ValueError("a parameter is not a 32-bit word")
    if any(len(table) % 4 for table in plan.tables):
        raise ValueError("a table is not made of 32-bit words")
    if not shape.outputs or not all(0 <= step < len(shape.steps) for step in shape.outputs):
        raise ValueError("a plan's outputs are steps of it, one at least")
    ranges(plan)


def _lines(plan: CodecPlan) -> Iterator[str]:
    shape = plan.shape
    for index, step in enumerate(shape.steps):
        match step.op:
            case Op.INPUT | Op.INPUT_HIGH:
                stream = shape.streams[step.value]
                text = f"{step.op.value} {stream.name}".ljust(28) + f"# {_name(stream.storage)}"
            case Op.CONST:
                text = f"{step.value:#x}"
            case Op.PARAM:
                text = f"{plan.params[step.value]:#x}".ljust(28) + f"# {shape.params[step.value]}"
            case Op.TABLE:
                size = len(plan.tables[step.value]) // 4
                text = f"table v{step.args[0]}".ljust(28) + f"# {shape.tables[step.value]}: {size} words"
            case _:
                text = f"{step.op.value} " + ", ".join(f"v{arg}" for arg in step.args)
        yield f"v{index} = ".ljust(6) + text
    results = ", ".join(f"v{step}" for step in shape.outputs)
    yield f"return {results}".ljust(34) + f"# {_name(shape.result)}"


def _name(storage: Storage | Packed) -> str:
    if isinstance(storage, Storage):
        return storage.value
    return f"{storage.bits} bits, dense{', big-endian' if storage.big_endian else ''}"
