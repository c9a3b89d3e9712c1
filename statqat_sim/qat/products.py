"""Layers' usual products, whose backward pass may multiply other operands than forward did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from statqat_sim.qat.config_rules import PRODUCTS, Role
from statqat_sim.qat.gradient_quantizer import Quantization
from statqat_sim.qat.hadamard import transformed
from statqat_sim.qat.layout import Layout

MATRICES: Mapping[Role, Layout] = {
    "grad_input.grad_output": Layout(axis=1, channel_axis=0),
    "grad_input.weight": Layout(axis=0, channel_axis=1),
    "grad_weight.grad_output": Layout(axis=0, channel_axis=1),
    "grad_weight.input": Layout(axis=0, channel_axis=1),
}
"""How the operands of the backward pass lie; inputs and gradients as matrices of all their rows."""
AXES = {product: [MATRICES[role].axis for role in operands.values()] for product, operands in PRODUCTS.items()}
"""Along which each product sums: of the gradient, and of the other operand."""


class Operands(NamedTuple):
    """How one product of the backward pass has its operands; see `ProductConfig`.

    Args:
        gradient: how the gradient is quantized; None: it stays as it comes.
        factor: how the weight or the input is quantized anew; None: it is what forward multiplied.
        hadamard: the size of their transform; 0: none.
    """

    gradient: Quantization | None
    factor: Quantization | None
    hadamard: int


class Products(NamedTuple):
    """What the products of the backward pass multiply.

    Args:
        input: of the layer, before it was quantized.
        weight: likewise.
        grad_input: the operands of the product that gives the input's gradient.
        grad_weight: of that which gives the weight's.
        seeds: of the gradient and the factor of each, where they are rounded at random.
    """

    input: Tensor
    weight: Tensor
    grad_input: Operands
    grad_weight: Operands
    seeds: tuple[Tensor | None, ...]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, products: Products | None) -> Tensor:
    """`F.linear`, with the backward pass of `products`."""
    if products is None:
        return F.linear(x, weight, bias)
    operands = products.grad_input, products.grad_weight
    float_x, float_weight = _others(products, x, weight)
    rows, float_rows = _rows(x), None if float_x is None else _rows(float_x)
    found: Tensor = _Linear.apply(rows, weight, bias, float_rows, float_weight, operands, *products.seeds)  # type: ignore[no-untyped-call]
    return found.reshape(*x.shape[:-1], len(weight))


def _others(products: Products, x: Tensor, weight: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The input and the weight that the backward pass reads, where they are not those that forward multiplies."""
    is_other_x = products.grad_weight.factor is not None and products.input is not x
    is_other_weight = products.grad_input.factor is not None and products.weight is not weight
    return products.input if is_other_x else None, products.weight if is_other_weight else None


def _rows(x: Tensor) -> Tensor:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


class _Linear(torch.autograd.Function):
    """See `linear`; of matrices."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, float_x, float_weight, ctx.operands, *seeds = inputs
        ctx.dtypes = x.dtype, weight.dtype, None if bias is None else bias.dtype
        needs_input, needs_weight, *_ = ctx.needs_input_grad
        read_x, read_weight = (x if float_x is None else float_x), (weight if float_weight is None else float_weight)
        ctx.save_for_backward(read_x if needs_weight else None, read_weight if needs_input else None, *seeds)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,), (x, weight, *seeds) = gradients, ctx.saved_tensors
        (for_input, for_weight), (dtype, weight_dtype, bias_dtype) = ctx.operands, ctx.dtypes
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            left, right = _factors(for_input, seeds[:2], gradient, weight, AXES["grad_input"])
            grad_input = (left @ right).to(dtype)
        if ctx.needs_input_grad[1]:
            left, right = _factors(for_weight, seeds[2:], gradient, x, AXES["grad_weight"])
            grad_weight = (left.mT @ right).to(weight_dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = gradient.sum(0).to(bias_dtype)
        return grad_input, grad_weight, grad_bias, *(None,) * (3 + len(seeds))


def _factors(
    operands: Operands, seeds: Sequence[Tensor | None], gradient: Tensor, factor: Tensor, axes: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """What a product multiplies, whose sum runs along these axes; in float32 where a transform made it larger."""
    left, right, (seed, other_seed) = gradient, factor, seeds
    if operands.hadamard:
        left, right = (transformed(x, axis, operands.hadamard) for x, axis in zip((left, right), axes, strict=True))
    dtype = left.dtype
    if operands.gradient is not None:
        left = operands.gradient.quantized_gradient(left, None, seed)
    if operands.factor is not None:
        right = operands.factor.quantized(right, None, other_seed)
    return left, right.to(dtype)
