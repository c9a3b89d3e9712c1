"""What is exported of a number format: its functions, whatever the language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from statqat_sim.errors import UnsupportedError, none_of, shown
from statqat_sim.export.simplify import simplified
from statqat_sim.plan.lower import Lowering, Purpose, lower
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import CodecPlan, Packed, Storage, Stream
from statqat_sim.plan.source import LAYOUTS
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import NanInput
from statqat_sim.spec.number import NumberFormat

DECODED: Final = (Storage.FLOAT32, Storage.FLOAT64)
"""The floats that decoders give."""


@dataclass(frozen=True, slots=True)
class Function:
    """A plan of integer operations, whose streams are the function's arguments, and the width of its result."""

    name: str
    meaning: str
    floats: Storage
    plan: CodecPlan
    result_bits: int
    encodes: bool
    """Whether it takes floats; else it gives them."""

    @property
    def arguments(self) -> tuple[Stream, ...]:
        return self.plan.shape.streams

    def table(self, name: str) -> list[int]:
        """The words of one of the plan's tables."""
        words = self.plan.tables[self.plan.shape.tables.index(name)]
        return [int(word) for word in np.frombuffer(words, "<u4")]


def functions(format: NumberFormat, floats: Sequence[str]) -> tuple[Function, ...]:
    """`from_float32(x)` and the like for each kind of floats, and `to_float32(code)`, and `to_float64` if named.

    Raises:
        TypeError: if `format` is no format, or `floats` a string.
        ValueError: if `floats` are none, or none that encoders read.
        UnsupportedError: for block formats, and for formats that refuse NaN.
    """
    _check(format)
    kinds = _kinds(floats)
    decoded = [kind for kind in DECODED if kind in kinds or kind is Storage.FLOAT32]
    return *(_encoder(format, kind) for kind in kinds), *(_decoder(format, kind) for kind in decoded)


def identifier(name: str) -> str:
    """The name of a format as C and SystemVerilog take it."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{plain}" if plain[0].isdigit() else plain


def heading(format: NumberFormat) -> Iterator[str]:
    """What the file is, line by line."""
    yield " ".join(f"{format.name}{f': {format.title}' if format.title else ''}".split())
    if format.source:
        yield " ".join(f"Source: {format.source}".split())
    yield "Written by statqat_sim from the format's YAML: integer operations alone, and the bits of its codec."


def _check(format: NumberFormat) -> None:
    if isinstance(format, BlockFormat):
        told = f"{format.name} is a block format; allowed: number formats, such as its elements' {format.element.name}"
        raise UnsupportedError(told)
    if not isinstance(format, NumberFormat):
        raise TypeError(f"format is {shown(format)}; allowed: a number format, from load_format or parse_format")
    if format.encode.nan_input is NanInput.ERROR:
        raise UnsupportedError(f"{format.name} refuses NaN (nan_input: error), which exported functions cannot")


def _kinds(floats: Sequence[str]) -> list[Storage]:
    """The kinds of floats, each once."""
    if isinstance(floats, str):
        raise TypeError(f"floats is the string {floats!r}; allowed: a sequence, such as ({floats!r},)")
    names = [kind.value for kind in LAYOUTS]
    for name in floats:
        if name not in names:
            raise ValueError(f"floats: {shown(name)} is no kind of floats{none_of(name, names)}")
    if not floats:
        raise ValueError(f"floats is empty; allowed: {', '.join(names)}")
    return list(dict.fromkeys(map(Storage, floats)))


def _encoder(format: NumberFormat, floats: Storage) -> Function:
    plan = lower(format, Purpose.ENCODE, Lowering.INTEGER, floats=floats)
    meaning = f"The code of a {floats}, given as its bits."
    if any(stream.name == RANDOM for stream in plan.shape.streams):
        meaning += f" random: uniform bits, of which the top {format.encode.random_bits} are used."
    return Function(f"from_{floats}", meaning, floats, simplified(plan), format.bits, encodes=True)


def _decoder(format: NumberFormat, floats: Storage) -> Function:
    plan = lower(format, Purpose.DECODE, Lowering.INTEGER, floats=floats)
    code = Stream("code", Packed(format.bits))  # nothing above the format's width
    plan = simplified(replace(plan, shape=replace(plan.shape, streams=(code,))))
    rounded = "" if floats is Storage.FLOAT64 else ", rounded once where that is coarser"
    meaning = f"The {floats} of a code, as its bits{rounded}."
    return Function(f"to_{floats}", meaning, floats, plan, floats.bits, encodes=False)
