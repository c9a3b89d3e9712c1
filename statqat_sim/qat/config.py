"""What each layer of a model is quantized with: frozen values, checked when they are made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from statqat_sim.errors import did_you_mean, shown
from statqat_sim.qat.matmul_config import MatmulConfig, config_problems
from statqat_sim.quantizer import Analytic, Iterative, StateQuantizer
from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat

if TYPE_CHECKING:
    from torch import nn

Role: TypeAlias = Literal["weight", "input", "output", "grad_output"]
Per: TypeAlias = Literal["tensor", "channel"]
Gradient: TypeAlias = Literal["clipped", "ste", "lsq"]

ROLES: tuple[Role, ...] = get_args(Role)
WORDS: Mapping[str, tuple[str, ...]] = {"per": get_args(Per), "gradient": get_args(Gradient)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorConfig:
    """How one tensor is quantized.

    Args:
        format: a number format, or a block format that finds its own scales.
        quantizer: what chooses the scales of a number format; None for block formats.
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
        found = [*value_problems(values), *format_problems(self.format), *lsq_problems(self.format, values)]
        if isinstance(self.format, BlockFormat) and self.quantizer is not None:
            found.append(("quantizer", f"{self.format.name} is a block format, which finds its own scales"))
        if isinstance(self.format, NumberFormat) and not is_quantizer(self.quantizer):
            allowed = "such as statqat_sim.Iterative()"
            found.append(("quantizer", f"{self.format.name} needs one, {allowed}, got {shown(self.quantizer)}"))
        found += quantizer_problems(self.quantizer)
        if found:
            raise ValueError("; ".join(f"{key}: {message}" for key, message in found))


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


@dataclass(frozen=True, slots=True, init=False)
class QATConfig:
    """Ordered rules: the last one that matches a module decides on all of it.

    `weight`, `input`, `output`, `grad_output` and `matmul` make a rule for every module, before the others.

    Args:
        rules: `Rule` objects, or mappings with the keys of the YAML file.
        weight: a format, its name, the path of its file, or a mapping such as
            `{"format": "int4", "quantizer": "search"}`; likewise the others.
        input: of activations that enter a layer.
        output: of those that leave it.
        grad_output: of the gradient that enters its backward pass.
        matmul: what multiplies, `"nvidia_h100/wgmma.e4m3.f32"`, or a mapping such as `{"accelerator": "nvidia_h100",
            "instruction": "wgmma.e4m3.f32", "promote_every": 128}`, where an accelerator may be the path of its file;
            see `MatmulConfig`. Layers without a product, embeddings, have none.
        exact: False: plans as torch operations, which torch.compile fuses, in place of kernels.

    Raises:
        TypeError: if `exact` is no bool, or `rules` no list of them.
        SpecError: with every problem found.
    """

    rules: tuple[Rule, ...]
    exact: bool

    def __init__(
        self,
        rules: Iterable[Rule | Mapping[str, Any]] = (),
        *,
        weight: Spelled = None,
        input: Spelled = None,
        output: Spelled = None,
        grad_output: Spelled = None,
        matmul: str | MatmulConfig | Mapping[str, Any] | None = None,
        exact: bool = True,
    ) -> None:
        from statqat_sim.qat.config_reader import rules_of

        if isinstance(rules, str | Mapping) or not isinstance(rules, Iterable):
            raise TypeError(f"rules is {shown(rules)}; allowed: a list of rules, or weight=..., from_dict(...)")
        if not isinstance(exact, bool):
            raise TypeError(f"exact is {shown(exact)}; allowed: True or False")
        everything: dict[str, Any] = {"weight": weight, "input": input, "output": output, "grad_output": grad_output}
        everything["matmul"] = matmul
        said = {key: value for key, value in everything.items() if value is not None}
        object.__setattr__(self, "rules", rules_of([*([said] if said else []), *rules]))
        object.__setattr__(self, "exact", exact)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> QATConfig:
        """The configuration of a file; the formats that it names by path are looked up from its folder.

        Raises:
            SpecError: with every problem, each `file:line:column: key.path: what; what is allowed`.
            OSError: if the file cannot be read.
        """
        from statqat_sim.qat.config_reader import read_file

        return read_file(path)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QATConfig:
        """The configuration with the keys of the YAML file; formats and quantizers may be objects.

        Raises:
            SpecError: with every problem found.
        """
        from statqat_sim.qat.config_reader import read_mapping

        return read_mapping(values)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, of plain values. Formats that are not the catalog's are written out.

        Of accelerators that are not, only what their instruction needs is: the configuration that is read back is
        another one then, whose bits are the same.

        Raises:
            TypeError: if a quantizer has no name, or options that are no plain values.
        """
        from statqat_sim.qat.config_writer import config_keys

        return config_keys(self)

    def to_yaml(self) -> str:
        """The text of a file that `from_yaml` reads; raises as `to_dict` does."""
        from statqat_sim.spec.text import yaml_text

        return yaml_text(self.to_dict())

    def layer(self, name: str, module: nn.Module) -> LayerConfig | None:
        """What the last matching rule says of a module; None: it stays as it is.

        Args:
            name: its qualified name.
            module: as it is before `qat.prepare`.
        """
        return self.layer_of(name, type(module).__name__)

    def layer_of(self, name: str, type_name: str) -> LayerConfig | None:
        """The same, by the name of the module's class."""
        last = self.rule_of(name, type_name)
        return None if last is None or last.skip else last.layer

    def rule_of(self, name: str, type_name: str) -> Rule | None:
        """The last rule that matches."""
        return next((rule for rule in reversed(self.rules) if rule.matches(name, type_name)), None)

    def require_matches(self, modules: Mapping[str, str]) -> None:
        """Check that every rule is about some module.

        Args:
            modules: the class of every module that can be quantized, by its qualified name.

        Raises:
            ValueError: with every rule that matches none, and the nearest names.
        """
        idle = [rule for rule in self.rules if not any(rule.matches(*module) for module in modules.items())]
        if idle:
            lines = (
                f"no module that can be quantized is meant by the rule {rule}{_nearest(rule, modules)}" for rule in idle
            )
            raise ValueError("\n".join(lines))


