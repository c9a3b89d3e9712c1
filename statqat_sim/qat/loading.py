"""Files of converted models back into models: float modules of the same classes, converted in place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from statqat_sim.errors import did_you_mean
from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.conversion import freeze, put
from statqat_sim.qat.description import KEY, Description, SavedLayer, SavedWeight
from statqat_sim.qat.layer_check import layer_problems
from statqat_sim.qat.loading_check import classes_of, problems
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.packed import PackedWeight
from statqat_sim.qat.prepare import Job, quantize
from statqat_sim.qat.product_check import product_problems
from statqat_sim.qat.require import require_module
from statqat_sim.qat.rules import LayerConfig
from statqat_sim.qat.saving import SUFFIX, file_of
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.qat.wrappers import modules_by_name, plain_name, unwrapped
from statqat_sim.quantizer import MinMax
from statqat_sim.spec.block import BlockFormat

Model = TypeVar("Model", bound=nn.Module)


def load(path: str | os.PathLike[str], model: Model) -> Model:
    """Make a float model the one that was saved, in place.

    Args:
        path: what `save` was given.
        model: made as the saved one was before `prepare`, compiled in whole, in part or not at all; its values do not
            matter, and may be on torch's meta device, but for those of buffers that are not persistent, which no file
            has.

    Returns:
        The same model, converted. What was on the meta device is in the CPU's memory.

    Raises:
        ValueError: if the file is cut off, or none that `save` wrote; if a format's hash is unknown or its text was
            changed; if tensors are missing, or there are others; if one has another shape, dtype or bytes; if two that
            were saved are one in the model; if a buffer that no file has is on the meta device. All that is wrong is
            told by name, and the model is unchanged. If `path` is that of a file of another kind.
        TypeError: if `path` or `model` is none.
        OSError: if there is no such file.
    """
    file = file_of(path)
    require_module(model)
    description, tensors = _read(file)
    inner = unwrapped(model)
    found = list(problems(inner, description, tensors))
    jobs = [] if found else _jobs(inner, description)
    if found := found or [*layer_problems(jobs), *product_problems(jobs, QATConfig())]:
        raise ValueError("\n".join(f"{file}: {problem}" for problem in found))
    with torch.inference_mode(False):
        _rebuild(inner, jobs, description, tensors)
        _fill(inner, tensors)
    return model


def _read(file: Path) -> tuple[Description, dict[str, Tensor]]:
    """The description, and all tensors by all of their names."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file{_there(file.parent)}")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{file}: cut off, or no safetensors file: {error}") from None
    if KEY not in metadata:
        raise ValueError(f"{file}: it was not written by qat.save: its metadata has no {KEY!r}")
    try:
        description = Description.from_json(metadata[KEY])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    aliases = {name: tensors[other] for name, other in description.aliases.items() if other in tensors}
    return description, {**tensors, **aliases}


def _there(folder: Path) -> str:
    """The files of a folder; where it is none, the file whose name it may have meant."""
    if not folder.is_dir():
        return did_you_mean(folder.name, (path.name for path in folder.parent.glob(f"*{SUFFIX}")))
    names = sorted(path.name for path in folder.glob(f"*{SUFFIX}"))
    return f"; its folder has: {', '.join(names)}" if names else ""


# --- rebuilding --------------------------------------------------------------------------------------------------


def _jobs(model: nn.Module, description: Description) -> list[Job]:
    """What the layers of a file become."""
    modules = modules_by_name(model)
    classes = classes_of(description, modules)
    return [Job(name, modules[name], classes[name], _config(layer)) for name, layer in description.layers.items()]


def _rebuild(model: nn.Module, jobs: Sequence[Job], description: Description, tensors: Mapping[str, Tensor]) -> None:
    """Quantized classes, room for codes, and scales."""
    known: dict[str, PackedWeight] = {}
    quantize(model, jobs, exact=description.exact)
    for job, saved in zip(jobs, description.layers.values(), strict=True):
        layer, prefix = job.module, f"{job.name}." if job.name else ""
        assert isinstance(layer, Quantized)
        for parameter, weight in saved.weights.items():
            own = getattr(layer, parameter)
            packed = _packed(f"{prefix}packed_{parameter}", weight, own.device, description.aliases, known)
            put(layer, parameter, packed)
        for _, quantizer in layer.quantizers():
            _take_scale(quantizer, tensors.get(f"{prefix}{quantizer.role}_quantizer.scale"))
        freeze(layer)


def _config(layer: SavedLayer) -> LayerConfig:
    """What makes a layer what it was; weights need no scales, as they have codes."""
    config: dict[str, Any] = {str(role): tensor for role, tensor in layer.activations.items()}
    if layer.weights:
        format = next(iter(layer.weights.values())).packing.format
        quantizer = None if isinstance(format, BlockFormat) else MinMax()
        config["weight"] = TensorConfig(format=format, quantizer=quantizer)
    return LayerConfig(**config, matmul=layer.matmul)


def _packed(
    key: str, weight: SavedWeight, device: torch.device, aliases: Mapping[str, str], known: dict[str, PackedWeight]
) -> PackedWeight:
    """Room for codes; where the file has them under another name that layer's."""
    first = aliases.get(f"{key}.codes", f"{key}.codes")
    if first not in known:
        known[first] = PackedWeight.empty(weight.packing, weight.dtype, _place(device))
    return known[first]


def _take_scale(quantizer: TensorQuantizer, scale: Tensor | None) -> None:
    if scale is not None:
        quantizer.keep(scale)


def _fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy every tensor to its place; what was on the meta device gets memory, shared where it was shared."""
    found = model.state_dict(keep_vars=True).items()
    state = {name: own for name, own in found if plain_name(name) in tensors}  # stamps are there
    made: dict[int, Any] = {}
    for name, own in state.items():
        tensor = tensors[plain_name(name)]
        if not own.is_meta:
            with torch.no_grad():
                own.copy_(tensor)
        elif id(own) not in made:
            value = tensor.clone()
            made[id(own)] = nn.Parameter(value, own.requires_grad) if isinstance(own, nn.Parameter) else value
    for name, own in {**state, **dict(model.named_buffers(remove_duplicate=False))}.items():
        if id(own) in made:
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, made[id(own)])


def _place(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "meta" else device
