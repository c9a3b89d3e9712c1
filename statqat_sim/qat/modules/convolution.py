"""Convolutions: blocks run along the input channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from statqat_sim.codec import Codec
from statqat_sim.plan.lower import code_storage
from statqat_sim.qat.layout import Layout
from statqat_sim.qat.matmul_layers import convolve
from statqat_sim.qat.modules.base import Quantized, every_role
from statqat_sim.qat.registry import register
from statqat_sim.qat.rules import LayerConfig
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat


class _QuantizedConvolution(Quantized):
    """What convolutions share, whatever the number of their axes in space."""

    weights = {"weight": Layout(axis=1, channel_axis=0)}
    channels = "in_channels", "out_channels"

    def forward(self, input: Tensor) -> Tensor:
        y = convolve(self, self.input_factor(input), self.weight_factor(), self.matmul_key)
        return self.quantized_output(y)

    @classmethod
    def matmul_problems(cls, module: nn.Module, layer: LayerConfig) -> Iterator[str]:
        mode: Any = module.padding_mode
        if mode != "zeros":
            yield f"padding_mode is {mode!r}; allowed: 'zeros'"
        for role in ("weight", "input"):
            format = getattr(layer, role).format
            if isinstance(format, BlockFormat):
                yield f"{role} is in blocks ({format.name}), which it does not multiply; allowed: number formats"
            elif not _is_zero(format):
                yield f"code 0 of {format.name} ({role}) is not zero, with which inputs are padded"


class QuantizedConv1d(_QuantizedConvolution, nn.Conv1d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-2, channel_axis=-2))


class QuantizedConv2d(_QuantizedConvolution, nn.Conv2d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-3, channel_axis=-3))


class QuantizedConv3d(_QuantizedConvolution, nn.Conv3d):
    """See `Quantized`."""

    layouts = every_role(Layout(axis=-4, channel_axis=-4))


def _is_zero(format: NumberFormat) -> bool:
    """Whether code 0 means zero."""
    return bool(Codec(format).decode(np.zeros(1, code_storage(format).value))[0] == 0)


register(nn.Conv1d, QuantizedConv1d)
register(nn.Conv2d, QuantizedConv2d)
register(nn.Conv3d, QuantizedConv3d)
