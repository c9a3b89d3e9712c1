"""Which layers of a model cannot multiply as a configuration wants it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.rules import LayerConfig


def require_products(jobs: Iterable[tuple[str, nn.Module, type[Quantized], LayerConfig]], config: QATConfig) -> None:
    """Check that every layer with a `matmul` can compute by it.

    Args:
        jobs: name, float module, quantized class and configuration of each layer.
        config: what the jobs are of. Layers without a product may be meant by a glob, but not be named.

    Raises:
        ValueError: with every layer that cannot.
    """
    if lines := [line for job in jobs for line in _refusals(*job, config)]:
        raise ValueError("\n".join(lines))


def _refusals(
    name: str, module: nn.Module, quantized: type[Quantized], layer: LayerConfig, config: QATConfig
) -> Iterator[str]:
    if layer.matmul is None:
        return
    kind = type(module).__name__
    told = f"{name or '(model)'} ({kind}) cannot multiply by {layer.matmul}"
    if quantized.has_product:
        what = "allowed: a rule without matmul for it"
        yield from (f"{told}: {why}; {what}" for why in quantized.matmul_problems(module, layer))
    elif (rule := config.rule_of(name, kind)) is not None and (rule.types or name in rule.match.split("|")):
        yield f"{told}: it has no product; allowed: to leave matmul out of the rule {rule}"
