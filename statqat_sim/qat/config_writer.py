"""Configurations -> the plain values that `config_reader` reads."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from statqat_sim.qat.config_rules import PRODUCTS, Role, default_quantizer, role_defaults
from statqat_sim.qat.matmul_keys import matmul_keys
from statqat_sim.qat.product_config import HADAMARD
from statqat_sim.qat.quantizer_keys import quantizer_keys
from statqat_sim.qat.rules import LayerConfig, Rule
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.spec.catalog import formats, load_format
from statqat_sim.spec.format import Format
from statqat_sim.spec.text import format_keys


def config_keys(rules: Iterable[Rule], *, exact: bool) -> dict[str, Any]:
    """See `QATConfig.to_dict`."""
    return {"exact": exact, "rules": [_rule(rule) for rule in rules]}


def layer_keys(layer: LayerConfig) -> dict[str, Any]:
    """The tensors of a layer, by the keys of a rule, and what multiplies."""
    keys: dict[str, Any] = {}
    for role, tensor in layer.tensors():
        product, _, operand = role.rpartition(".")
        (keys.setdefault(product, {}) if product else keys)[operand] = tensor_keys(role, tensor)
    for product in PRODUCTS:
        config = getattr(layer, product)
        if config is not None and config.hadamard:
            keys[product][HADAMARD] = config.hadamard
    return keys if layer.matmul is None else {**keys, "matmul": matmul_keys(layer.matmul)}


def tensor_keys(role: Role, tensor: TensorConfig) -> Any:
    """A format's name, or a mapping where there is more to say."""
    keys: dict[str, Any] = {"format": named(tensor.format)}
    if tensor.quantizer is not None and tensor.quantizer != default_quantizer(role):
        keys["quantizer"] = quantizer_keys(tensor.quantizer)
    defaults = role_defaults(role, tensor.format)
    keys |= {key: getattr(tensor, key) for key, value in defaults.items() if getattr(tensor, key) != value}
    return keys["format"] if len(keys) == 1 and isinstance(keys["format"], str) else keys


@lru_cache(maxsize=256)
def named(format: Format) -> str | dict[str, Any]:
    """The catalog's name of a format, or all that it means."""
    is_known = format.name in formats() and load_format(format.name) == format
    return format.name if is_known else format_keys(format)


def _rule(rule: Rule) -> dict[str, Any]:
    keys: dict[str, Any] = {"match": rule.match}
    if rule.types:
        keys["type"] = rule.types[0] if len(rule.types) == 1 else list(rule.types)
    return {**keys, "skip": True} if rule.skip else {**keys, **layer_keys(rule.layer)}
