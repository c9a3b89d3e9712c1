"""How well a format reproduces a quantized tensor: each given array compared with the format's result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.spec.format import Format

BLOCK_RULES = "own"
"""`Candidate.scale` of block formats, which find their own scales."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One array of a quantized tensor, compared with the one a format produces from the original."""

    name: str
    """`values`, `bytes`, or the array's name among the format's fields: `elements`, `scale`, `scale0`, ..."""
    identical: int
    total: int
    first: str | None
    """The first difference: its index, the given element, and the format's element; None if all are identical."""

    @classmethod
    def of(cls, name: str, theirs: Array, ours: Any) -> Compared:
        """The comparison of two arrays of one size, in the shape of `ours`; all NaN are equal."""
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
        """The share of identical elements; 1 if the array is empty."""
        return self.identical / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format, the origin of its scales, and the comparisons of its arrays with the given ones."""

    format: Format
    scale: str
    compared: tuple[Compared, ...]

    @property
    def exact(self) -> bool:
        """Whether the format reproduces the tensor exactly."""
        return all(each.identical == each.total for each in self.compared)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of identical elements of each array, most important array first."""
        return tuple(each.share for each in self.compared)
