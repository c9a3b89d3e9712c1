"""Layers' usual products, whose backward pass may multiply other operands than forward did."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from statqat_sim.qat.gradient_quantizer import Way


class Products(NamedTuple):
    """What the products of the backward pass multiply; see `ProductConfig`.

    Args:
        input: of the layer, before it was quantized.
        weight: likewise.
        ways: how the operands are quantized, in the order of `OPERANDS`; None: as they come, of the input and the
            weight as forward multiplied them.
        seeds: of each, where it is rounded at random.
    """

    input: Tensor
    weight: Tensor
    ways: tuple[Way | None, ...]
    seeds: tuple[Tensor | None, ...]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, products: Products | None) -> Tensor:
    """`F.linear`, with the backward pass of `products`."""
    if products is None:
        return F.linear(x, weight, bias)
    plain = products.input.detach(), products.weight.detach()
    return _Linear.apply(x, weight, bias, *plain, products.ways, *products.seeds)  # type: ignore[no-any-return, no-untyped-call]


class _Linear(torch.autograd.Function):
    """See `linear`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, plain_x, plain_weight, ctx.ways, *seeds = inputs
        _, of_weight, _, of_input = ctx.ways
        ctx.shape, ctx.dtypes = x.shape, (x.dtype, weight.dtype, None if bias is None else bias.dtype)
        ctx.save_for_backward(x if of_input is None else plain_x, weight if of_weight is None else plain_weight, *seeds)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,) = gradients
        x, weight, *seeds = ctx.saved_tensors
        (way, of_weight, other_way, of_input), (seed, weight_seed, other_seed, input_seed) = ctx.ways, seeds
        rows = gradient.reshape(-1, gradient.shape[-1])
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            left, right = _gradient(rows, way, seed), _factor(weight, of_weight, weight_seed)
            grad_input = (left @ right.to(left.dtype)).reshape(ctx.shape).to(ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            left, right = (
                _gradient(rows, other_way, other_seed),
                _factor(x.reshape(-1, x.shape[-1]), of_input, input_seed),
            )
            grad_weight = (left.mT @ right.to(left.dtype)).to(ctx.dtypes[1])
        if ctx.needs_input_grad[2]:
            grad_bias = rows.sum(0).to(ctx.dtypes[2])
        return grad_input, grad_weight, grad_bias, *(None,) * (3 + len(seeds))


def _gradient(x: Tensor, way: Way | None, seed: Tensor | None) -> Tensor:
    return x if way is None else way.quantized_gradient(x, None, seed)


def _factor(x: Tensor, way: Way | None, seed: Tensor | None) -> Tensor:
    return x if way is None else way.quantized(x, None, seed)
