"""Embeddings: blocks run along a row, and each row may have a scale of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from statqat_sim.qat.layout import Layout
from statqat_sim.qat.modules.base import Quantized
from statqat_sim.qat.registry import register

ROW = Layout(axis=-1, channel_axis=-1)


class QuantizedEmbedding(Quantized, nn.Embedding):
    """See `Quantized`. What enters are indices, which are not quantized."""

    weights = {"weight": Layout(axis=-1, channel_axis=0)}
    layouts = {"output": ROW, "grad_output": ROW}
    channels = "", "embedding_dim"
    has_product = False

    def forward(self, input: Tensor) -> Tensor:
        if "weight" in self._parameters:
            self._renormalise(self.weight, input)
        options = {"scale_grad_by_freq": self.scale_grad_by_freq, "sparse": self.sparse}
        return self.quantized_output(F.embedding(input, self.quantized_weight(), self.padding_idx, **options))

    def settled(self, name: str) -> Tensor:
        weight = super().settled(name)
        if self.max_norm is None:
            return weight
        copy = weight.detach().clone()
        self._renormalise(copy, torch.arange(self.num_embeddings, device=weight.device))
        return copy

    def _renormalise(self, weight: Tensor, rows: Tensor) -> None:
        """Shrink rows of the parameter, as in a float model: not of what it is quantized to."""
        if self.max_norm is not None:
            with torch.no_grad():
                torch.embedding_renorm_(weight, rows.contiguous(), self.max_norm, self.norm_type)


register(nn.Embedding, QuantizedEmbedding)
