"""Quantization that the backward pass does, as forward was told.

What is not finite in a gradient stays what it is, in every format: a format that saturates would make a finite number
of an overflow, which torch's GradScaler is to see. The format is given zero for it, so that no block becomes NaN, and
none refuses it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statqat_sim.qat.ops import choose_scale, fake_quantize, is_transformed, is_watched


class Quantization(NamedTuple):
    """How a tensor that comes later is quantized.

    Args:
        format: its key.
        axis: along which blocks run.
        exact: as `fake_quantize` has it.
        quantizer: the key of what chooses a scale for each tensor; None: there is no such choice.
        channel_axis: what it chooses scales for.
    """

    format: str
    axis: int
    exact: bool
    quantizer: str | None = None
    channel_axis: int | None = None

    def quantized(self, x: Tensor, scale: Tensor | None, seed: Tensor | None) -> Tensor:
        """What x decodes to; `scale`: where there is no choice."""
        return self._decoded(x, self._scale(x, scale), seed)

    def quantized_gradient(self, x: Tensor, scale: Tensor | None, seed: Tensor | None) -> Tensor:
        """Likewise of a gradient: what is not finite stays."""
        scale = self._scale(x, scale)
        if _is_surely_finite(x):
            return self._decoded(x, scale, seed)
        is_finite = torch.isfinite(x)
        return torch.where(is_finite, self._decoded(torch.where(is_finite, x, 0), scale, seed), x)

    def _scale(self, x: Tensor, scale: Tensor | None) -> Tensor | None:
        if self.quantizer is None:
            return scale
        return choose_scale(x, format=self.format, quantizer=self.quantizer, channel_axis=self.channel_axis)

    def _decoded(self, x: Tensor, scale: Tensor | None, seed: Tensor | None) -> Tensor:
        return fake_quantize(x, scale, seed, format=self.format, axis=self.axis, gradient="ste", exact=self.exact)


def _is_surely_finite(x: Tensor) -> bool:
    """Whether a look at a sum tells so, on the CPU: three passes over a tensor take longer than its quantization."""
    if x.device.type != "cpu" or is_transformed() or is_watched(x):
        return False
    return math.isfinite(x.detach().sum(dtype=torch.promote_types(x.dtype, torch.float32)).item())


class _QuantizedGradient(torch.autograd.Function):
    """The identity; see `quantized_gradient`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor | None, seed: Tensor | None, how: Quantization) -> Tensor:
        return x.clone()  # of a view autograd forbids what often comes next: ReLU(inplace=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, scale, seed, ctx.how = inputs
        ctx.save_for_backward(scale, seed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return ctx.how.quantized_gradient(*gradients, *ctx.saved_tensors), None, None, None


def quantized_gradient(x: Tensor, scale: Tensor | None, seed: Tensor | None, how: Quantization) -> Tensor:
    """The same tensor, whose gradient will be quantized.

    Args:
        x: any tensor.
        scale: of the gradient; None where one is chosen for each.
        seed: of stochastic rounding.
        how: it is quantized.
    """
    return _QuantizedGradient.apply(x, scale, seed, how)  # type: ignore[no-any-return, no-untyped-call]
