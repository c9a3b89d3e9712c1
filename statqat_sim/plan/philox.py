"""The random bits of stochastic rounding: Philox4x32-10, which computes the bits of any element from its index.

Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011; the layout of counter, key
and fields is Definition 17 of `formats/LANGUAGE.md`.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.program import CodecPlan, Storage

ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD251_1F53, 0xCD9E_8D57)
KEY_STEPS: Final = (0x9E37_79B9, 0xBB67_AE85)

RANDOM: Final = "random"
"""The stream of plans that reads an element's field."""

BLOCK_BITS: Final = 128
"""Bits per counter value: the fields of several consecutive elements, the first in the lowest bits."""


def field_storage(random_bits: int) -> Storage:
    """The storage of an element's field, whose top bits are its random bits."""
    return next(kind for kind in (Storage.UINT8, Storage.UINT16, Storage.UINT32) if random_bits <= kind.bits)


@cache
def philox() -> CodecPlan:
    """The generator: the four words of a block, from the streams `block` (its number) and `seed`."""
    builder = Builder()
    high, low = builder.input_pair("block", Storage.UINT64)
    key_high, key_low = builder.input_pair("seed", Storage.UINT64)
    counter, key = (low, high, builder.const(0), builder.const(0)), (key_low, key_high)
    for _ in range(ROUNDS):
        counter = _round(counter, key)
        key = key[0] + KEY_STEPS[0], key[1] + KEY_STEPS[1]
    return builder.finish(counter, Storage.UINT32)


def _round(counter: tuple[Word, Word, Word, Word], key: tuple[Word, Word]) -> tuple[Word, Word, Word, Word]:
    first, second = MULTIPLIERS
    return (
        counter[2].mul_high(second) ^ counter[1] ^ key[0],
        counter[2] * second,
        counter[0].mul_high(first) ^ counter[3] ^ key[1],
        counter[0] * first,
    )
