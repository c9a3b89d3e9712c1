"""Matrix products: blocks run along the input features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from statqat_sim.qat.layout import Layout
from statqat_sim.qat.modules.base import Quantized, every_role
from statqat_sim.qat.registry import register


class QuantizedLinear(Quantized, nn.Linear):
    """See `Quantized`."""

    weights = {"weight": Layout(axis=-1, channel_axis=0)}
    layouts = every_role(Layout(axis=-1, channel_axis=-1))

    def forward(self, input: Tensor) -> Tensor:
        y = F.linear(self.quantized_input(input), self.quantized_weight(), self.bias)
        return self.quantized_output(y)


class QuantizedOutputProjection(QuantizedLinear, NonDynamicallyQuantizableLinear):
    """What mixes the heads of `QuantizedMultiheadAttention`, by whose rule it is prepared."""


register(nn.Linear, QuantizedLinear)
