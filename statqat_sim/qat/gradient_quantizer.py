"""A tensor whose gradient is quantized on its way back.

What is not finite in it stays what it is, in every format: a format that saturates would make a finite number of an
overflow, which torch's GradScaler is to see. The format is given zero for it, so that no block becomes NaN, and none
refuses it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from statqat_sim.qat.ops import choose_scale, fake_quantize


class _QuantizedGradient(torch.autograd.Function):
    """The identity; see `quantized_gradient`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor | None, seed: Tensor | None, format: str, axis: int, exact: bool, choice: Any
    ) -> Tensor:
        return x.clone()  # of a view autograd forbids what often comes next: ReLU(inplace=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, scale, seed, ctx.format, ctx.axis, ctx.exact, ctx.choice = inputs
        ctx.save_for_backward(scale, seed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,) = gradients
        scale, seed = ctx.saved_tensors
        if ctx.choice is not None:
            quantizer, channel_axis = ctx.choice
            scale = choose_scale(gradient, format=ctx.format, quantizer=quantizer, channel_axis=channel_axis)
        options = {"format": ctx.format, "axis": ctx.axis, "exact": ctx.exact}
        is_finite = torch.isfinite(gradient)
        quantized = fake_quantize(torch.where(is_finite, gradient, 0), scale, seed, gradient="ste", **options)
        result = torch.where(is_finite, quantized, gradient)
        return result, None, None, None, None, None, None


def quantized_gradient(
    x: Tensor,
    scale: Tensor | None = None,
    seed: Tensor | None = None,
    *,
    format: str,
    axis: int,
    exact: bool,
    choice: tuple[str, int | None] | None = None,
) -> Tensor:
    """The same tensor, whose gradient will be quantized by `fake_quantize`, with these options.

    Args:
        x: any tensor.
        scale: of the gradient.
        seed: of stochastic rounding.
        format: its key.
        axis: along which blocks run.
        exact: as `fake_quantize` has it.
        choice: the key of the quantizer that chooses a scale for each gradient, and the axis of its channels; None:
            there is no such choice.
    """
    return _QuantizedGradient.apply(x, scale, seed, format, axis, exact, choice)  # type: ignore[no-any-return, no-untyped-call]
