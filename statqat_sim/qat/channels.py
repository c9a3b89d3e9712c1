"""How many channels enter and leave layers: known before data come."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from statqat_sim.qat.config import Role
from statqat_sim.qat.modules import (
    QuantizedConv1d,
    QuantizedConv2d,
    QuantizedConv3d,
    QuantizedConvTranspose1d,
    QuantizedConvTranspose2d,
    QuantizedConvTranspose3d,
    QuantizedEmbedding,
    QuantizedLinear,
    QuantizedMultiheadAttention,
)

_CONVOLUTIONS: tuple[type[nn.Module], ...] = (
    QuantizedConv1d,
    QuantizedConv2d,
    QuantizedConv3d,
    QuantizedConvTranspose1d,
    QuantizedConvTranspose2d,
    QuantizedConvTranspose3d,
)
_SIZES: Mapping[type[nn.Module], tuple[str, str]] = {
    QuantizedLinear: ("in_features", "out_features"),
    QuantizedEmbedding: ("", "embedding_dim"),
    QuantizedMultiheadAttention: ("embed_dim", ""),  # its gradients come back joined, or one by one
    **dict.fromkeys(_CONVOLUTIONS, ("in_channels", "out_channels")),
}
"""The attributes of a layer that tell them, of the input and of the output."""


def channels_of(module: nn.Module, quantized_class: type[nn.Module], role: Role) -> int | None:
    """The channels of a layer's input, output or gradient; None where only data tell.

    Args:
        module: quantized, or as it was before.
        quantized_class: its class in a prepared model.
        role: "input", "output" or "grad_output".
    """
    for known, (of_input, of_output) in _SIZES.items():
        if issubclass(quantized_class, known):
            return getattr(module, of_input if role == "input" else of_output, None)
    return None
