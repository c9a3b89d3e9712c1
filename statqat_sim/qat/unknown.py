"""Modules with matrices of their own that stay float as nobody has told of their class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.registry import REGISTERED
from statqat_sim.qat.tensor_quantizer import TensorQuantizer

NO_MATRICES = TensorQuantizer, nn.LayerNorm, nn.RMSNorm
"""Modules whose parameters scale what flows, whatever their shape."""
WORTH_A_WORD = 0.05
"""The share of a model's elements that may stay float without one."""


def matrices(modules: Iterable[nn.Module]) -> Iterator[nn.Parameter]:
    """The matrices of modules, without their children's; what is broadcast along its first axis is none."""
    for module in modules:
        if not isinstance(module, NO_MATRICES):
            own = (each for each in module.parameters(recurse=False) if not is_lazy(each))
            yield from (each for each in own if each.dim() > 1 and each.shape[0] != 1)  # positions, tokens


def unknown_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Modules with matrices that `qat` cannot quantize, by their qualified names."""
    known = Quantized, ParametrizationList, *REGISTERED
    named = ((name, module) for name, module in model.named_modules() if not isinstance(module, known))
    return {name: module for name, module in named if any(True for _ in matrices([module]))}


def told_of_unknown(model: nn.Module, modules: Mapping[str, nn.Module], config: QATConfig) -> str | None:
    """A warning of those that a rule would be about, where they are more than a few of the model's elements."""
    meant = [module for name, module in modules.items() if _is_meant(name, module, config)]
    unknown = {*modules.values()}
    elsewhere = {*matrices(module for module in model.modules() if module not in unknown)}
    count = elements(each for each in matrices(meant) if each not in elsewhere)  # wrappers may name their layer's
    of_all = elements(matrices(model.modules()))
    if count <= WORTH_A_WORD * of_all:
        return None
    kinds = ", ".join(dict.fromkeys(type(module).__name__ for module in meant))
    told = (
        f"{100 * count / of_all:.3g} % of the elements of the model's matrices stay float, as qat.prepare does not know"
    )
    return f"{told} their classes: {kinds}; allowed: qat.register, or a rule with skip: true"


def elements(parameters: Iterable[nn.Parameter]) -> int:
    """Of those that are shared, once."""
    return sum(each.numel() for each in dict.fromkeys(parameters))


def _is_meant(name: str, module: nn.Module, config: QATConfig) -> bool:
    rule = config.rule_of(name, type(module).__name__)
    return rule is not None and not rule.skip
