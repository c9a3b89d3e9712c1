"""What each layer of a model is quantized with: ordered rules."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from statqat_sim.errors import did_you_mean, shown
from statqat_sim.qat.config_reader import read_file, read_mapping, rules_of
from statqat_sim.qat.config_writer import config_keys
from statqat_sim.qat.matmul_config import MatmulConfig
from statqat_sim.qat.product_config import ProductConfig
from statqat_sim.qat.rules import LayerConfig, Rule, Spelled
from statqat_sim.spec.text import yaml_text

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, init=False)
class QATConfig:
    """Ordered rules: the last one that matches a module decides on all of it.

    All but `rules` and `exact` make a rule for every module, before the others.

    Args:
        rules: `Rule` objects, or mappings with the keys of the YAML file.
        weight: a format, its name, the path of its file, or a mapping such as
            `{"format": "int4", "quantizer": "search"}`; likewise the others.
        input: of activations that enter a layer.
        output: of those that leave it.
        grad_output: of the gradient that enters its backward pass.
        grad_input: of the operands of the product that gives the input's gradient: one format for both, or a mapping,
            `{"grad_output": "mxfp8_e5m2", "weight": "mxfp8_e4m3"}`; see `ProductConfig`.
        grad_weight: likewise of that which gives the weight's, `{"grad_output": ..., "input": ...}`.
        matmul: what multiplies, `"nvidia_h100/wgmma.e4m3.f32"`, or a mapping such as `{"accelerator": "nvidia_h100",
            "instruction": "wgmma.e4m3.f32", "promote_every": 128}`, where an accelerator may be the path of its file;
            see `MatmulConfig`. Layers without a product, embeddings, have none.
        exact: False: plans as torch operations, which torch.compile fuses, in place of kernels; not those of formats
            that round at random.

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
        grad_input: ProductConfig | Spelled = None,
        grad_weight: ProductConfig | Spelled = None,
        matmul: str | MatmulConfig | Mapping[str, Any] | None = None,
        exact: bool = True,
    ) -> None:
        if isinstance(rules, str | Mapping) or not isinstance(rules, Iterable):
            raise TypeError(f"rules is {shown(rules)}; allowed: a list of rules, or weight=..., from_dict(...)")
        if not isinstance(exact, bool):
            raise TypeError(f"exact is {shown(exact)}; allowed: True or False")
        everything: dict[str, Any] = {"weight": weight, "input": input, "output": output, "grad_output": grad_output}
        everything |= {"grad_input": grad_input, "grad_weight": grad_weight, "matmul": matmul}
        said = {key: value for key, value in everything.items() if value is not None}
        object.__setattr__(self, "rules", rules_of(said, rules))
        object.__setattr__(self, "exact", exact)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> QATConfig:
        """The configuration of a file; the formats that it names by path are looked up from its folder.

        Raises:
            SpecError: with every problem, each `file:line:column: key.path: what; what is allowed`.
            OSError: if the file cannot be read.
        """
        rules, exact = read_file(path)
        return cls(rules, exact=exact)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QATConfig:
        """The configuration with the keys of the YAML file; formats and quantizers may be objects.

        Raises:
            SpecError: with every problem found.
        """
        rules, exact = read_mapping(values)
        return cls(rules, exact=exact)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, of plain values. Formats that are not the catalog's are written out.

        Of accelerators that are not, only what their instruction needs is: the configuration that is read back is
        another one then, whose bits are the same.

        Raises:
            TypeError: if a quantizer has no name, or options that are no plain values.
        """
        return config_keys(self.rules, exact=self.exact)

    def to_yaml(self) -> str:
        """The text of a file that `from_yaml` reads; raises as `to_dict` does."""
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

    def rule_of(self, name: str, *type_names: str) -> Rule | None:
        """The last rule that matches, by one of several names of the module's class."""
        matching = (rule for rule in reversed(self.rules) if any(rule.matches(name, kind) for kind in type_names))
        return next(matching, None)

    def require_matches(self, modules: Mapping[str, str], others: Iterable[tuple[str, str]] = ()) -> None:
        """Check that every rule is about some module.

        Args:
            modules: the class of every module that can be quantized, by its qualified name.
            others: names and classes of modules that rules may skip, and cannot quantize.

        Raises:
            ValueError: with every rule that matches none, and the nearest names.
        """
        skippable = [*modules.items(), *others]
        idle = [
            rule
            for rule in self.rules
            if not any(rule.matches(*module) for module in (skippable if rule.skip else modules.items()))
        ]
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
    return next((hint for hint in hints if hint), f" (there are: {shown(', '.join(modules)) if modules else 'none'})")
