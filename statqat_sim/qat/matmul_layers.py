"""What layers compute: with torch's products, or with an accelerator's where their operands are codes."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from statqat_sim.qat.matmul_operands import Operand
from statqat_sim.qat.matmul_ops import multiply
from statqat_sim.qat.products import Products
from statqat_sim.qat.products import linear as usual_linear

Factor: TypeAlias = Tensor | Operand
"""Of a product: quantized floats, or what an accelerator multiplies."""

SIGNED = {2: torch.int16, 4: torch.int32}
"""By their bytes."""


def linear(
    x: Factor, weight: Factor, bias: Tensor | None, matmul: str | None, products: Products | None = None
) -> Tensor:
    """`products.linear`; of operands by the accelerator of this key."""
    if isinstance(x, Tensor) or isinstance(weight, Tensor) or matmul is None:
        return usual_linear(x, weight, bias, products)  # type: ignore[arg-type]  # both are tensors then
    if x.values is None or weight.values is None:
        usual = _room(x, weight, (*x.codes[0].shape[:-1], len(weight.codes[0])))
    else:
        usual = usual_linear(x.values, weight.values, bias, products)
    return multiply(usual, x, weight, bias, matmul)


def convolve(layer: Any, x: Factor, weight: Factor, matmul: str | None) -> Tensor:
    """What a convolution gives; of operands by the accelerator of this key, as one product for each group.

    Its sums run over the kernel's places, the last axis fastest, and at each place over the input channels: as implicit
    GEMM has it of tensors whose channels come last (CUTLASS, Implicit GEMM Convolution).
    """
    if isinstance(x, Tensor) or isinstance(weight, Tensor) or matmul is None:
        return layer._conv_forward(x, weight, layer.bias)  # type: ignore[no-any-return]
    axes = len(layer.kernel_size)
    windows = _windows(layer, x.codes[0])
    if x.values is None or weight.values is None:
        usual = _room(x, weight, (*windows.shape[: -axes - 1], layer.out_channels))
    else:
        usual = layer._conv_forward(x.values, weight.values, layer.bias).movedim(-axes - 1, -1)
    kernel = weight.codes[0].movedim(1, -1).flatten(1, -1)  # (N, places · C / groups)
    a, b = windows.flatten(-axes - 1), kernel
    if layer.groups > 1:
        grouped = _split(windows.flatten(0, -axes - 2), -1, layer.groups)
        a, b = grouped.movedim(-2, 0).flatten(2), _split(kernel, 0, layer.groups)
    left, right = x.with_codes(a), weight.with_codes(b)
    return multiply(usual, left, right, layer.bias, matmul).movedim(-1, -axes - 1)


def _windows(layer: Any, codes: Tensor) -> Tensor:
    """What each place of the output sees: (..., places of the output, places of the kernel, C)."""
    word = codes.view(SIGNED[codes.itemsize]) if codes.itemsize > 1 else codes  # torch does little with uint16
    found = F.pad(word, layer._reversed_padding_repeated_twice)  # code 0 is zero: `product_problems` asks
    axes = len(layer.kernel_size)
    for size, stride, dilation in zip(layer.kernel_size, layer.stride, layer.dilation, strict=True):
        found = found.unfold(-axes, (size - 1) * dilation + 1, stride)[..., ::dilation]
    return found.movedim(-2 * axes - 1, -1).contiguous().view(codes.dtype)


def _split(x: Tensor, axis: int, groups: int) -> Tensor:
    split: Tensor = x.unflatten(axis, (groups, -1))  # type: ignore[no-untyped-call]
    return split


def _room(x: Operand, weight: Operand, shape: tuple[int, ...]) -> Tensor:
    """A tensor with the shape and the dtype of a product, autocast heeded; what is in it does not matter."""
    of_x, of_weight = (torch.empty((0, 0), dtype=each.dtype, device=each.codes[0].device) for each in (x, weight))
    return torch.empty(shape, dtype=(of_x @ of_weight).dtype, device=of_x.device)
