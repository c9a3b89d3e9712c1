"""Transposed convolutions, whose weights have the input channels first: blocks run along these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from statqat_sim.qat.layout import Layout
from statqat_sim.qat.modules.base import Quantized, every_role
from statqat_sim.qat.registry import register


class _QuantizedTransposed(Quantized):
    """What transposed convolutions share, whatever the number of their axes in space."""

    weights = {"weight": Layout(axis=0, channel_axis=1)}
    channels = "in_channels", "out_channels"
    convolve: ClassVar[Callable[..., Tensor]]
    axes_in_space: ClassVar[int]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        layer: Any = self
        if layer.padding_mode != "zeros":
            raise ValueError(f"padding_mode is {layer.padding_mode!r}; allowed for transposed convolutions: 'zeros'")
        places = layer.stride, layer.padding, layer.kernel_size, self.axes_in_space, layer.dilation
        added = layer._output_padding(input, output_size, *places)
        x, weight = self.quantized_input(input), self.quantized_weight()
        options = layer.stride, layer.padding, added, layer.groups, layer.dilation
        return self.quantized_output(type(self).convolve(x, weight, layer.bias, *options))


class QuantizedConvTranspose1d(_QuantizedTransposed, nn.ConvTranspose1d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-2, channel_axis=-2))
    convolve, axes_in_space = F.conv_transpose1d, 1


class QuantizedConvTranspose2d(_QuantizedTransposed, nn.ConvTranspose2d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-3, channel_axis=-3))
    convolve, axes_in_space = F.conv_transpose2d, 2


class QuantizedConvTranspose3d(_QuantizedTransposed, nn.ConvTranspose3d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-4, channel_axis=-4))
    convolve, axes_in_space = F.conv_transpose3d, 3


register(nn.ConvTranspose1d, QuantizedConvTranspose1d)
register(nn.ConvTranspose2d, QuantizedConvTranspose2d)
register(nn.ConvTranspose3d, QuantizedConvTranspose3d)
