"""Tensors as the int32 words that plans read, and back."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.dense import pack, unpack
from statqat_sim.backends.torch_ops.program import Halves
from statqat_sim.packing import array_shape
from statqat_sim.plan.program import WORD, Packed, Storage

SIGNED: Final = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}
"""What torch computes with, by width: of unsigned integers only the bytes."""


def words(tensor: Tensor, storage: Storage | Packed, shape: tuple[int, ...]) -> Halves:
    """The elements of an array in C order; of dense codes, those that its bytes hold."""
    if isinstance(storage, Packed):
        rows = tensor.reshape(array_shape(shape or (1,), storage)).to(torch.int32)
        return unpack(rows, storage, (shape or (1,))[-1]).reshape(shape), None
    if storage.bits == 64:
        return wide_words(tensor.reshape(shape))
    return short_words(tensor.reshape(shape)), None


def short_words(tensor: Tensor) -> Tensor:
    """The bits of elements of up to 32 of them."""
    bits = tensor.view(SIGNED[8 * tensor.dtype.itemsize]).to(torch.int32)
    return bits & 0xFFFF if tensor.dtype.itemsize == 2 else bits


def wide_words(tensor: Tensor) -> Halves:
    """The bits of elements of 64."""
    bits = tensor.view(torch.int64)
    return bits.to(torch.int32), (bits >> 32).to(torch.int32)


def stored(outputs: tuple[Tensor, ...], storage: Storage | Packed, shape: tuple[int, ...]) -> Tensor:
    """A plan's outputs as an array of a storage's elements."""
    low, *high = (output.broadcast_to(shape) for output in outputs)
    if isinstance(storage, Packed):
        return pack((low & (1 << storage.bits) - 1).reshape(shape or (1,)), storage).to(torch.uint8)
    if high:
        low = low.to(torch.int64) & WORD | high[0].to(torch.int64) << 32
    return narrowed(low, storage).contiguous()


def narrowed(word: Tensor, storage: Storage) -> Tensor:
    """Words cut to a storage's width, of its dtype."""
    if storage.bits == 8:
        word = word & 0xFF
    return word.to(SIGNED[storage.bits]).view(getattr(torch, storage.value))
