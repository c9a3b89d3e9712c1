"""Quantizes a float model as a row of the study says, through the public API only."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from bench.qat_baselines import rotate
from bench.qat_methods import Cell
from statqat_sim import load_format, qat


def quantize(model: nn.Module, cell: Cell, match: str, refit_every: int) -> nn.Module:
    """Prepare the linear layers whose names match, in place: weights per channel, inputs per tensor."""
    if cell.method.is_rotated:
        rotate(model, lambda name: fnmatchcase(name, match))
    return qat.prepare(model, config(cell, match, refit_every))


def config(cell: Cell, match: str, refit_every: int) -> qat.QATConfig:
    """A configuration with the same format for inputs and weights."""
    types = ("RotatedLinear",) if cell.method.is_rotated else ("Linear",)
    weight, input = _tensors(cell, refit_every)
    layer = qat.LayerConfig(weight=weight, input=input)
    return qat.QATConfig(rules=(qat.Rule(match=match, types=types, layer=layer),))


def _tensors(cell: Cell, refit_every: int) -> tuple[qat.TensorConfig, qat.TensorConfig]:
    format, method = load_format(cell.format), cell.method
    if method.quantizer is None:
        return qat.TensorConfig(format=format), qat.TensorConfig(format=format)
    shared: dict[str, Any] = {"quantizer": method.quantizer, "gradient": "lsq" if method.is_learned else "clipped"}
    weight = qat.TensorConfig(format=format, per="channel", update_every=refit_every, **shared)
    return weight, qat.TensorConfig(format=format, per="tensor", **shared)


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[tuple[torch.Tensor, ...]]) -> None:
    """Choose the scales of inputs from the activations of these batches."""
    with qat.calibrate(model):
        for batch in batches:
            model(*batch)
