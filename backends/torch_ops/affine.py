"""Tables of evenly spaced numbers, computed from the index: torch's compiler reads tables one word at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.backends.torch_ops.operations import Operand
from statqat_sim.plan.layout import INFINITY, MAGNITUDE

LARGEST: Final = float(np.finfo(np.float32).max)

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Affine:
    """A float32 table whose entries are `(index ^ flip) * step + first`, bit for bit."""

    flip: int
    """The top bit of the index for two's complement, else 0."""

    step: float
    first: float
    most: int
    """The largest word without its sign bit."""

    @classmethod
    def of(cls, table: bytes, limit: int) -> Affine | None:
        """The words 0 to `limit` of a table; None if they are no such numbers."""
        words = np.frombuffer(table, "<u4")[: limit + 1]
        most = int((words & MAGNITUDE).max())
        if len(words) < 2 or most >= INFINITY:
            return None
        values, index = words.view("<f4"), np.arange(len(words))
        is_power_of_two = not len(words) & len(words) - 1
        flips = (0, len(words) // 2) if is_power_of_two else (0,)
        for flip in flips:
            place, first = index ^ flip, float(values[flip])
            found = cls(flip, float(values[flip ^ 1]) - first, first, most)
            if abs(found.step) > LARGEST:
                continue
            is_exact = np.array_equal(place * found.step + found.first, values)  # compilers may round once or twice
            if is_exact and np.array_equal(found._scaled_and_moved(place.astype(np.float32)).view(np.uint32), words):
                return found
        return None

    def _scaled_and_moved(self, index: Floats) -> Floats:
        """What `at` prints. Nothing is multiplied by 1, and 0 is not added: −0 + 0 is 0, but compilers leave it out."""
        scaled = index if self.step == 1 else index * np.float32(self.step)
        return scaled + np.float32(self.first) if self.first else scaled

    def at(self, index: Operand) -> str:
        """The entry at an index, as a float32 expression."""
        place = f"({index.word} ^ {self.flip})" if self.flip else index.word
        scaled = f"{place}.to(float32)" + ("" if self.step == 1 else f" * {self.step!r}")
        return f"{scaled} + {self.first!r}" if self.first else scaled