def _nearest(rule: Rule, modules: Mapping[str, str]) -> str:
    """What a rule may have meant."""
    classes = sorted(set(modules.values()))
    if unknown := [name for name in rule.types if name not in classes]:
        return f"{did_you_mean(unknown[0], classes)} (there are: {', '.join(classes) or 'none'})"
    hints = [did_you_mean(pattern, modules) for pattern in rule.match.split("|")]
    return next((hint for hint in hints if hint), f" (there are: {shown(', '.join(modules) or 'none')})")


# --- what goes together --------------------------------------------------------------------------------------------


def default_quantizer(role: Role) -> StateQuantizer:
    """What chooses the scales of a number format where nothing else is said."""
    return Analytic() if role == "weight" else Iterative()


def role_defaults(role: Role, format: Format) -> dict[str, Any]:
    """What a tensor's keys are where they are not written, but for the quantizer's."""
    return {
        "per": "channel" if role == "weight" and isinstance(format, NumberFormat) else "tensor",
        "dynamic": role == "grad_output" and isinstance(format, NumberFormat),
        "update_every": 1,
        "gradient": "clipped",
    }


def value_problems(values: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """The keys whose value is of another type, or beyond what is allowed."""
    for key, value in values.items():
        if key in WORDS and (not isinstance(value, str) or value not in WORDS[key]):
            hint = did_you_mean(value, WORDS[key]) if isinstance(value, str) else ""
            yield key, f"expected one of {', '.join(WORDS[key])}, got {shown(value)}{hint}"
        elif key == "dynamic" and not isinstance(value, bool):
            yield key, f"expected true or false, got {shown(value)}"
        elif key == "update_every" and (type(value) is not int or value < 0):
            yield key, f"expected an integer, at least 0, got {shown(value)}"


def format_problems(format: Format) -> Iterator[KeyProblem]:
    """Why a format is none that tensors can be quantized to."""
    if isinstance(format, BlockFormat) and format.needs_scale:
        yield "format", f"the scales of {format.name} are given by the caller; allowed: formats that find their own"


def is_quantizer(value: object) -> bool:
    """Whether it chooses scales; classes do not."""
    return hasattr(value, "choose") and not isinstance(value, type)


def quantizer_problems(quantizer: StateQuantizer | None) -> Iterator[KeyProblem]:
    """Why a quantizer is none that tensors can be quantized with."""
    if getattr(quantizer, "zero_point", False):
        yield "quantizer", "zero-points are not for training; allowed: scales alone, zero_point=False"


def lsq_problems(format: Format, values: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Why no scale can be learned, where one is to be."""
    if values["gradient"] != "lsq":
        return
    if isinstance(format, BlockFormat):
        yield "gradient", f"'lsq' learns a scale, and {format.name} finds its own; allowed: clipped, ste"
    elif values["dynamic"] is True:
        yield "gradient", "'lsq' learns a scale, and a dynamic one is found anew each time; allowed: clipped, ste"


def role_problems(role: Role, format: Format, said: Iterable[str]) -> Iterator[KeyProblem]:
    """The keys that mean nothing for the role or the format; `said`: those with a value of their own."""
    of_role = {"weight": ("dynamic",), "grad_output": ("update_every", "gradient")}.get(role, ("update_every",))
    of_blocks = ("per", "dynamic") if isinstance(format, BlockFormat) else ()
    for key in said:
        if key in of_role:
            yield key, f"it has no meaning for {role}; leave it out"
        elif key in of_blocks:
            yield key, f"it has no meaning for {format.name}, a block format; leave it out"
