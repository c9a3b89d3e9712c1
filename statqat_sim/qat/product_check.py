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
    kind, rule = type(module).__name__, config.rule_of(name, type(module).__name__)
    is_meant = rule is not None and (bool(rule.types) or rule.names(name))
    for key, wanted in _products(layer):
        told = f"{name or '(model)'} ({kind}) cannot multiply {wanted}"
        if quantized.has_product:
            problems = quantized.matmul_problems(module, layer) if key == "matmul" else _backward_problems(quantized)
            yield from (f"{told}: {why}; allowed: a rule without {key} for it" for why in problems)
        elif is_meant:
            yield f"{told}: it has no product; allowed: to leave {key} out of the rule {rule}"


def _products(layer: LayerConfig) -> Iterator[tuple[str, str]]:
    """The keys of a rule that are about products, and how they want them."""
    if layer.matmul is not None:
        yield "matmul", f"by {layer.matmul}"
    yield from ((key, f"in the backward pass as {key} says") for key in PRODUCTS if getattr(layer, key) is not None)


def _backward_problems(quantized: type[Quantized]) -> Iterator[str]:
    if not quantized.layouts.keys() >= {*OPERANDS}:
        yield "its backward pass is torch's own"
