"""Convolutions: blocks run along the input channels."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from statqat_sim.qat.layout import Layout
from statqat_sim.qat.modules.base import Quantized, every_role
from statqat_sim.qat.registry import register


class _QuantizedConvolution(Quantized):
    """What convolutions share, whatever the number of their axes in space."""

    weights = {"weight": Layout(axis=1, channel_axis=0)}

    def forward(self, input: Tensor) -> Tensor:
        layer: Any = self
        y = layer._conv_forward(self.quantized_input(input), self.quantized_weight(), layer.bias)
        return self.quantized_output(y)


class QuantizedConv1d(_QuantizedConvolution, nn.Conv1d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-2, channel_axis=-2))


class QuantizedConv2d(_QuantizedConvolution, nn.Conv2d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-3, channel_axis=-3))


class QuantizedConv3d(_QuantizedConvolution, nn.Conv3d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-4, channel_axis=-4))


register(nn.Conv1d, QuantizedConv1d)
register(nn.Conv2d, QuantizedConv2d)
register(nn.Conv3d, QuantizedConv3d)
