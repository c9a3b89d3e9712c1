"""A small model with layers of every kind, for tests of training and conversion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from statqat_sim import qat

TOKENS, WIDTH, PLACES = 23, 24, 10


class Net(nn.Module):
    """Tokens (batch, PLACES) -> scores (batch, PLACES, TOKENS); the embedding is the last layer's weight, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.down = nn.Conv1d(WIDTH, 20, 3, padding=1)
        self.up = nn.ConvTranspose1d(20, WIDTH, 3, padding=1)
        self.image = nn.Conv2d(1, 1, 3, padding=1)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, TOKENS, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.norm(x.transpose(1, 2))
        x = self.up(self.down(x).relu())
        x = self.image(x.unsqueeze(1)).squeeze(1).transpose(1, 2)
        return self.head(self.linear(x))  # type: ignore[no-any-return]


PACKED = ("embedding", "attention", "attention.out_proj", "down", "up", "image", "linear", "head")
"""The layers of `Net` that have weights to quantize."""


def net(dtype: torch.dtype = torch.float32, seed: int = 0) -> Net:
    """A model with values at random, in evaluation."""
    torch.manual_seed(seed)
    model = Net()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.to(dtype).eval()


def tokens(seed: int = 1) -> Tensor:
    """A batch of three."""
    return torch.randint(0, TOKENS, (3, PLACES), generator=torch.Generator().manual_seed(seed))


def prepared(config: qat.QATConfig, dtype: torch.dtype = torch.float32) -> Net:
    """A model that is ready for `convert`: calibrated where that is needed."""
    model = qat.prepare(net(dtype), config)
    if any(quantizer.is_calibrated for _, quantizer in qat.quantizers(model)):
        with qat.calibrate(model):
            model(tokens()).sum().backward()
        model.zero_grad()
    return model


def outputs(model: nn.Module, batch: Any = None) -> Tensor:
    """What the model gives for a batch."""
    with torch.no_grad():
        return model(tokens() if batch is None else batch)  # type: ignore[no-any-return]
