"""All quantizers of a model, and whether they quantize."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

from statqat_sim.errors import did_you_mean, shown
from statqat_sim.qat.config import ROLES, Role
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.tensor_quantizer import TensorQuantizer

SETTABLE = ("float", "quantize")


def layers(model: nn.Module) -> Iterator[tuple[str, Quantized]]:
    """The quantized layers of a model, by their qualified names."""
    for name, module in model.named_modules():
        if isinstance(module, Quantized):
            yield name, module


def quantizers(model: nn.Module) -> Iterator[tuple[str, TensorQuantizer]]:
    """The quantizers of a model, by their qualified names."""
    for name, module in model.named_modules():
        if isinstance(module, TensorQuantizer):
            yield name, module


def set_mode(
    model: nn.Module, mode: Literal["float", "quantize"], match: str = "*", roles: Iterable[Role] = ROLES
) -> None:
    """Let tensors pass as they are, or quantize them.

    Args:
        model: a prepared model.
        mode: "float" or "quantize".
        match: globs on the layers' qualified names, joined by `|`.
        roles: of the tensors: any of "weight", "input", "output", "grad_output".

    Raises:
        ValueError: if there is no such mode or role, or no layer matches.
    """
    wanted = tuple(roles)
    for word, allowed in ((mode, SETTABLE), *((role, ROLES) for role in wanted)):
        if word not in allowed:
            raise ValueError(f"{shown(word)}{did_you_mean(word, allowed)}; allowed: {', '.join(allowed)}")
    known = dict(layers(model))
    matched = [name for name in known if any(fnmatchcase(name, pattern) for pattern in match.split("|"))]
    if not matched:
        raise ValueError(f"no quantized layer matches {shown(match)}{did_you_mean(match, known)}")
    for name in matched:
        for _, quantizer in known[name].quantizers():
            if quantizer.role in wanted:
                quantizer.mode = mode
