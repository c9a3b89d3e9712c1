"""Float modules into quantized ones, in place: the keys of `state_dict` and what an optimizer holds stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from torch import nn

from statqat_sim.qat.config import LayerConfig, QATConfig
from statqat_sim.qat.modules import Quantized, QuantizedOutputProjection
from statqat_sim.qat.registry import REGISTERED
from statqat_sim.qat.tensor_quantizer import TensorQuantizer

Model = TypeVar("Model", bound=nn.Module)


class _Job(NamedTuple):
    """A module that becomes a quantized one."""

    name: str
    module: nn.Module
    quantized_class: type[Quantized]
    layer: LayerConfig


def prepare(model: Model, config: QATConfig) -> Model:
    """Let a model train with formats, in place.

    Every module that a rule matches becomes an instance of its quantized class; the rule of a MultiheadAttention holds
    for its `out_proj`. Parameters, buffers and hooks stay as they are. Only exact classes are changed, see `register`.
    Scales of weights that are kept (`update_every` other than 1, "lsq") are for the values that are there: load them
    first.

    Args:
        model: a float model.
        config: which modules, and how.

    Returns:
        The same model.

    Raises:
        TypeError: if `config` is no `QATConfig`.
        ValueError: if the model is prepared already, a rule matches no module that can be quantized, or all rules skip;
            then nothing was changed.
    """
    if not isinstance(config, QATConfig):
        allowed = "a QATConfig, such as QATConfig(weight='mxfp4') or QATConfig.from_dict(...)"
        raise TypeError(f"config is a {type(config).__name__}; allowed: {allowed}")
    if any(isinstance(module, Quantized) for module in model.modules()):
        raise ValueError("the model is prepared already; allowed: a float model")
    candidates = {name: module for name, module in model.named_modules() if type(module) in REGISTERED}
    config.require_matches({name: type(module).__name__ for name, module in candidates.items()})
    jobs = [job for name, module in candidates.items() for job in _jobs(name, module, config)]
    if not jobs:
        raise ValueError("the configuration quantizes no module; allowed: a rule that does not skip")
    for job in jobs:
        _quantize(job, exact=config.exact)
    _leave_fused_paths(model)
    return model


def _jobs(name: str, module: nn.Module, config: QATConfig) -> Iterator[_Job]:
    layer = config.layer(name, module)
    if layer is None:
        return
    yield _Job(name, module, REGISTERED[type(module)], layer)
    if isinstance(module, nn.MultiheadAttention):
        yield _Job(f"{name}.out_proj".removeprefix("."), module.out_proj, QuantizedOutputProjection, layer)


def _quantize(job: _Job, *, exact: bool) -> None:
    """Change one module's class, and give it quantizers."""
    module: Any = job.module
    module.__class__ = job.quantized_class
    for parameter, layout in job.quantized_class.weights.items():
        weight = getattr(module, parameter)
        if weight is not None and job.layer.weight is not None:
            name = job.name if parameter == "weight" else f"{job.name}.{parameter}"
            quantizer = TensorQuantizer(job.layer.weight, layout, "weight", name, exact=exact).to(weight.device)
            if quantizer.stores_scale:
                quantizer.choose(weight)
            module.add_module(f"{parameter}_quantizer", quantizer)
    for role, layout in job.quantized_class.layouts.items():
        config = getattr(job.layer, role)
        if config is not None:
            quantizer = TensorQuantizer(config, layout, role, f"{job.name}, {role}".removeprefix(", "), exact=exact)
            module.add_module(f"{role}_quantizer", quantizer.to(next(module.parameters()).device))


def _leave_fused_paths(model: nn.Module) -> None:
    """Keep torch's encoders, in evaluation, from kernels that compute with the float weights of their layers."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and _has_quantized(module):
            module.activation_relu_or_gelu = 0  # which the fused path needs, and nothing else reads
        if isinstance(module, nn.TransformerEncoder) and _has_quantized(module):
            module.use_nested_tensor = False


def _has_quantized(module: nn.Module) -> bool:
    return any(isinstance(child, Quantized) for child in module.modules())
