"""Layers that stay float as their class is a subclass of a known one: its forward may be another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

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
    found = ((name, type(module), _known_base(type(module))) for name, module in model.named_modules())
    return {name: Subclass(own.__name__, known.__name__) for name, own, known in found if known is not None}


def told_of(modules: Mapping[str, Subclass], config: QATConfig) -> str | None:
    """A warning of those that a rule would be about."""
    found = [f"{name or '(model)'} ({kinds.own})" for name, kinds in modules.items() if _is_meant(name, kinds, config)]
    if not found:
        return None
    listed = ", ".join(found[:FEW]) + (f" and {len(found) - FEW} more" if len(found) > FEW else "")
    ways = "qat.register, torch.nn.utils.parametrize.remove_parametrizations before, or a rule with skip: true"
    return f"not quantized, as their class is only a subclass of what qat.prepare knows: {listed}; allowed: {ways}"


def _is_meant(name: str, kinds: Subclass, config: QATConfig) -> bool:
    matching = (rule for rule in reversed(config.rules) if any(rule.matches(name, kind) for kind in kinds))
    rule = next(matching, None)
    return rule is not None and not rule.skip


def _known_base(kind: type[nn.Module]) -> type[nn.Module] | None:
    """The registered class with weights that another, which is not, comes from."""
    if kind in REGISTERED or kind is NonDynamicallyQuantizableLinear:  # of an attention, by whose rule it goes
        return None
    return next((each for each in kind.__mro__ if each in REGISTERED and REGISTERED[each].weights), None)
