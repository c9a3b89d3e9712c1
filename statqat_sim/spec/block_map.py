"""The position of every bit of a block's codes in its bytes, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TypeAlias

from statqat_sim.spec.base import BYTE
from statqat_sim.spec.scale import Block

Fields: TypeAlias = Mapping[str, tuple[int, Block]]
"""By name: the bits of a code, and the elements that share it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some codes of a field, and the `width` bits of each, from bit `low` upwards, that are stored together."""

    field: str
    codes: range
    width: int
    low: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of the same layout: byte j holds code j of every piece, the first in its lowest bits; unused bits are 0.

    `ternary`: the codes are instead base-3 digits of a number v from 0 to 242, up to five per byte, most significant
    first. The byte is the least b with b / 256 ≥ v / 243, so that digits are extracted by multiplication.
    """

    pieces: tuple[Piece, ...]
    ternary: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.pieces[0].codes)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, without duplicates."""
        return tuple(dict.fromkeys(piece.field for piece in self.pieces))


@dataclass(frozen=True)
class BlockMap:
    """The consecutive runs of a block."""

    runs: tuple[Run, ...]

    @cached_property
    def size(self) -> int:
        """In bytes."""
        return sum(run.size for run in self.runs)

    @cached_property
    def elements(self) -> int:
        """The number of elements of a block."""
        return self.counts["elements"]

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """The number of codes of each field, by name."""
        return {name: max(piece.codes[-1] for piece in pieces) + 1 for name, pieces in self._pieces.items()}

    @cached_property
    def fields(self) -> Fields:
        """The fields that a format needs to have these blocks."""
        return {
            name: (max(piece.low + piece.width for piece in pieces), self.elements // self.counts[name])
            for name, pieces in self._pieces.items()
        }

    @property
    def bits_per_element(self) -> float:
        """Stored bits of a block divided by its elements."""
        return BYTE * self.size / self.elements

    def __str__(self) -> str:
        """The bytes of each run: `scale 2 + elements 16`."""
        parts = groupby(self.runs, lambda run: run.fields)
        return " + ".join(f"{' and '.join(names)} {sum(run.size for run in runs)}" for names, runs in parts)

    @property
    def _pieces(self) -> Mapping[str, list[Piece]]:
        pieces: dict[str, list[Piece]] = {}
        for run in self.runs:
            for piece in run.pieces:
                pieces.setdefault(piece.field, []).append(piece)
        return pieces


def told(fields: Fields) -> str:
    """The fields of a block as text, for messages."""
    return ", ".join(f"{name} of {bits} bits{_shared(block)}" for name, (bits, block) in fields.items())


def _shared(block: Block) -> str:
    if block == 1:
        return ""
    return f" per {list(block) if isinstance(block, tuple) else block}"
