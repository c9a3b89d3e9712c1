"""Layers that stay float as their class is a subclass of a known one: its forward may be another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import is_lazy

from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.registry import REGISTERED

FEW = 8
"""Layers that a warning lists."""


class Subclass(NamedTuple):
    """The names of a module's class, and of the known one that it comes from."""

    own: str
    known: str


def unknown_subclasses(model: nn.Module) -> dict[str, Subclass]:
    """The modules with weights that could be quantized if they were of the class that theirs comes from."""
    found = ((name, type(module), known_base(type(module))) for name, module in model.named_modules())
    return {name: Subclass(own.__name__, known.__name__) for name, own, known in found if known is not None}


def told_of(modules: Mapping[str, Subclass], config: QATConfig) -> str | None:
    """A warning of those that a rule would be about."""
    found = [f"{name or '(model)'} ({kinds.own})" for name, kinds in modules.items() if _is_meant(name, kinds, config)]
    if not found:
        return None
    ways = "qat.register, torch.nn.utils.parametrize.remove_parametrizations before, or a rule with skip: true"
    told = "not quantized, as their class is only a subclass of what qat.prepare knows"
    return f"{told}: {listed(found)}; allowed: {ways}"


def lazy_problems(model: nn.Module, modules: Mapping[str, Subclass], config: QATConfig) -> list[str]:
    """Those that a rule would be about, had a batch told them of their sizes."""
    meant = (name for name, kinds in modules.items() if _is_meant(name, kinds, config))
    told = "lazy modules have no weights yet; run a batch before qat.prepare, or give them a rule with skip: true"
    found = [name for name in meant if _is_lazy(model.get_submodule(name))]
    return [f"{name or '(model)'} ({modules[name].own}): {told}" for name in found]


def _is_lazy(module: nn.Module) -> bool:
    return any(is_lazy(parameter) for parameter in module.parameters(recurse=False))


def listed(layers: Sequence[str]) -> str:
    """A few of them, and how many more there are."""
    more = len(layers) - FEW
    return ", ".join(layers[:FEW]) + (f" and {more} more" if more > 0 else "")


def _is_meant(name: str, kinds: Subclass, config: QATConfig) -> bool:
    rule = config.rule_of(name, *kinds)
    return rule is not None and not rule.skip


def known_base(kind: type[nn.Module]) -> type[nn.Module] | None:
    """The registered class with weights that another, which is not, comes from."""
    if kind in REGISTERED or kind is NonDynamicallyQuantizableLinear:  # of an attention, by whose rule it goes
        return None
    return next((each for each in kind.__mro__ if each in REGISTERED and REGISTERED[each].weights), None)
