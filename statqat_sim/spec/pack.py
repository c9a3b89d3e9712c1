"""How the codes of a row lie in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from statqat_sim.spec.base import KeyProblem, Spec, Worded


class Nibbles(StrEnum):
    """Which half of a byte holds the first of its two codes."""

    LOW_FIRST = "low_first"
    HIGH_FIRST = "high_first"


class BitOrder(StrEnum):
    """Whether a row is a little-endian string of bits, or a big-endian one."""

    LSB = "lsb"
    MSB = "msb"


class Pack(Spec):
    """The `pack` part of a spec. Rows are padded to a byte; code i of a row takes its bits i·w to i·w + w - 1."""

    nibbles: Worded[Nibbles] = Nibbles.LOW_FIRST
    bit_order: Worded[BitOrder] = BitOrder.LSB

    def problems(self, bits: int) -> Iterator[KeyProblem]:
        """The keys that codes of this width have no use for."""
        if self.nibbles is Nibbles.LOW_FIRST:
            return
        if bits != 4:
            yield "nibbles", f"'high_first' needs codes of 4 bits, not {bits}; allowed: low_first"
        elif self.bit_order is BitOrder.MSB:
            yield "nibbles", "bit_order: msb puts the first code into the high half already; allowed: low_first"
