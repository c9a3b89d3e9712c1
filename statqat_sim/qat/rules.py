"""How the layers that a rule means are quantized: frozen values, checked when they are made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from statqat_sim.errors import shown
from statqat_sim.qat.config_rules import (
    PRODUCTS,
    TENSORS,
    Role,
    calibration_problems,
    operand_problems,
    role_defaults,
    role_problems,
)
from statqat_sim.qat.matmul_config import MatmulConfig, config_problems
from statqat_sim.qat.product_config import ProductConfig, require_product
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.qat.wrappers import plain_name
from statqat_sim.spec.format import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """How the tensors of one layer are quantized; None: not at all.

    `grad_input` and `grad_weight` say what the products of the backward pass multiply; None: what forward did. `matmul`
    says what multiplies the codes of input and weight; None: torch multiplies what they stand for.

    Raises:
        TypeError: if a tensor's is no `TensorConfig`, a product's no `ProductConfig`, or `matmul` no `MatmulConfig`.
        ValueError: if a tensor is quantized in a way that means nothing for its role, or that `matmul` does not take;
            if a product has no such operand.
    """

    weight: TensorConfig | None = None
    input: TensorConfig | None = None
    output: TensorConfig | None = None
    grad_output: TensorConfig | None = None
    grad_input: ProductConfig | None = None
    grad_weight: ProductConfig | None = None
    matmul: MatmulConfig | None = None

    def __post_init__(self) -> None:
        for product, operands in PRODUCTS.items():
            if (config := getattr(self, product)) is not None:
                require_product(product, config, operands)
        for role, tensor in self.tensors():
            if not isinstance(tensor, TensorConfig):
                raise TypeError(f"{role} is {shown(tensor)}; allowed: a TensorConfig; QATConfig takes names")
            default = role_defaults(role, tensor.format)
            said = {key for key, value in default.items() if getattr(tensor, key) != value}
            found = list(role_problems(role, tensor.format, said))
            found += calibration_problems(role, tensor.quantizer, {"dynamic": tensor.dynamic})
            found += operand_problems(role, tensor.format, {"dynamic": tensor.dynamic})
            if found:
                raise ValueError("; ".join(f"{role}.{key}: {message}" for key, message in found))
        if self.matmul is None:
            return
        if not isinstance(self.matmul, MatmulConfig):
            raise TypeError(f"matmul is {shown(self.matmul)}; allowed: a MatmulConfig; QATConfig takes names")
        if wrong := "; ".join(config_problems(self.matmul, self.weight, self.input)):
            raise ValueError(f"matmul: {wrong}")

    def tensors(self) -> Iterator[tuple[Role, TensorConfig]]:
        """The tensors that are quantized, by their roles."""
        found: dict[Role, TensorConfig | None] = {role: getattr(self, role) for role in TENSORS}
        for product, operands in PRODUCTS.items():
            found |= {role: getattr(getattr(self, product), key, None) for key, role in operands.items()}
        yield from ((role, tensor) for role, tensor in found.items() if tensor is not None)

    def tensor(self, role: Role) -> TensorConfig | None:
        """How the tensor with a role is quantized."""
        return dict(self.tensors()).get(role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which modules are quantized, and how.

    Args:
        match: globs on a module's qualified name, joined by `|`. The `_orig_mod` of compiled parts may be left out.
        types: names of classes, as they are before `qat.prepare`; none: any.
        skip: leave the modules as they are.
        layer: what a rule that does not skip does with them.

    Raises:
        TypeError: if `match` is no text, `types` no tuple, `skip` no bool, or `layer` no `LayerConfig`.
    """

    match: str = "*"
    types: tuple[str, ...] = ()
    skip: bool = False
    layer: LayerConfig = LayerConfig()

    def __post_init__(self) -> None:
        if not isinstance(self.match, str):
            raise TypeError(f"match is {shown(self.match)}; allowed: globs on the names of modules, joined by |")
        if isinstance(self.types, str):
            raise TypeError(f"types is {shown(self.types)}; allowed: several names, ({self.types!r},)")
        if not isinstance(self.types, tuple):
            raise TypeError(f"types is {shown(self.types)}; allowed: a tuple of names of classes, ('Linear',)")
        if not isinstance(self.skip, bool):
            raise TypeError(f"skip is {shown(self.skip)}; allowed: True or False")
        if not isinstance(self.layer, LayerConfig):
            raise TypeError(f"layer is {shown(self.layer)}; allowed: a LayerConfig; QATConfig takes names")

    def matches(self, name: str, type_name: str) -> bool:
        """Whether it is about a module of this qualified name and class."""
        return (not self.types or type_name in self.types) and matches(name, self.match)

    def names(self, name: str) -> bool:
        """Whether it has this qualified name in full."""
        return any(known in self.match.split("|") for known in (name, plain_name(name)))

    def __str__(self) -> str:
        types = f", type: {', '.join(self.types)}" if self.types else ""
        return f"match: {self.match!r}{types}"


def matches(name: str, globs: str) -> bool:
    """Whether one of several globs, joined by `|`, matches a module's qualified name, or its plain one."""
    names = {name, plain_name(name)}
    return any(fnmatchcase(each, glob) for each in names for glob in globs.split("|"))


Spelled: TypeAlias = "str | os.PathLike[str] | Format | TensorConfig | Mapping[str, Any] | None"
"""A name or file of a format, a format, or the keys of a `TensorConfig`."""
