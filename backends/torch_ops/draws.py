"""The random bits of elements, drawn on their device when they are needed."""

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
    """So many int64 from `first` on, behind torch's compiler's back.

    Where it knows that Philox multiplies numbers that count a loop, the C++ that it writes for CPUs has products that
    overflow, which C++ gives no meaning: gcc concludes that the loop is short, leaves out its end, and memory that
    belongs to others is overwritten.
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
        """None where a plan reads none."""
        return next((cls(stream.storage.bits) for stream in plan.shape.streams if stream.name == RANDOM), None)

    def fields(self, seed: int, offset: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """The field of each element of an array of this shape, whose first element has the index `offset`."""
        count, per_block = torch.Size(shape).numel(), BLOCK_BITS // self.bits
        first, skipped = offset // per_block, offset % per_block  # not divmod: the compiler may not know the offset
        blocks = consecutive(_int64(first), -(-(skipped + count) // per_block), device)
        key = consecutive(_int64(seed), 1, device)[0]  # in loops of the compiler no number is beyond an int64
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
