"""Float modules into quantized ones, in place: the keys of `state_dict` and what an optimizer holds stay the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from statqat_sim.errors import of_type
from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.config_rules import PRODUCTS, Role, quantizer_name
from statqat_sim.qat.holders import Holders, holders_of_all
from statqat_sim.qat.layer_check import layer_problems
from statqat_sim.qat.matmul_keys import matmul_key
from statqat_sim.qat.modes import layers, require_floats
from statqat_sim.qat.modules import Quantized, QuantizedOutputProjection
from statqat_sim.qat.modules.attention import output_projection
from statqat_sim.qat.product_check import product_problems
from statqat_sim.qat.projections import projections, told_of_projections
from statqat_sim.qat.registry import REGISTERED
from statqat_sim.qat.rules import LayerConfig
from statqat_sim.qat.subclasses import lazy_problems, told_of, unknown_subclasses
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.qat.unknown import told_of_unknown, unknown_modules

Model = TypeVar("Model", bound=nn.Module)


class Job(NamedTuple):
    """A module that becomes a quantized one."""

    name: str
    module: nn.Module
    quantized_class: type[Quantized]
    layer: LayerConfig


def prepare(model: Model, config: QATConfig) -> Model:
    """Let a model train with formats, in place.

    Every module that a rule matches becomes an instance of its quantized class; the rule of a MultiheadAttention holds
    for its `out_proj`, unless that is a layer with a rule of its own, such as `skip: true`, or of a class that is not
    torch's. Parameters, buffers and hooks stay as they are. Only exact classes are changed, see `register`. Scales of
    weights that are kept (`update_every` other than 1, "lsq") are for the values that are there; weights that
    `load_state_dict` brings later get theirs anew, and those that are written by hand from `choose_weight_scales`.

    Args:
        model: a float model.
        config: which modules, and how.

    Returns:
        The same model.

    Raises:
        TypeError: if `config` is no `QATConfig`, or `model` no module.
        ValueError: if the model is prepared already, a rule matches no module that can be quantized, all rules skip, no
            layer has the tensors that they are about, a layer has not the axes or channels of its formats, has weights
            that are no plain floats, such as float8, or cannot multiply by the accelerator that its rule names; if a
            lazy module has no weights yet; then nothing was changed.

    Warns:
        UserWarning: with the layers that a rule would be about, were their class not a subclass of a known one; with
            the `out_proj` that an attention's rule would be about, were they of torch's class; with the classes that
            are not known, and the share of the model's matrices that stays float for it, above 5 %.
    """
    if not isinstance(config, QATConfig):
        allowed = "a QATConfig, such as QATConfig(weight='mxfp4') or QATConfig.from_dict(...)"
        raise TypeError(f"config is {of_type(config)}; allowed: {allowed}")
    require_floats(model)
    candidates = {name: module for name, module in model.named_modules() if type(module) in REGISTERED}
    others = unknown_subclasses(model)
    if lazy := lazy_problems(model, others, config):
        raise ValueError("\n".join(lazy))
    known = {name: type(module).__name__ for name, module in candidates.items()}
    skippable = [(name, kind) for name, kinds in others.items() for kind in kinds]
    unknown = unknown_modules(model)
    skippable += [(name, type(module).__name__) for name, module in (*projections(candidates), *unknown.items())]
    told_of_classes = [told for told in (told_of(others, config), told_of_unknown(model, unknown, config)) if told]
    try:
        config.require_matches(known, skippable)
    except ValueError as error:
        raise ValueError("\n".join([str(error), *told_of_classes])) from None
    jobs = _jobs(candidates, config)
    if not jobs:
        raise ValueError("the configuration quantizes no module; allowed: a rule that does not skip")
    _require_tensors(jobs)
    if problems := [*layer_problems(jobs), *product_problems(jobs, config)]:
        raise ValueError("\n".join(problems))
    for told in filter(None, (*told_of_classes, told_of_projections(jobs, config))):
        warnings.warn(told, UserWarning, stacklevel=2)
    quantize(model, jobs, exact=config.exact)
    return model


def quantize(model: nn.Module, jobs: Iterable[Job], *, exact: bool) -> None:
    """Let modules of a model become quantized ones."""
    with torch.inference_mode(False):  # scales stay, and are written to later
        for job in jobs:
            _quantize(job, exact=exact)
    _remember_holders(model)
    _leave_fused_paths(model)


def _jobs(candidates: Mapping[str, nn.Module], config: QATConfig) -> list[Job]:
    """One for each module; an output projection that no rule is about goes by the first attention's that has it."""
    ruled = {module for name, module in candidates.items() if config.rule_of(name, type(module).__name__) is not None}
    jobs: dict[nn.Module, Job] = {}
    for name, module in candidates.items():
        layer = config.layer(name, module)
        if layer is None:
            continue
        jobs[module] = Job(name, module, REGISTERED[type(module)], layer)
        projection = output_projection(module)
        if projection is not None and projection not in ruled:
            told = f"{name}.out_proj".removeprefix(".")
            jobs.setdefault(projection, Job(told, projection, QuantizedOutputProjection, layer))
    return list(jobs.values())


def _require_tensors(jobs: Sequence[Job]) -> None:
    """Check that some layer has a tensor of which its rule speaks."""
    roles = {role: None for job in jobs for role in _roles(job)}
    if not any(role in roles for job in jobs for role, _ in job.layer.tensors()):
        said = ", ".join(dict.fromkeys(role for job in jobs for role, _ in job.layer.tensors())) or "nothing"
        told = f"the configuration quantizes {said}, which no layer that it is about has"
        raise ValueError(f"{told}; allowed for these: {', '.join(roles)}")


def _roles(job: Job) -> Iterator[Role]:
    """What of a layer can be quantized."""
    if any(getattr(job.module, parameter) is not None for parameter in job.quantized_class.weights):
        yield "weight"
    yield from job.quantized_class.layouts


def _quantize(job: Job, *, exact: bool) -> None:
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
        config = job.layer.tensor(role)
        if config is not None:
            quantizer = TensorQuantizer(config, layout, role, f"{job.name}, {role}".removeprefix(", "), exact=exact)
            channels = job.quantized_class.channels_of(module, role)
            if channels is not None:
                quantizer.make_room(channels)
            module.add_module(quantizer_name(role), quantizer.to(_device(module)))
    products = {name: getattr(job.layer, name) for name in PRODUCTS}
    if sizes := {name: product.hadamard for name, product in products.items() if product and product.hadamard}:
        module.hadamards = sizes
    if job.layer.matmul is not None and job.quantized_class.has_product:
        module.matmul_key = matmul_key(job.layer.matmul)


def _remember_holders(model: nn.Module) -> None:
    """Tell quantizers which modules hold their weights, be they quantized or not."""
    known = holders_of_all(model)
    for _, layer in layers(model):
        for parameter, quantizer in layer.weight_quantizers():
            quantizer.holders = Holders(known.get(id(getattr(layer, parameter)), ()))


def _device(module: nn.Module) -> torch.device:
    """Where a layer lies; the CPU, if it has nothing."""
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), torch.device("cpu"))


def _leave_fused_paths(model: nn.Module) -> None:
    """Keep torch's encoders, in evaluation, from kernels that compute with the float weights of their layers."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and _has_quantized(module):
            module.activation_relu_or_gelu = 0  # which the fused path needs, and nothing else reads
        if isinstance(module, nn.TransformerEncoder) and _has_quantized(module):
            module.use_nested_tensor = False


def _has_quantized(module: nn.Module) -> bool:
    return any(isinstance(child, Quantized) for child in module.modules())
