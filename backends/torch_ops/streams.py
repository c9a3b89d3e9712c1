"""Conversion of tensors to the int32 words that plans read, and back."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from statqat_sim.backends.torch_ops.dense import pack, unpack
from statqat_sim.backends.torch_ops.program import Halves
from statqat_sim.packing import array_shape
from statqat_sim.plan.program import Packed, Storage
from statqat_sim.plan.step import WORD

SIGNED: Final = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}
"""The dtype used for words of each width: of unsigned integers, torch computes with bytes only."""


def words(tensor: Tensor, storage: Storage | Packed, shape: tuple[int, ...]) -> Halves:
    """The words of an array's elements, of this shape; dense codes are unpacked."""
    if isinstance(storage, Packed):
        rows = tensor.reshape(array_shape(shape or (1,), storage)).to(torch.int32)
        return unpack(rows, storage, (shape or (1,))[-1]).reshape(shape), None
    if storage.bits == 64:
        return wide_words(tensor.reshape(shape))
    return short_words(tensor.reshape(shape)), None


def short_words(tensor: Tensor) -> Tensor:
    """The bits of elements of up to 32 bits, int32, zero-extended."""
    bits = tensor.view(SIGNED[8 * tensor.dtype.itemsize]).to(torch.int32)
    return bits & 0xFFFF if tensor.dtype.itemsize == 2 else bits


def wide_words(tensor: Tensor) -> Halves:
    """The low and high words of 64-bit elements, int32."""
    bits = tensor.view(torch.int64)
    return bits.to(torch.int32), (bits >> 32).to(torch.int32)


def stored(outputs: tuple[Tensor, ...], storage: Storage | Packed, shape: tuple[int, ...]) -> Tensor:
    """A plan's outputs as an array of this shape with the storage's dtype, or as dense codes."""
    low, *high = (output.broadcast_to(shape) for output in outputs)
    if isinstance(storage, Packed):
        return pack((low & (1 << storage.bits) - 1).reshape(shape or (1,)), storage).to(torch.uint8)
    if high:
        low = low.to(torch.int64) & WORD | high[0].to(torch.int64) << 32
    return narrowed(low, storage).contiguous()


def narrowed(word: Tensor, storage: Storage) -> Tensor:
    """Words truncated to a storage's width, as its dtype."""
    if storage.bits == 8:
        word = word & 0xFF
    return word.to(SIGNED[storage.bits]).view(getattr(torch, storage.value))
