"""Functions that are exported, whatever the language: those of a number format, and what they all are."""

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
    """A plan, whose streams are the function's arguments, and the width of its result."""

    name: str
    meaning: str
    plan: CodecPlan
    result_bits: int
    powers: frozenset[str] = frozenset()
    """Arguments that are powers of two; see `powers`."""

    @property
    def arguments(self) -> tuple[Stream, ...]:
        return self.plan.shape.streams

    def table(self, name: str) -> list[int]:
        """The words of one of the plan's tables."""
        words = self.plan.tables[self.plan.shape.tables.index(name)]
        return [int(word) for word in np.frombuffer(words, "<u4")]


@dataclass(frozen=True, slots=True)
class Conversion(Function):
    """A number format's encoder or decoder, of integer operations alone."""

    floats: Storage = Storage.FLOAT32
    encodes: bool = True
    """Whether it takes floats; else it gives them."""


def functions(format: NumberFormat, floats: Sequence[str]) -> tuple[Conversion, ...]:
    """`from_float32(x)` and the like for each kind of floats, and `to_float32(code)`, and `to_float64` if named.

    Raises:
        TypeError: if `floats` is a string.
        ValueError: if `floats` are none, or none that encoders read.
        UnsupportedError: for formats that refuse NaN.
    """
    check_takes_nan(format)
    kinds = kinds_of(floats)
    decoded = [kind for kind in DECODED if kind in kinds or kind is Storage.FLOAT32]
    return *(_encoder(format, kind) for kind in kinds), *(_decoder(format, kind) for kind in decoded)


def identifier(name: str) -> str:
    """A name as C and SystemVerilog take it: of a format, a word, a table."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII)
    return f"_{plain}" if plain[0].isdigit() else plain


def heading(format: NumberFormat | BlockFormat) -> Iterator[str]:
    """What the file is, line by line."""
    yield _plain(f"Format {format.name}{f': {format.title}' if format.title else ''}")
    if format.source:
        yield _plain(f"Source: {format.source}")
    yield "Written by statqat_sim from the format's YAML: integer operations alone, and the bits of its codec."


def _plain(text: str) -> str:
    """A text on one line, without what compilers act on: marks of direction, trigraphs."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text).replace("??", "? ?")
    return " ".join(shown.split())


def checked(format: NumberFormat | BlockFormat, floats: Sequence[str]) -> NumberFormat | BlockFormat:
    """The format, if encoders of it can read these floats.

    Raises:
        TypeError: if `format` is no format, or `floats` a string.
        ValueError: if `floats` are none, or none that its encoders read.
        UnsupportedError: for formats that refuse NaN.
    """
    if not isinstance(format, NumberFormat | BlockFormat):
        raise TypeError(f"format is {shown(format)}; allowed: a format, from load_format or parse_format")
    kinds = kinds_of(floats)
    if isinstance(format, BlockFormat) and set(kinds) != {Storage.FLOAT32}:
        named = ", ".join(kinds)
        raise ValueError(f"floats: {format.name}, a block format, reads float32, not {named}; allowed: float32")
    return format


def check_takes_nan(format: NumberFormat | BlockFormat) -> None:
    """Raises UnsupportedError for a format that refuses NaN, which a function without exceptions cannot do."""
    element = format.element if isinstance(format, BlockFormat) else format
    if element.encode.nan_input is NanInput.ERROR:
        raise UnsupportedError(f"{format.name} refuses NaN (nan_input: error), which exported functions cannot")


def kinds_of(floats: Sequence[str]) -> list[Storage]:
    """The kinds of floats, each once.

    Raises:
        TypeError: if `floats` is a string.
        ValueError: if `floats` are none, or none that encoders read.
    """
    if isinstance(floats, str):
        raise TypeError(f"floats is the string {floats!r}; allowed: a sequence, such as ({floats!r},)")
    names = [kind.value for kind in LAYOUTS]
    for name in floats:
        if name not in names:
            raise ValueError(f"floats: {shown(name)} is no kind of floats{none_of(name, names)}")
    if not floats:
        raise ValueError(f"floats is empty; allowed: {', '.join(names)}")
    return list(dict.fromkeys(map(Storage, floats)))


def _encoder(format: NumberFormat, floats: Storage) -> Conversion:
    plan = lower(format, Purpose.ENCODE, Lowering.INTEGER, floats=floats)
    meaning = f"The code of a {floats}, given as its bits."
    if any(stream.name == RANDOM for stream in plan.shape.streams):
        meaning += f" random: uniform bits, of which the top {format.encode.random_bits} are used."
    return Conversion(f"from_{floats}", meaning, simplified(plan), format.bits, floats=floats)


def _decoder(format: NumberFormat, floats: Storage) -> Conversion:
    plan = lower(format, Purpose.DECODE, Lowering.INTEGER, floats=floats)
    code = Stream("code", Packed(format.bits))  # nothing above the format's width
    plan = simplified(replace(plan, shape=replace(plan.shape, streams=(code,))))
    rounded = "" if floats is Storage.FLOAT64 else ", rounded once where that is coarser"
    meaning = f"The {floats} of a code, as its bits{rounded}."
    return Conversion(f"to_{floats}", meaning, plan, floats.bits, floats=floats, encodes=False)
