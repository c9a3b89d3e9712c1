"""Files of converted models back into models: float modules of the same classes, converted in place."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from statqat_sim.errors import did_you_mean
from statqat_sim.qat.config import QATConfig
from statqat_sim.qat.config_rules import Role
from statqat_sim.qat.conversion import freeze, put
from statqat_sim.qat.description import KEY, Description, SavedLayer, SavedWeight
from statqat_sim.qat.modes import layers
from statqat_sim.qat.modules import Quantized, QuantizedOutputProjection
from statqat_sim.qat.packed import SCALE, PackedWeight, is_one
from statqat_sim.qat.prepare import prepare
from statqat_sim.qat.registry import REGISTERED
from statqat_sim.qat.require import require_module
from statqat_sim.qat.rules import LayerConfig, Rule
from statqat_sim.qat.saving import SUFFIX, file_of
from statqat_sim.qat.sums import changed
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.qat.wrappers import names_of_modules, plain_name, real_names, unwrapped
from statqat_sim.quantizer import MinMax
from statqat_sim.spec.block import BlockFormat

Model = TypeVar("Model", bound=nn.Module)

PROJECTION = QuantizedOutputProjection.__name__


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
            changed; if tensors are missing, or there are others; if one has another shape, dtype or bytes; if a buffer
            that no file has is on the meta device. All that is wrong is told by name, and the model is unchanged. If
            `path` is that of a file of another kind.
        TypeError: if `path` or `model` is none.
        OSError: if there is no such file.
    """
    file = file_of(path)
    require_module(model)
    description, tensors = _read(file)
    inner = unwrapped(model)
    problems = list(_problems(inner, description, tensors))
    if problems:
        raise ValueError("\n".join(f"{file}: {problem}" for problem in problems))
    with torch.inference_mode(False):
        _rebuild(inner, description, tensors)
        _fill(inner, tensors)
    return model


def _read(file: Path) -> tuple[Description, dict[str, Tensor]]:
    """The description, and all tensors by all of their names."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        there = sorted(path.name for path in file.parent.glob(f"*{SUFFIX}")) if file.parent.is_dir() else []
        told = f"; its folder has: {', '.join(there)}" if there else ""
        raise FileNotFoundError(f"{file}: there is no such file{told}")
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


# --- checking ----------------------------------------------------------------------------------------------------


def _problems(model: nn.Module, description: Description, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """All that keeps the model from being the saved one."""
    if any(isinstance(module, Quantized) for module in model.modules()):
        yield "the model is prepared already; allowed: a float model"
        return
    modules = _modules(model)
    found = [problem for name, layer in description.layers.items() for problem in _of_layer(name, layer, modules)]
    found = found or [*_of_tensors(_expected(model, description, tensors), tensors), *_of_shapes(model)]
    told = "its bytes are not those that were saved"
    yield from found or (f"{name}: {told}" for name in changed(description.sums, tensors))


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules, by the names that files have for them."""
    return {plain: model.get_submodule(name) for plain, name in real_names(model).items()}


def _of_layer(name: str, layer: SavedLayer, modules: Mapping[str, nn.Module]) -> Iterator[str]:
    if name not in modules:
        yield f"{name}: the model has no such module{did_you_mean(name, modules)}"
        return
    module, quantized = modules[name], _quantized_class(name, modules)
    if quantized is None or quantized.__name__ != layer.kind:
        yield f"{name}: a {type(module).__name__}, which does not become the saved {layer.kind}"
        return
    for parameter, weight in layer.weights.items():
        own, shape = getattr(module, parameter), weight.packing.shape
        if own is None or tuple(own.shape) != shape or own.dtype != weight.dtype:
            told = "nothing" if own is None else f"{_told(own.shape, own.dtype)}"
            yield f"{name}.{parameter}: saved was {_told(shape, weight.dtype)}; the model has {told}"


def _quantized_class(name: str, modules: Mapping[str, nn.Module]) -> type[Quantized] | None:
    return QuantizedOutputProjection if _is_output_projection(name, modules) else REGISTERED.get(type(modules[name]))


def _is_output_projection(name: str, modules: Mapping[str, nn.Module]) -> bool:
    parent, _, last = name.rpartition(".")
    return last == "out_proj" and isinstance(modules.get(parent), nn.MultiheadAttention)


