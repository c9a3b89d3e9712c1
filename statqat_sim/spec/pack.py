"""The layout of a row's codes in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from statqat_sim.spec.base import KeyProblem, Spec, Worded


class Nibbles(StrEnum):
    """Which half of a byte holds the first of its two codes."""

    LOW_FIRST = "low_first"
    HIGH_FIRST = "high_first"


class BitOrder(StrEnum):
    """Whether a row is a little-endian or a big-endian bit string."""

    LSB = "lsb"
    MSB = "msb"


class Pack(Spec):
    """The `pack` part of a spec. Rows are padded to a byte; code i of a row takes its bits i·w to i·w + w - 1."""

    nibbles: Worded[Nibbles] = Nibbles.LOW_FIRST
    bit_order: Worded[BitOrder] = BitOrder.LSB

    def problems(self, bits: int) -> Iterator[KeyProblem]:
        """Keys without effect on codes of this width."""
        if self.nibbles is Nibbles.LOW_FIRST:
            return
        if bits != 4:
            yield "nibbles", f"'high_first' needs codes of 4 bits, not {bits}; allowed: low_first"
        elif self.bit_order is BitOrder.MSB:
            yield "nibbles", "bit_order: msb puts the first code into the high half already; allowed: low_first"


class Layout(StrEnum):
    """Whether each field of a block format is stored separately, or the fields of each block follow each other.

    ggml's blocks are interleaved in orders of their own, see `spec.ggml`: `ggml_q5_0` is also the layout of Q5_1, and
    `ggml_q4_k` that of Q5_K.
    """

    SEPARATE = "separate"
    INTERLEAVED = "interleaved"
    GGML_Q5_0 = "ggml_q5_0"
    GGML_Q2_K = "ggml_q2_k"
    GGML_Q3_K = "ggml_q3_k"
    GGML_Q4_K = "ggml_q4_k"
    GGML_Q6_K = "ggml_q6_k"
    GGML_IQ4_XS = "ggml_iq4_xs"
    GGML_TQ1_0 = "ggml_tq1_0"
    GGML_TQ2_0 = "ggml_tq2_0"
    GGML_NVFP4 = "ggml_nvfp4"


class Swizzle(StrEnum):
    """The order of the innermost scales in a separate layout."""

    NONE = "none"
    SM100_128X4 = "sm100_128x4"


class BlockNibbles(StrEnum):
    """Like `Nibbles`; or byte j of a block of n holds elements j and j + n/2."""

    LOW_FIRST = "low_first"
    HIGH_FIRST = "high_first"
    HALF_SPLIT = "half_split"


class BlockPack(Spec):
    """The `pack` part of a block format. No `fields` means scales outermost first, then offsets, then elements."""

    layout: Worded[Layout] = Layout.SEPARATE
    fields: Annotated[tuple[str, ...], Field(strict=False)] = ()
    nibbles: Worded[BlockNibbles] = BlockNibbles.LOW_FIRST
    bit_order: Worded[BitOrder] = BitOrder.LSB
    swizzle: Worded[Swizzle] = Swizzle.NONE
