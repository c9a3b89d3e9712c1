"""Quantized layers: one file for each kind, which registers its classes."""

from statqat_sim.qat.modules.attention import QuantizedMultiheadAttention
from statqat_sim.qat.modules.base import Quantized
from statqat_sim.qat.modules.convolution import QuantizedConv1d, QuantizedConv2d, QuantizedConv3d
from statqat_sim.qat.modules.embedding import QuantizedEmbedding
from statqat_sim.qat.modules.linear import QuantizedLinear, QuantizedOutputProjection
from statqat_sim.qat.modules.transposed_convolution import (
    QuantizedConvTranspose1d,
    QuantizedConvTranspose2d,
    QuantizedConvTranspose3d,
)

__all__ = [
    "Quantized",
    "QuantizedConv1d",
    "QuantizedConv2d",
    "QuantizedConv3d",
    "QuantizedConvTranspose1d",
    "QuantizedConvTranspose2d",
    "QuantizedConvTranspose3d",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "QuantizedMultiheadAttention",
    "QuantizedOutputProjection",
]
