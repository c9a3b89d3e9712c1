"""Output projections that stay float beside a quantized attention, as they are none of torch's classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.rules import LayerConfig
from statqat_sim.qat.subclasses import known_base, listed
from statqat_sim.qat.wrappers import unwrapped


def projections(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """The output projections of attentions, with their qualified names."""
    for name, module in modules.items():
        if isinstance(module, nn.MultiheadAttention):
            yield f"{name}.out_proj".removeprefix("."), unwrapped(module.out_proj)


def told_of_projections(
    jobs: Iterable[tuple[str, nn.Module, type[Quantized], LayerConfig]], config: QATConfig
) -> str | None:
    """A warning of those that no rule is about but that of their attention.

    Args:
        jobs: name, float module, quantized class and configuration of each layer.
        config: what the jobs are of.
    """
    prepared = {name: module for name, module, _, _ in jobs}
    inside = {*prepared.values()}
    left = [
        f"{name} ({type(module).__name__})"
        for name, module in projections(prepared)
        if _has_matrices(module) and inside.isdisjoint(module.modules()) and not _has_rule(name, module, config)
    ]
    if not left:
        return None
    told = "not quantized, as the rule of an attention is about an out_proj of torch's class alone"
    return f"{told}: {listed(left)}; allowed: qat.register and a rule for it, or a rule with skip: true"


def _has_matrices(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())


def _has_rule(name: str, module: nn.Module, config: QATConfig) -> bool:
    """Whether a rule skips it, or is about a subclass of a known layer, of which `subclasses` tells."""
    base = known_base(type(module))
    kinds = [each.__name__ for each in (type(module), base) if each is not None]
    rule = config.rule_of(name, *kinds)
    return rule is not None and (rule.skip or base is not None)
