"""QuEST, as far as scales go: a clip at a fixed multiple of the root mean square, and Hadamard rotations before it.

Source: Panferov et al., QuEST: Stable Training of LLMs with 1-Bit Weights and Activations, arXiv:2502.05003. Here it
uses what all rows of the study share: the same grid (QuEST's integer grid has no zero) with the multiple that minimizes
the error of normal data on it; one scale per input tensor, not per token; the same gradient. Rotations have random
signs as in QuaRot (arXiv:2404.00456): without signs the mean of a block, which is not zero after a GELU, becomes an
outlier where tokens share a scale, and INT4 loses 0.15 bits per character.
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
    """The scale is a multiple of the root mean square; the factor depends on the format only."""

    def _choice(self, task: Task) -> float:
        rms = math.sqrt(task.magnitudes.power / task.magnitudes.count)
        return rms * gaussian_scale(task.format)


@lru_cache(maxsize=16)
def gaussian_scale(format: NumberFormat) -> float:
    """The scale that minimizes the MSE of standard normal data."""
    return float(expected_error(format, prior="normal", scale="optimal").scale)


def rotated(x: Tensor) -> Tensor:
    """Rotate blocks of features along the last axis; a block is the largest power of two up to 128 that divides it."""
    features = x.shape[-1]
    size = min(features & -features, LARGEST_ROTATION)
    return (x.reshape(*x.shape[:-1], -1, size) @ rotation(size).to(x)).reshape(x.shape)


@lru_cache(maxsize=16)
def rotation(size: int) -> Tensor:
    """An orthogonal matrix: Sylvester's Hadamard matrix, `size` a power of two, with fixed random signs."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    signs = 1 - 2 * torch.randint(2, (size, 1), generator=torch.Generator().manual_seed(size))
    return signs * matrix / math.sqrt(size)


class RotatedLinear(nn.Linear):
    """A linear layer with rotated weight and inputs: the same function until they are quantized."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(rotated(x), self.weight, self.bias)


class QuantizedRotatedLinear(qat.Quantized, RotatedLinear):
    """The quantized layer that `qat.prepare` makes of it: weight and inputs are quantized after the rotation."""

    weights = {"weight": qat.Layout(axis=-1, channel_axis=0)}
    layouts = {"input": qat.Layout(axis=-1, channel_axis=-1)}

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.quantized_input(rotated(x)), self.quantized_weight(), self.bias)


qat.register(RotatedLinear, QuantizedRotatedLinear)


@torch.no_grad()
def rotate(model: nn.Module, wanted: Callable[[str], bool]) -> None:
    """Replace the wanted linear layers by rotated ones, in place; the rotated weights are the trained parameters."""
    for name, module in model.named_modules():
        if type(module) is nn.Linear and wanted(name):
            module.weight.copy_(rotated(module.weight))
            module.__class__ = RotatedLinear
