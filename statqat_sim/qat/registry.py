"""Which float module becomes which quantized one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import nn

from statqat_sim.qat.require import told_value

if TYPE_CHECKING:
    from statqat_sim.qat.modules.base import Quantized

_classes: dict[type[nn.Module], type[Quantized]] = {}

REGISTERED: Mapping[type[nn.Module], type[Quantized]] = MappingProxyType(_classes)
"""The quantized class of each float class. Exact: a subclass, whose forward may be another one, is not touched."""


def register(float_class: type[nn.Module], quantized_class: type[Quantized]) -> None:
    """Let `prepare` turn modules of a class into a quantized class of their own.

    Args:
        float_class: of the modules that are to be quantized.
        quantized_class: a subclass of both `Quantized` and `float_class` whose forward calls `quantized_input`,
            `quantized_weight` and `quantized_output`. It multiplies as `matmul`, `grad_input` and `grad_weight` of a
            rule say if it inherits a forward of this package that does.

    Raises:
        TypeError: unless it is one, or if it has neither `weights` nor `layouts`.

    >>> from statqat_sim import qat
    >>> class Doubled(nn.Linear):
    ...     def forward(self, input):
    ...         return 2 * super().forward(input)
    >>> class QuantizedDoubled(qat.Quantized, Doubled):
    ...     weights = {"weight": qat.Layout(axis=-1, channel_axis=0)}
    ...     layouts = {"input": qat.Layout(axis=-1, channel_axis=-1)}
    ...     channels = "in_features", "out_features"
    ...
    ...     def forward(self, input):
    ...         return 2 * nn.functional.linear(self.quantized_input(input), self.quantized_weight(), self.bias)
    >>> qat.register(Doubled, QuantizedDoubled)
    >>> qat.prepare(Doubled(32, 2, bias=False), qat.QATConfig(weight="mxfp4"))
    QuantizedDoubled(
      in_features=32, out_features=2, bias=False
      (weight_quantizer): TensorQuantizer(mxfp4, mode='quantize')
    )
    """
    from statqat_sim.qat.modules.base import Quantized

    for name, value in (("float_class", float_class), ("quantized_class", quantized_class)):
        if not (isinstance(value, type) and issubclass(value, nn.Module)):
            raise TypeError(f"{name} is {told_value(value)}; allowed: a class of torch modules")
    wanted = f"class {quantized_class.__name__}(qat.Quantized, {float_class.__name__})"
    for base in (Quantized, float_class):
        if not issubclass(quantized_class, base):
            raise TypeError(f"{quantized_class.__name__} is no subclass of {base.__name__}; allowed: {wanted}")
    if not quantized_class.weights and not quantized_class.layouts:
        allowed = "weights = {'weight': qat.Layout(axis=-1, channel_axis=0)}, or layouts, by 'input' and 'output'"
        raise TypeError(f"{quantized_class.__name__} has neither weights nor layouts; allowed: {allowed}")
    _classes[float_class] = quantized_class
