"""Which layers of a model cannot multiply as a configuration wants it, forward or backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.config_rules import OPERANDS, PRODUCTS
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.rules import LayerConfig


def product_problems(
    jobs: Iterable[tuple[str, nn.Module, type[Quantized], LayerConfig]], config: QATConfig
) -> Iterator[str]:
    """The layers with a `matmul`, or with products of the backward pass, that cannot compute so.

    Args:
        jobs: name, float module, quantized class and configuration of each layer.
        config: what the jobs are of. Layers without a product may be meant by a glob, but not be named.
    """
    return (problem for job in jobs for problem in _problems(*job, config))


def _problems(
    name: str, module: nn.Module, quantized: type[Quantized], layer: LayerConfig, config: QATConfig
) -> Iterator[str]:
    kind = type(module).__name__
    for keys, wanted, problems in _products(module, quantized, layer):
        told = f"{name or '(model)'} ({kind}) cannot multiply {wanted}"
        if quantized.has_product:
            yield from (f"{told}: {why}; allowed: a rule without {keys} for it" for why in problems)
        elif (rule := config.rule_of(name, kind)) is not None and (rule.types or rule.names(name)):
            yield f"{told}: it has no product; allowed: to leave {keys} out of the rule {rule}"


def _products(
    module: nn.Module, quantized: type[Quantized], layer: LayerConfig
) -> Iterator[tuple[str, str, Iterator[str]]]:
    """The keys of a rule that are about products, how they want them, and why that cannot be."""
    if layer.matmul is not None:
        yield "matmul", f"by {layer.matmul}", quantized.matmul_problems(module, layer)
    if backward := " and ".join(key for key in PRODUCTS if getattr(layer, key) is not None):
        yield backward, f"in the backward pass as {backward} would", _backward_problems(quantized)


def _backward_problems(quantized: type[Quantized]) -> Iterator[str]:
    if not quantized.layouts.keys() >= {*OPERANDS}:
        yield "its products are torch's own"
