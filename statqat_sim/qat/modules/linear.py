"""Matrix products: blocks run along the input features."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from statqat_sim.qat.layout import Layout
from statqat_sim.qat.matmul_layers import linear
from statqat_sim.qat.modules.base import Quantized, every_role
from statqat_sim.qat.products import MATRICES
from statqat_sim.qat.registry import register
from statqat_sim.qat.rules import LayerConfig


class QuantizedLinear(Quantized, nn.Linear):
    """See `Quantized`."""

    weights = {"weight": Layout(axis=-1, channel_axis=0)}
    layouts = {**every_role(Layout(axis=-1, channel_axis=-1)), **MATRICES}
    channels = "in_features", "out_features"

    def forward(self, input: Tensor) -> Tensor:
        x, (weight, factor) = self.input_factor(input), self.weight_and_factor()
        y = linear(x, factor, self.bias, self.matmul_key, self.products(input, weight))
        return self.quantized_output(y)

    @classmethod
    def matmul_problems(cls, module: nn.Module, layer: LayerConfig) -> Iterator[str]:
        yield from ()


class QuantizedOutputProjection(QuantizedLinear, NonDynamicallyQuantizableLinear):
    """What mixes the heads of `QuantizedMultiheadAttention`, by whose rule it is prepared."""


register(nn.Linear, QuantizedLinear)
