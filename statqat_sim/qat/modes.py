"""All quantizers of a model, and whether they quantize."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

from torch import nn

from statqat_sim.errors import did_you_mean, none_of, shown
from statqat_sim.qat.config_rules import ROLES, Role
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.require import require_module
from statqat_sim.qat.rules import matches
from statqat_sim.qat.tensor_quantizer import TensorQuantizer

SETTABLE = ("float", "quantize")

Module = TypeVar("Module", bound=nn.Module)


def layers(model: nn.Module) -> Iterator[tuple[str, Quantized]]:
    """The quantized layers of a model, by their qualified names."""
    return _modules(model, Quantized)


def quantizers(model: nn.Module) -> Iterator[tuple[str, TensorQuantizer]]:
    """The quantizers of a model, by their qualified names."""
    return _modules(model, TensorQuantizer)


def _modules(model: nn.Module, kind: type[Module]) -> Iterator[tuple[str, Module]]:
    require_module(model)
    for name, module in model.named_modules():
        if isinstance(module, kind):
            yield name, module


def require_layers(model: nn.Module) -> dict[str, Quantized]:
    """The quantized layers of a model, by their qualified names.

    Raises:
        TypeError: if it is none.
        ValueError: if there are none.
    """
    return _some(layers(model), "quantized layer", "qat.prepare or qat.convert")


def require_quantizers(model: nn.Module) -> dict[str, TensorQuantizer]:
    """The quantizers of a model, by their qualified names.

    Raises:
        TypeError: if it is none.
        ValueError: if there are none.
    """
    return _some(quantizers(model), "quantizer", "qat.prepare")


def _some(modules: Iterable[tuple[str, Module]], what: str, given_by: str) -> dict[str, Module]:
    found = dict(modules)
    if not found:
        raise ValueError(f"the model has no {what}; allowed: what {given_by} gave")
    return found


def require_floats(model: nn.Module) -> None:
    """Check that a model is as `prepare` wants it.

    Raises:
        TypeError: if it is none.
        ValueError: if it is prepared.
    """
    require_module(model)
    if any(isinstance(module, Quantized) for module in model.modules()):
        raise ValueError("the model is prepared already; allowed: a float model")


def set_mode(
    model: nn.Module, mode: Literal["float", "quantize"], match: str = "*", roles: Iterable[Role] | None = None
) -> None:
    """Let tensors pass as they are, or quantize them; `qat.summary` tells which do not.

    Args:
        model: a prepared model.
        mode: "float" or "quantize".
        match: globs on the layers' qualified names, joined by `|`, as those of a `Rule`.
        roles: of the tensors: any of "weight", "input", "output", "grad_output", and "grad_input.weight" and its
            like of the backward pass; None: all that there are.

    Raises:
        TypeError: if `model` is none, `match` no text, or `roles` one.
        ValueError: if there is no such mode or role, no layer matches, or none that does quantizes a tensor of a role.
    """
    known = require_layers(model)
    wanted = _roles(mode, match, roles)
    matched = [name for name in known if matches(name, match)]
    if not matched:
        raise ValueError(f"no quantized layer matches {shown(match)}{did_you_mean(match, known)}")
    found = [quantizer for name in matched for _, quantizer in known[name].quantizers()]
    there = [role for role in ROLES if any(quantizer.role == role for quantizer in found)]
    if idle := [role for role in wanted or () if role not in there]:
        told = f"{shown(idle[0])}: no layer that matches {shown(match)} quantizes it"
        raise ValueError(f"{told}; there are: {', '.join(there) or 'none'}")
    for quantizer in found:
        if wanted is None or quantizer.role in wanted:
            quantizer.mode = mode


def _roles(mode: Any, match: Any, roles: Any) -> tuple[Role, ...] | None:
    """What `set_mode` was asked for, checked."""
    if not isinstance(match, str):
        raise TypeError(f"match is {shown(match)}; allowed: globs on the names of layers, joined by |")
    if isinstance(roles, str) or not isinstance(roles, Iterable | None):
        raise TypeError(f"roles is {shown(roles)}; allowed: several of {', '.join(ROLES)}, as ('weight',)")
    wanted = None if roles is None else tuple(roles)
    for what, word, allowed in (("mode", mode, SETTABLE), *(("role", role, ROLES) for role in wanted or ())):
        if word not in allowed:
            raise ValueError(f"there is no {what} {shown(word)}{none_of(word, allowed)}")
    return wanted
