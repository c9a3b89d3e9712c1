"""The random bits of elements, drawn on their device when they are needed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.program import Program
from statqat_sim.backends.torch_ops.streams import wide_words
from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.philox import BLOCK_BITS, RANDOM, philox
from statqat_sim.plan.program import CodecPlan


class Draws:
    """The random fields that a plan reads."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._generator = Program(philox())

    @classmethod
    def of(cls, plan: CodecPlan) -> Draws | None:
        """None where a plan reads none."""
        return next((cls(stream.storage.bits) for stream in plan.shape.streams if stream.name == RANDOM), None)

    def fields(self, seed: int, offset: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """The field of each element of an array of this shape, whose first element has the index `offset`.

        Raises:
            UnsupportedError: if torch compiles it. On a CPU the code that torch 2.13 makes of Philox writes to memory
                that is not its own; built with `-fwrapv` it was not seen to, so that a signed overflow is suspected.
        """
        if torch.compiler.is_compiling():
            raise UnsupportedError("random bits are not drawn in compiled code (torch.compile); allowed: eager calls")
        count, per_block = torch.Size(shape).numel(), BLOCK_BITS // self.bits
        first, skipped = divmod(offset, per_block)
        blocks = torch.arange(-(-(skipped + count) // per_block), device=device) + _int64(first)
        key = torch.full((), _int64(seed), dtype=torch.int64, device=device)
        drawn = torch.stack(self._generator({"block": wide_words(blocks), "seed": wide_words(key)}, device), dim=-1)
        places = torch.arange(0, 32, self.bits, dtype=torch.int32, device=device)
        fields = drawn[..., None] >> places & (1 << self.bits) - 1
        # not a slice: the compiler's loops over blocks go wrong where the last one is cut
        return fields.contiguous().as_strided(shape, _strides(shape), skipped).to(torch.int32)


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Of an array in C order."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _int64(word: int) -> int:
    """The int64 with these 64 bits."""
    return word - (1 << 64) if word >= 1 << 63 else word
