"""Blocks whose fields lie side by side: from the codes of each field to the bytes of a block, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from statqat_sim.layouts.bits import Bytes, Words
from statqat_sim.layouts.coding import Coding

Blocks: TypeAlias = Mapping[str, Words]
"""Codes by name, of shape (blocks, codes of one block)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Codes of a block that are written one after the other: those of a field, or what became of them."""

    name: str
    count: int
    coding: Coding

    @property
    def size(self) -> int:
        """In bytes."""
        return self.coding.shape((self.count,))[0]


def _unchanged(blocks: Blocks) -> Blocks:
    return blocks


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """The parts of a block, one after the other; each begins with a byte of its own."""

    parts: tuple[Part, ...]
    split: Callable[[Blocks], Blocks] = _unchanged
    """From fields to parts."""

    join: Callable[[Blocks], Blocks] = _unchanged
    """From parts to fields."""

    def pack(self, fields: Blocks) -> Bytes:
        """Codes -> bytes of shape (blocks, bytes of one block)."""
        parts = self.split(fields)
        return np.concatenate([part.coding.pack(parts[part.name]) for part in self.parts], axis=-1)

    def unpack(self, octets: Bytes) -> Blocks:
        """Bytes -> codes."""
        parts, start = {}, 0
        for part in self.parts:
            own = np.ascontiguousarray(octets[:, start : start + part.size])
            parts[part.name] = part.coding.unpack(own, (len(octets), part.count))
            start += part.size
        return self.join(parts)
