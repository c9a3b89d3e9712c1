"""Blocks whose fields lie side by side: from the codes of each field to the bytes of a block, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from statqat_sim.layouts.bits import Bytes, Words
from statqat_sim.layouts.coding import Coding

Blocks: TypeAlias = Mapping[str, Words]
"""Codes by name, of shape (blocks, codes of one block)."""


@dataclass(frozen=True, slots=True)
class Part:
    """The codes of a field, written one after the other."""

    name: str
    count: int
    coding: Coding

    @property
    def size(self) -> int:
        """In bytes."""
        return self.coding.shape((self.count,))[0]


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """The parts of a block, one after the other; each begins with a byte of its own."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        """The bytes of each."""
        return " + ".join(f"{part.name} {part.size}" for part in self.parts)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(part.size for part in self.parts)

    def pack(self, fields: Blocks) -> Bytes:
        """Codes -> bytes of shape (blocks, bytes of one block)."""
        return np.concatenate([part.coding.pack(fields[part.name]) for part in self.parts], axis=-1)

    def unpack(self, octets: Bytes) -> Blocks:
        """Bytes -> codes."""
        fields, start = {}, 0
        for part in self.parts:
            own = np.ascontiguousarray(octets[:, start : start + part.size])
            fields[part.name] = part.coding.unpack(own, (len(octets), part.count))
            start += part.size
        return fields