def _expected(
    model: nn.Module, description: Description, tensors: Mapping[str, Tensor]
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of all that the saved model's state has, by every name that a layer has there.

    Where only data tell of channels, it is what the file says.
    """
    known = {plain_name(name): (tuple(own.shape), own.dtype) for name, own in model.state_dict().items()}
    modules, names = _modules(model), names_of_modules(model)
    described = [(name, each) for name in description.layers for each in names[modules[name]]]
    for name, alias in described:
        layer, prefix = description.layers[name], f"{alias}." if alias else ""
        for parameter, weight in layer.weights.items():
            known.pop(f"{prefix}{parameter}", None)
            packed = f"{prefix}packed_{parameter}"
            known |= {f"{packed}.{buffer}": kind for buffer, kind in weight.packing.buffers.items()}
            if not weight.packing.is_scaled and is_one(tensors.get(f"{packed}.{SCALE}", torch.empty(0))):
                known[f"{packed}.{SCALE}"] = (1,), torch.float32
        for role, tensor in layer.activations.items():
            if tensor.is_scaled and not tensor.dynamic:
                key = f"{prefix}{role}_quantizer.scale"
                saved = tensors[key].numel() if key in tensors else 1
                shape = _channel_shape(name, role, modules, saved) if tensor.per == "channel" else (1,)
                known[key] = shape, torch.float32
    return known


def _channel_shape(name: str, role: Role, modules: Mapping[str, nn.Module], saved: int) -> tuple[int, ...]:
    """Of the scales of channels; `saved`: how many there are if the model does not say."""
    quantized = _quantized_class(name, modules)
    if quantized is None or role not in quantized.layouts:
        return (saved,)
    channels = quantized.channels_of(modules[name], role)
    return quantized.layouts[role].scale_shape(saved if channels is None else channels, 0)


def _of_tensors(
    expected: Mapping[str, tuple[tuple[int, ...], torch.dtype]], tensors: Mapping[str, Tensor]
) -> Iterator[str]:
    for name in sorted(expected.keys() - tensors.keys()):
        yield f"{name}: missing; the model needs {_told(*expected[name])}{did_you_mean(name, tensors)}"
    for name in sorted(tensors.keys() - expected.keys()):
        yield f"{name}: the model has no place for it{did_you_mean(name, expected)}"
    for name in sorted(expected.keys() & tensors.keys()):
        saved = tuple(tensors[name].shape), tensors[name].dtype
        if saved != expected[name]:
            yield f"{name}: saved is {_told(*saved)}; the model needs {_told(*expected[name])}"


def _of_shapes(model: nn.Module) -> Iterator[str]:
    """Buffers without values, to which no file has any."""
    saved = {id(own) for own in model.state_dict(keep_vars=True).values()}
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if buffer.is_meta and id(buffer) not in saved:
            told = "on the meta device, and not in the file, as it is not persistent; give it values first"
            yield f"{plain_name(name)}: {told}"


def _told(shape: tuple[int, ...] | torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"


# --- rebuilding --------------------------------------------------------------------------------------------------


def _rebuild(model: nn.Module, description: Description, tensors: Mapping[str, Tensor]) -> None:
    """Quantized classes, room for codes, and scales."""
    names, known = real_names(model), dict[str, PackedWeight]()
    rules = [
        Rule(match=glob.escape(names[name]), layer=_config(name, layer, description))
        for name, layer in description.layers.items()
        if layer.kind != PROJECTION
    ]
    prepare(model, QATConfig(rules, exact=description.exact))
    for name, layer in ((plain_name(name), layer) for name, layer in layers(model)):
        saved = description.layers[name]
        for parameter, weight in saved.weights.items():
            key = f"{name}.packed_{parameter}".removeprefix(".")
            own = getattr(layer, parameter)
            packed = _packed(key, weight, own.device, description.aliases, known)
            put(layer, parameter, packed)
        for _, quantizer in layer.quantizers():
            _take_scale(quantizer, tensors.get(f"{name}.{quantizer.role}_quantizer.scale".removeprefix(".")))
        freeze(layer)


def _config(name: str, layer: SavedLayer, description: Description) -> LayerConfig:
    """What makes a layer what it was; weights need no scales, as they have codes.

    The rule of an attention holds for its output projection, whose output is quantized where its own is not.
    """
    projection = description.layers.get(f"{name}.out_proj".removeprefix("."))
    below = projection.activations if projection is not None and projection.kind == PROJECTION else {}
    config: dict[str, TensorConfig] = {str(role): tensor for role, tensor in {**below, **layer.activations}.items()}
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
