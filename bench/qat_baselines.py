"""QuEST, as far as scales go: a clip at a fixed multiple of the root mean square, and Hadamard rotations before it.

Source: Panferov et al., QuEST: Stable Training of LLMs with 1-Bit Weights and Activations, arXiv:2502.05003. Here it is
held to what all rows have in common: the same grid (its own of integers has no zero), with the multiple of least error
for normal data on it; a scale for each tensor of inputs, not for each token; the same gradient. Rotations have random
signs as in QuaRot (arXiv:2404.00456): where tokens share a scale, without signs the mean of a block, which is not
zero after a GELU, becomes an outlier, and INT4 loses 0.15 bits per character.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from statqat_sim import expected_error, qat
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

LARGEST_ROTATION = 128


@dataclass(frozen=True, slots=True, repr=False)
class GaussianClip(Chooser):
    """A multiple of the root mean square that depends on the format alone; nothing guards it."""

    def _choice(self, task: Task) -> float:
        rms = math.sqrt(task.magnitudes.power / task.magnitudes.count)
        return rms * gaussian_scale(task.format)


@lru_cache(maxsize=16)
def gaussian_scale(format: NumberFormat) -> float:
    """The best scale of normal data of variance 1."""
    return float(expected_error(format, prior="normal", scale="optimal").scale)


def rotated(x: Tensor) -> Tensor:
    """Turn blocks of features, the last axis: of the largest power of two up to 128 that fits."""
    features = x.shape[-1]
    size = min(features & -features, LARGEST_ROTATION)
    return (x.reshape(*x.shape[:-1], -1, size) @ rotation(size).to(x)).reshape(x.shape)


@lru_cache(maxsize=16)
def rotation(size: int) -> Tensor:
    """An orthogonal matrix: random signs, always the same, and Sylvester's Hadamard matrix of a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    signs = 1 - 2 * torch.randint(2, (size, 1), generator=torch.Generator().manual_seed(size))
    return signs * matrix / math.sqrt(size)


class RotatedLinear(nn.Linear):
    """A linear layer whose weight is turned, and its inputs alike: the same function until they are quantized."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(rotated(x), self.weight, self.bias)


class QuantizedRotatedLinear(qat.Quantized, RotatedLinear):
    """What `qat.prepare` makes of it: both are quantized after their turn."""

    weights = {"weight": qat.Layout(axis=-1, channel_axis=0)}
    layouts = {"input": qat.Layout(axis=-1, channel_axis=-1)}

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.quantized_input(rotated(x)), self.quantized_weight(), self.bias)


qat.register(RotatedLinear, QuantizedRotatedLinear)


@torch.no_grad()
def rotate(model: nn.Module, wanted: Callable[[str], bool]) -> None:
    """Make the wanted linear layers rotated ones, in place; it is the turned weights that are trained."""
    for name, module in model.named_modules():
        if type(module) is nn.Linear and wanted(name):
            module.weight.copy_(rotated(module.weight))
            module.__class__ = RotatedLinear
