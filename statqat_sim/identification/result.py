"""How near a format comes: each array of a quantized tensor, beside what the format makes of the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.spec.format import Format

BLOCK_RULES = "own"
"""The scales of block formats."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One array of a quantized tensor, beside what a format makes of the original."""

    name: str
    """`values`, `bytes`, or the array's name among the format's fields: `elements`, `scale`, `scale0`, ..."""
    identical: int
    total: int
    first: str | None
    """The first difference: where, what is there, and what the format gives; None without any."""

    @classmethod
    def of(cls, name: str, theirs: Array, ours: Any) -> Compared:
        """Two arrays of one size, in the shape of the format's; every NaN is like another."""
        expected = np.asarray(ours)
        found = np.asarray(theirs).reshape(expected.shape)
        same = found == expected
        if expected.dtype.kind == "f" and not same.all():
            same |= np.isnan(found) & np.isnan(expected)
        wrong = np.flatnonzero(~same)
        first = None
        if wrong.size:
            place = tuple(int(index) for index in np.unravel_index(wrong[0], expected.shape))
            first = f"{list(place)}: {found[place]!s}, not {expected[place]!s}"
        return cls(name, expected.size - wrong.size, expected.size, first)

    @property
    def share(self) -> float:
        """Of elements that are identical; 1 where there are none."""
        return self.identical / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format, and how near it comes: `scale` says where the scales of a number format come from."""

    format: Format
    scale: str
    compared: tuple[Compared, ...]

    @property
    def exact(self) -> bool:
        """Whether it reproduces the tensor."""
        return all(each.identical == each.total for each in self.compared)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each array, in the order of importance."""
        return tuple(each.share for each in self.compared)
