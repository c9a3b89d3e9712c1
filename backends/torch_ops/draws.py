"""The random bits of elements, generated on their device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.program import Program
from statqat_sim.backends.torch_ops.streams import wide_words
from statqat_sim.plan.philox import BLOCK_BITS, RANDOM, philox
from statqat_sim.plan.program import CodecPlan


@torch.library.custom_op("statqat::consecutive", mutates_args=())
def consecutive(first: int, count: int, device: torch.device) -> Tensor:
    """`count` consecutive int64 from `first` on, as an operation that torch's compiler cannot see into.

    If it could, its C++ for CPUs would multiply a loop counter by Philox's constants with signed overflow, which is
    undefined: gcc then assumes a short loop, drops its end condition, and the loop writes past the array.
    """
    return torch.arange(count, device=device) + first


@consecutive.register_fake
def _(first: int, count: int, device: torch.device) -> Tensor:
    return torch.empty(count, dtype=torch.int64, device=device)


class Draws:
    """The random fields that a plan reads."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._generator = Program(philox())

    @classmethod
    def of(cls, plan: CodecPlan) -> Draws | None:
        """The fields of a plan; None if it reads no random bits."""
        return next((cls(stream.storage.bits) for stream in plan.shape.streams if stream.name == RANDOM), None)

    def fields(self, seed: int, offset: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """The random field of each element, int32 of this shape; the first element has index `offset` in the stream."""
        count, per_block = torch.Size(shape).numel(), BLOCK_BITS // self.bits
        first, skipped = offset // per_block, offset % per_block  # not divmod: the offset may be symbolic
        blocks = consecutive(_int64(first), -(-(skipped + count) // per_block), device)
        key = consecutive(_int64(seed), 1, device)[0]  # the compiler's integers are int64
        drawn = torch.stack(self._generator({"block": wide_words(blocks), "seed": wide_words(key)}, device), dim=-1)
        places = torch.arange(0, 32, self.bits, dtype=torch.int32, device=device)
        fields = drawn[..., None] >> places & (1 << self.bits) - 1
        # not a slice: the compiler's loops over blocks are wrong if the last block is cut
        return fields.contiguous().as_strided(shape, _strides(shape), skipped).to(torch.int32)


def _strides(shape: tuple[int, ...]) -> list[int]:
    """The strides of an array in C order, in elements."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _int64(word: int) -> int:
    """The signed integer with these 64 bits."""
    return word - (1 << 64) if word >= 1 << 63 else word
