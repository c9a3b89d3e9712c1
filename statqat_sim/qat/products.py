"""Layers' usual products, whose backward pass may multiply other operands than forward did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from statqat_sim.qat.gradient_quantizer import Way
from statqat_sim.qat.hadamard import transformed


class Operands(NamedTuple):
    """How one product of the backward pass has its operands; see `ProductConfig`.

    Args:
        gradient: how the gradient is quantized; None: it stays as it comes.
        factor: how the weight or the input is quantized anew; None: it is what forward multiplied.
        hadamard: the size of their transform; 0: none.
    """

    gradient: Way | None
    factor: Way | None
    hadamard: int


class Products(NamedTuple):
    """What the products of the backward pass multiply, first that for the input's gradient, then that for the weight's.

    Args:
        input: of the layer, before it was quantized.
        weight: likewise.
        operands: of each product.
        seeds: of the gradient and the factor of each, where they are rounded at random.
    """

    input: Tensor
    weight: Tensor
    operands: tuple[Operands, Operands]
    seeds: tuple[Tensor | None, ...]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, products: Products | None) -> Tensor:
    """`F.linear`, with the backward pass of `products`."""
    if products is None:
        return F.linear(x, weight, bias)
    floats = products.input.detach(), products.weight.detach()
    return _Linear.apply(x, weight, bias, *floats, products.operands, *products.seeds)  # type: ignore[no-any-return, no-untyped-call]


class _Linear(torch.autograd.Function):
    """See `linear`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, float_x, float_weight, ctx.operands, *seeds = inputs
        of_x, of_weight = ctx.operands
        ctx.shape, ctx.dtypes = x.shape, (x.dtype, weight.dtype, None if bias is None else bias.dtype)
        kept = x if of_weight.factor is None else float_x, weight if of_x.factor is None else float_weight
        ctx.save_for_backward(*kept, *seeds)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,), (x, weight, *seeds) = gradients, ctx.saved_tensors
        (of_x, of_weight), (dtype, weight_dtype, bias_dtype) = ctx.operands, ctx.dtypes
        rows = gradient.reshape(-1, gradient.shape[-1])
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            left, right = _factors(of_x, seeds[:2], rows, weight, 1)
            grad_input = (left @ right).reshape(ctx.shape).to(dtype)
        if ctx.needs_input_grad[1]:
            left, right = _factors(of_weight, seeds[2:], rows, x.reshape(-1, x.shape[-1]), 0)
            grad_weight = (left.mT @ right).to(weight_dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = rows.sum(0).to(bias_dtype)
        return grad_input, grad_weight, grad_bias, *(None,) * (3 + len(seeds))


def _factors(
    operands: Operands, seeds: Sequence[Tensor | None], gradient: Tensor, factor: Tensor, axis: int
) -> tuple[Tensor, Tensor]:
    """What a product multiplies, whose sum runs along this axis of the gradient, and along the first of the factor."""
    left, right, (seed, other_seed) = gradient, factor, seeds
    if operands.hadamard:
        left, right = transformed(left, axis, operands.hadamard), transformed(right, 0, operands.hadamard)
    if operands.gradient is not None:
        left = operands.gradient.quantized_gradient(left, None, seed)
    if operands.factor is not None:
        right = operands.factor.quantized(right, None, other_seed)
    return left.to(gradient.dtype), right.to(gradient.dtype)
