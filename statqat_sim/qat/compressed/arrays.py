"""The tensors of a converted weight, as compressed-tensors names and lays them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from statqat_sim.qat.compressed.scheme import Layout, Scales, Scheme, Strategy
from statqat_sim.qat.dense import to_dense
from statqat_sim.qat.packed import PackedWeight, unpacked
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat

WORD = 32
"""Bits of the words that packed integers fill; so many of them fill whole words, whatever their bits."""


def arrays_of(packed: PackedWeight, scheme: Scheme, layout: Layout) -> dict[str, Tensor]:
    """Codes and scales of a matrix, on the CPU, by the names that they have within a layer."""
    packing, (codes, *scales) = packed.packing, (array.cpu() for array in packed.arrays())
    format = packing.format
    elements, *others = unpacked(codes, scales, format, packing.shape, packing.axis)
    if isinstance(format, NumberFormat):
        return {**_codes(_plain(elements, format), scheme, layout), **_scales(scales, scheme)}
    points = {}
    if format.offset is not None and format.offset.format is not None:
        points = _zero_points(_plain(others.pop(), format.offset.format), scheme, layout)
    return {**_codes(_plain(elements, format.element), scheme, layout), **_scales(others, scheme), **points}


def _plain(codes: Tensor, number: NumberFormat) -> Tensor:
    """Integers that count from the least on, in two's complement; all else as it is."""
    is_from_least = isinstance(number.element, IntElement) and number.element.code_offset
    return codes ^ 1 << (number.bits - 1) if is_from_least else codes


def _zero_points(codes: Tensor, scheme: Scheme, layout: Layout) -> dict[str, Tensor]:
    """Integers, one for each group; packed ones are so along columns."""
    is_packed = layout is Layout.PACKED_INTS
    points = _words(codes.T, scheme.bits).T.contiguous() if is_packed else _signed(codes, scheme.bits)
    return {"weight_zero_point": points}


def _codes(elements: Tensor, scheme: Scheme, layout: Layout) -> dict[str, Tensor]:
    match layout:
        case Layout.INTS:
            return {"weight": _signed(elements, scheme.bits)}
        case Layout.PACKED_INTS:
            shape = torch.tensor(elements.shape)
            return {"weight_packed": _words(elements, scheme.bits), "weight_shape": shape}
        case Layout.FLOATS | Layout.MXFP8:
            return {"weight": elements.view(torch.float8_e4m3fn)}
    return {"weight_packed": to_dense(elements, scheme.bits).reshape(len(elements), -1)}


def _signed(codes: Tensor, bits: int) -> Tensor:
    """The integers of codes in two's complement, int8."""
    unused = BYTE - bits
    return (codes << unused).view(torch.int8) >> unused


def _words(codes: Tensor, bits: int) -> Tensor:
    """Integers from the least on, as a string of bits in each row, lowest first, in int32 words."""
    from_least = codes ^ 1 << (bits - 1)
    rows, columns = codes.shape
    filled = F.pad(from_least, (0, -columns % WORD))
    words = to_dense(filled, bits).view(torch.int32).reshape(rows, -1)
    return words[:, : -(-columns * bits // WORD)].contiguous()


def _scales(scales: list[Tensor], scheme: Scheme) -> dict[str, Tensor]:
    """Scales by which codes are multiplied; that of an NVFP4 tensor is stored as what block scales are divided by."""
    if scheme.scales is Scales.NESTED:
        outer, inner = scales
        return {"weight_scale": inner.view(torch.float8_e4m3fn), "weight_global_scale": outer.reshape(1).reciprocal()}
    (scale,) = scales or [torch.ones(1)]
    scale = scale.view(torch.bfloat16) if scale.dtype == torch.uint16 else scale  # numpy has codes of it alone
    if scheme.strategy is Strategy.TENSOR:
        return {"weight_scale": scale.reshape(1)}
    return {"weight_scale": scale.reshape(len(scale), -1).contiguous()}
