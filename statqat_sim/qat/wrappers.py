"""Models inside of what torch wraps around them, whose names do not show the wrappers."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

COMPILED, WRAPPED = "_orig_mod", "module"
"""The attributes of a wrapper that have the model."""


def unwrapped(model: Any) -> Any:
    """The model itself."""
    while True:
        if isinstance(model, nn.Module) and COMPILED in model._modules:
            model = model._modules[COMPILED]
        elif isinstance(model, DataParallel | DistributedDataParallel | AveragedModel):
            model = model._modules[WRAPPED]
        else:
            return model


def plain_name(name: str) -> str:
    """A name without the compiled parts that it leads through."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """A model's modules by all of their plain names; that of a compiled part is of what was compiled."""
    found = model.named_modules(remove_duplicate=False)
    return {plain_name(name): module for name, module in found}  # a wrapper comes before what it has


def names_of_modules(model: nn.Module) -> dict[nn.Module, list[str]]:
    """All plain names of each module, of those that are used in several places, too."""
    found: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        found.setdefault(module, []).append(plain_name(name))
    return found
