"""Multi-head attention, whose projections are quantized; blocks run along the features that enter each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from statqat_sim.qat.layout import Layout
from statqat_sim.qat.matmul_layers import Factor, linear
from statqat_sim.qat.modules.base import Quantized
from statqat_sim.qat.products import MATRICES, Products
from statqat_sim.qat.registry import register
from statqat_sim.qat.rules import LayerConfig
from statqat_sim.qat.wrappers import unwrapped

Three: TypeAlias = tuple[Tensor, Tensor, Tensor]
ROWS = Layout(axis=-1, channel_axis=0)
FEATURES = Layout(axis=-1, channel_axis=-1)


class QuantizedMultiheadAttention(Quantized, nn.MultiheadAttention):
    """See `Quantized`; written out, as torch's own goes to kernels that see the float weights.

    Query, key and value share the input's quantizer. The gradients that the three projections get are quantized by
    `grad_output_quantizer`. What mixes the heads is a `QuantizedOutputProjection`, with quantizers of its own. `matmul`
    is about the projections; products of queries with keys, and of weights with values, are of floats, and torch's.
    """

    weights = dict.fromkeys(("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"), ROWS)
    layouts = {"input": FEATURES, "grad_output": FEATURES, **MATRICES}
    channels = "embed_dim", ""  # gradients come back joined, or one by one

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if is_causal and attn_mask is None:
            raise ValueError("is_causal is a hint of what attn_mask is; allowed: together with attn_mask")
        is_batched = query.dim() == 3
        q, k, v = (self._heads(each, is_batched) for each in self._projected(query, key, value))
        k, v = self._extended(k, self.bias_k), self._extended(v, self.bias_v)
        if is_causal and key_padding_mask is None and not need_weights:
            mask = None
        else:
            is_causal, mask = False, self._mask(attn_mask, key_padding_mask, q, k)
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            mixed, weights = _attended(q, k, v, mask, dropout)
            weights = weights.mean(dim=1) if average_attn_weights else weights
            weights = weights if is_batched else weights.squeeze(0)
        else:
            mixed, weights = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal), None
        return self.out_proj(self._joined(mixed, is_batched)), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> Three:
        """Queries, keys and values; each distinct tensor is quantized once."""
        x = self.input_factor(query)
        y = x if key is query else self.input_factor(key)
        z = y if value is key else x if value is query else self.input_factor(value)
        weights: tuple[Tensor | None, ...]
        factors: tuple[Factor, ...]
        if self._qkv_same_embed_dim:
            weight, factor = self.weight_and_factor("in_proj_weight")
            if x is y is z:
                joined = self._multiplied(x, factor, self.in_proj_bias, self.products(query, weight))
                return joined.chunk(3, dim=-1)  # type: ignore[return-value]
            weights, factors = _thirds(weight), factor.chunk(3)
        else:
            weights, factors = zip(*(self.weight_and_factor(f"{name}_proj_weight") for name in "qkv"), strict=True)
        products = map(self.products, (query, key, value), weights)
        jobs = zip((x, y, z), factors, _thirds(self.in_proj_bias), products, strict=True)
        return tuple(self._multiplied(*job) for job in jobs)  # type: ignore[return-value]

    def _multiplied(self, x: Factor, weight: Factor, bias: Tensor | None, products: Products | None) -> Tensor:
        return self.quantized_gradient(linear(x, weight, bias, self.matmul_key, products))

    @classmethod
    def matmul_problems(cls, module: nn.Module, layer: LayerConfig) -> Iterator[str]:
        yield from ()

    @classmethod
    def tensor_problems(cls, module: nn.Module, layer: LayerConfig) -> Iterator[str]:
        """A scale that is kept for each channel of the input is one for queries, keys and values."""
        sizes: Any = module.embed_dim, module.kdim, module.vdim
        input = layer.input
        if input is not None and input.is_scaled and input.per == "channel" and not input.dynamic and len({*sizes}) > 1:
            told = f"query, key and value have {', '.join(map(str, sizes))} channels, and share the scales of input"
            yield f"{told}; allowed: per: tensor, or dynamic: true"

    def _heads(self, x: Tensor, is_batched: bool) -> Tensor:
        """(batch, heads, places, features of a head)."""
        split: Tensor = x.unflatten(-1, (self.num_heads, self.head_dim))  # type: ignore[no-untyped-call]
        if not is_batched:
            return split.transpose(0, 1).unsqueeze(0)
        return split.transpose(1, 2) if self.batch_first else split.permute(1, 2, 0, 3)

    def _joined(self, x: Tensor, is_batched: bool) -> Tensor:
        """What `_heads` was given."""
        if not is_batched:
            return x.squeeze(0).transpose(0, 1).flatten(-2)
        return x.transpose(1, 2).flatten(-2) if self.batch_first else x.permute(2, 0, 1, 3).flatten(-2)

    def _extended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Keys or values with the places that the layer adds."""
        shape = (len(x), self.num_heads, 1, self.head_dim)
        added = [] if bias is None else [bias.reshape(1, *shape[1:]).expand(shape).to(x.dtype)]
        added += [x.new_zeros(shape)] if self.add_zero_attn else []
        return torch.cat([x, *added], dim=2) if added else x

    def _mask(self, places: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
        """What is added to the products of queries and keys."""
        total: Tensor | None = None
        for mask in (places, padding):
            if mask is None:
                continue
            added = F.pad(_additive(mask, q.dtype), (0, k.shape[2] - mask.shape[-1]))
            if mask is padding:
                added = added.reshape(len(q), 1, 1, -1)
            elif added.dim() == 3:
                added = added.reshape(len(q), self.num_heads, *added.shape[1:])
            total = added if total is None else total + added
        return total


def output_projection(module: nn.Module) -> nn.Module | None:
    """What mixes the heads of an attention, compiled or not; None if its class, and so its forward, may be another."""
    found = unwrapped(module.out_proj) if isinstance(module, nn.MultiheadAttention) else None
    return found if type(found) in (nn.Linear, NonDynamicallyQuantizableLinear) else None


def _thirds(joined: Tensor | None) -> tuple[Tensor | None, ...]:
    """Of queries, keys and values."""
    return (None,) * 3 if joined is None else joined.chunk(3)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as numbers: -Inf where it says that nothing is to be seen."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)


def _attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> tuple[Tensor, Tensor]:
    """What `scaled_dot_product_attention` gives, with the weights."""
    products = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = F.dropout(torch.softmax(products if mask is None else products + mask, dim=-1), dropout)
    return weights @ v, weights


register(nn.MultiheadAttention, QuantizedMultiheadAttention)
