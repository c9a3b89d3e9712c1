"""Which layers of a model cannot multiply as a configuration wants it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.rules import LayerConfig


def product_problems(
    jobs: Iterable[tuple[str, nn.Module, type[Quantized], LayerConfig]], config: QATConfig
) -> Iterator[str]:
    """The layers with a `matmul` that cannot compute by it.

    Args:
        jobs: name, float module, quantized class and configuration of each layer.
        config: what the jobs are of. Layers without a product may be meant by a glob, but not be named.
    """
    return (problem for job in jobs for problem in _problems(*job, config))


def _problems(
    name: str, module: nn.Module, quantized: type[Quantized], layer: LayerConfig, config: QATConfig
) -> Iterator[str]:
    if layer.matmul is None:
        return
    kind = type(module).__name__
    told = f"{name or '(model)'} ({kind}) cannot multiply by {layer.matmul}"
    if quantized.has_product:
        what = "allowed: a rule without matmul for it"
        yield from (f"{told}: {why}; {what}" for why in quantized.matmul_problems(module, layer))
    elif (rule := config.rule_of(name, kind)) is not None and (rule.types or rule.names(name)):
        yield f"{told}: it has no product; allowed: to leave matmul out of the rule {rule}"
