"""The models of the QAT study: a small character GPT, and MiniLM with its published weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from bench.minilm import folder
from bench.qat_data import CHARACTERS

FIRST_SIGMA = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The dimensions of a GPT."""

    width: int
    heads: int
    blocks: int
    context: int


class Block(nn.Module):
    """Causal attention and an MLP, each with a layer norm before it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, width = shape.heads, shape.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        added: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return added


class CharGPT(nn.Module):
    """Logits of the next character, shape `(batch, length, characters)`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.characters, self.positions = (
            nn.Embedding(CHARACTERS, shape.width),
            nn.Embedding(shape.context, shape.width),
        )
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.blocks))
        self.norm, self.head = nn.LayerNorm(shape.width), nn.Linear(shape.width, CHARACTERS, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=FIRST_SIGMA)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.characters(codes) + self.positions.weight[: codes.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


class Layer(nn.Module):
    """A layer of BERT, with the parameter names of the published weights."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        projections = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": projections, "output": _dense_and_norm(width, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _dense_and_norm(inner, width)

    @property
    def projections(self) -> nn.ModuleDict:
        """The projections to queries, keys and values."""
        found = self.attention["self"]
        assert isinstance(found, nn.ModuleDict)
        return found

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for projection in self.projections.values()
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        x = _added(self.attention["output"], x, mixed)
        return _added(self.output, x, functional.gelu(self.intermediate["dense"](x)))


class MiniLM(nn.Module):
    """Embeddings of token sequences: unit vectors of shape `(batch, width)`."""

    def __init__(self, *, vocabulary: int, width: int, inner: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        sizes = {"word": vocabulary, "position": context, "token_type": 2}
        tables = {f"{name}_embeddings": nn.Embedding(size, width) for name, size in sizes.items()}
        self.embeddings = nn.ModuleDict({**tables, "LayerNorm": nn.LayerNorm(width, eps=1e-12)})
        self.encoder = nn.ModuleDict({"layer": nn.Sequential(*(Layer(width, inner, heads) for _ in range(layers)))})

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Embed tokens; `mask` marks those that count. Both have shape `(batch, length)`."""
        tables = self.embeddings
        x = tables["word_embeddings"](tokens) + tables["token_type_embeddings"](torch.zeros_like(tokens))
        x = tables["LayerNorm"](x + tables["position_embeddings"](torch.arange(tokens.shape[1], device=tokens.device)))
        for layer in self.encoder["layer"].children():
            x = layer(x, mask[:, None, None, :])
        counted = mask[..., None].to(x.dtype)
        return functional.normalize((x * counted).sum(1) / counted.sum(1), dim=-1)


def minilm() -> MiniLM:
    """MiniLM with its published weights."""
    tensors = load_file(folder() / "model.safetensors")
    model = MiniLM(vocabulary=30522, width=384, inner=1536, layers=6, heads=12, context=512)
    model.load_state_dict({name: tensors[name] for name in model.state_dict()})
    return model.eval()


def _dense_and_norm(inner: int, width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps=1e-12)})


def _added(modules: nn.Module, x: Tensor, inner: Tensor) -> Tensor:
    assert isinstance(modules, nn.ModuleDict)
    added: Tensor = modules["LayerNorm"](x + modules["dense"](inner))
    return added
