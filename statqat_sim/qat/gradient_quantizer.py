"""A tensor whose gradient is quantized on its way back.

What is not finite in it stays what it is, in every format: a format that saturates would make a finite number of an
overflow, which torch's GradScaler is to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from statqat_sim.qat.ops import choose_scale, fake_quantize

if TYPE_CHECKING:
    from statqat_sim.qat.tensor_quantizer import TensorQuantizer


class _QuantizedGradient(torch.autograd.Function):
    """The identity; `quantizer`: what chooses a scale for each gradient, where none is given."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor | None, seed: Tensor | None, format: str, axis: int, choice: Any, exact: bool
    ) -> Tensor:
        return x.clone()  # of a view autograd forbids what often comes next: ReLU(inplace=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, scale, seed, ctx.format, ctx.axis, ctx.choice, ctx.exact = inputs
        ctx.save_for_backward(scale, seed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,) = gradients
        scale, seed = ctx.saved_tensors
        if ctx.choice is not None:
            quantizer, channel_axis = ctx.choice
            scale = choose_scale(gradient, format=ctx.format, quantizer=quantizer, channel_axis=channel_axis)
        options = {"format": ctx.format, "axis": ctx.axis, "exact": ctx.exact}
        quantized = fake_quantize(gradient, scale, seed, gradient="ste", **options)
        result = torch.where(torch.isfinite(gradient), quantized, gradient)
        return result, None, None, None, None, None, None


def quantized_gradient(x: Tensor, quantizer: TensorQuantizer) -> Tensor:
    """The same tensor, whose gradient will be what `quantizer` makes of it."""
    is_chosen = quantizer.is_recomputed
    choice = (quantizer.quantizer_key, quantizer.channel_axis) if is_chosen else None
    scale = None if is_chosen else quantizer.scale_for(x)
    options = quantizer.format_key, quantizer.layout.axis, choice, quantizer.exact
    return _QuantizedGradient.apply(x, scale, quantizer.draw_seed(), *options)  # type: ignore[no-any-return, no-untyped-call]
