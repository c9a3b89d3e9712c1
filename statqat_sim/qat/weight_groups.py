"""The layers of a float model whose weights are quantized together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape
from typing import Any

from torch import nn

from statqat_sim.qat.layout import Layout
from statqat_sim.qat.modules import Quantized, QuantizedOutputProjection
from statqat_sim.qat.registry import REGISTERED


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """Layers whose weights are quantized together: they share them, or one rule holds for all."""

    names: tuple[str, ...]
    weights: tuple[tuple[nn.Parameter, Layout], ...]

    @property
    def name(self) -> str:
        """All names, joined by `|`."""
        return "|".join(self.names)

    @property
    def pattern(self) -> str:
        """A glob for a rule that is about these layers."""
        return "|".join(escape(name) or "*" for name in self.names)


def weight_groups(model: nn.Module) -> Iterator[WeightGroup]:
    """The groups of a float model's layers that can be quantized, in its order."""
    found: list[tuple[list[str], dict[int, tuple[nn.Parameter, Layout]]]] = []
    for name, module in model.named_modules():
        own = {id(weight): (weight, layout) for weight, layout in _weights(module)}
        shared = next((group for group in found if group[1].keys() & own.keys()), None)
        if shared is not None:
            shared[0].append(name)
            shared[1].update({key: own[key] for key in own.keys() - shared[1].keys()})
        elif own:
            found.append(([name], own))
    return (WeightGroup(tuple(names), tuple(weights.values())) for names, weights in found)


def _weights(module: nn.Module) -> Iterator[tuple[nn.Parameter, Layout]]:
    """The parameters that a rule about the module would quantize."""
    if type(module) not in REGISTERED:
        return
    parts: list[tuple[Any, type[Quantized]]] = [(module, REGISTERED[type(module)])]
    if isinstance(module, nn.MultiheadAttention):
        parts.append((module.out_proj, QuantizedOutputProjection))
    for part, quantized in parts:
        for name, layout in quantized.weights.items():
            if getattr(part, name) is not None:
                yield getattr(part, name), layout
