"""How tensors, and the layers that a rule means, are quantized: frozen values, checked when they are made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from statqat_sim.errors import shown
from statqat_sim.qat.config_rules import (
    ROLES,
    Gradient,
    Per,
    Role,
    calibration_problems,
    format_problems,
    is_quantizer,
    lsq_problems,
    quantizer_problems,
    role_defaults,
    role_problems,
    value_problems,
)
from statqat_sim.qat.matmul_config import MatmulConfig, config_problems
from statqat_sim.quantizer import StateQuantizer, Unscaled
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorConfig:
    """How one tensor is quantized.

    Args:
        format: a number format, or a block format that finds its own scales.
        quantizer: what chooses the scales of a number format, `Unscaled()` none; None for block formats.
        per: whether each channel has its own scale, or the tensor one. Number formats only.
        dynamic: a scale for each call, instead of one that calibration finds. Number formats only; not for weights.
        update_every: of weights: 1: the scale is a function of the weight in every forward; n: chosen anew by
            `qat.step` every n steps, where that is worth it; 0: chosen once, by `qat.prepare`, for the weights that are
            there then, and for those that `load_state_dict` brings.
        gradient: what passes backwards: "clipped": nothing where the format's range ends; "ste": everything; "lsq":
            clipped, and the scale is learned (Esser et al., Learned step size quantization, ICLR 2020), a parameter,
            which calibration fills in place. Through block formats, whose scales follow the largest element, everything
            passes.

    Raises:
        TypeError: if the format is none.
        ValueError: with every other problem.
    """

    format: Format
    quantizer: StateQuantizer | None = None
    per: Per = "tensor"
    dynamic: bool = False
    update_every: int = 1
    gradient: Gradient = "clipped"

    def __post_init__(self) -> None:
        if not isinstance(self.format, NumberFormat | BlockFormat):
            raise TypeError(f"format is a {type(self.format).__name__}; allowed: a NumberFormat or a BlockFormat")
        values = {key: getattr(self, key) for key in ("per", "dynamic", "update_every", "gradient")}
        found = [*value_problems(values), *format_problems(self.format)]
        found += lsq_problems(self.format, self.quantizer, values)
        if isinstance(self.format, BlockFormat) and self.quantizer is not None:
            found.append(("quantizer", f"{self.format.name} is a block format, which finds its own scales"))
        if isinstance(self.format, NumberFormat) and not is_quantizer(self.quantizer):
            allowed = "such as statqat_sim.Iterative()"
            found.append(("quantizer", f"{self.format.name} needs one, {allowed}, got {shown(self.quantizer)}"))
        found += quantizer_problems(self.quantizer, self.format)
        if found:
            raise ValueError("; ".join(f"{key}: {message}" for key, message in found))

    @property
    def is_scaled(self) -> bool:
        """Whether a scale is chosen for the tensor: block formats find theirs."""
        return isinstance(self.format, NumberFormat) and not isinstance(self.quantizer, Unscaled)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """How the tensors of one layer are quantized; None: not at all.

    `matmul` says what multiplies the codes of input and weight; None: torch multiplies what they stand for.

    Raises:
        TypeError: if a tensor's is no `TensorConfig`, or `matmul` no `MatmulConfig`.
        ValueError: if a tensor is quantized in a way that means nothing for its role, or that `matmul` does not take.
    """

    weight: TensorConfig | None = None
    input: TensorConfig | None = None
    output: TensorConfig | None = None
    grad_output: TensorConfig | None = None
    matmul: MatmulConfig | None = None

    def __post_init__(self) -> None:
        for role, tensor in self.tensors():
            if not isinstance(tensor, TensorConfig):
                raise TypeError(f"{role} is {shown(tensor)}; allowed: a TensorConfig; QATConfig takes names")
            default = role_defaults(role, tensor.format)
            said = {key for key, value in default.items() if getattr(tensor, key) != value}
            found = list(role_problems(role, tensor.format, said))
            found += calibration_problems(role, tensor.quantizer, {"dynamic": tensor.dynamic})
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
        for role in ROLES:
            tensor = getattr(self, role)
            if tensor is not None:
                yield role, tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which modules are quantized, and how.

    Args:
        match: globs on a module's qualified name, joined by `|`.
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
        is_type = not self.types or type_name in self.types
        return is_type and any(fnmatchcase(name, pattern) for pattern in self.match.split("|"))

    def __str__(self) -> str:
        types = f", type: {', '.join(self.types)}" if self.types else ""
        return f"match: {self.match!r}{types}"


Spelled: TypeAlias = "str | os.PathLike[str] | Format | TensorConfig | Mapping[str, Any] | None"
"""A name or file of a format, a format, or the keys of a `TensorConfig`."""
