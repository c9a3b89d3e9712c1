"""What keeps a model from being the one of a file: by name, and before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from statqat_sim.errors import did_you_mean, of_type, shown
from statqat_sim.qat.config_rules import Role
from statqat_sim.qat.conversion import same_bits
from statqat_sim.qat.description import Description, SavedLayer
from statqat_sim.qat.modules import Quantized, QuantizedOutputProjection
from statqat_sim.qat.modules.attention import output_projection
from statqat_sim.qat.packed import SCALE, is_one
from statqat_sim.qat.registry import REGISTERED
from statqat_sim.qat.sums import changed
from statqat_sim.qat.wrappers import modules_by_name, names_of_modules, plain_name

Kind: TypeAlias = tuple[tuple[int, ...], torch.dtype]
"""The shape and dtype of a tensor."""


def problems(model: nn.Module, description: Description, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """All that keeps a float model from being the saved one."""
    if any(isinstance(module, Quantized) for module in model.modules()):
        yield "the model is prepared already; allowed: a float model"
        return
    modules = modules_by_name(model)
    classes = classes_of(description, modules)
    found = [*_of_names(description, modules)]
    for name, layer in description.layers.items():
        if name in classes:
            found += _of_weights(name, modules[name], classes[name], layer)
        elif name in modules:
            found.append(f"{name}: a module {of_type(modules[name])}, which does not become the saved {layer.kind}")
    if not found:
        found += _of_tensors(_expected(model, description, tensors, classes), tensors)
        found += _of_shapes(model)
    yield from found or _of_values(model, description, tensors)


def classes_of(description: Description, modules: Mapping[str, nn.Module]) -> dict[str, type[Quantized]]:
    """What the layers of a file become, by their names; without those that modules of a model cannot become.

    Args:
        description: the file's.
        modules: of the model, by all of their names.
    """
    projections = {output_projection(module) for module in modules.values()} - {None}
    found: dict[str, type[Quantized]] = {}
    for name, layer in description.layers.items():
        module = modules.get(name)
        own = REGISTERED.get(type(module)) if module is not None else None
        if own is not None and own.__name__ == layer.kind:
            found[name] = own
        elif module in projections and layer.kind == QuantizedOutputProjection.__name__:
            found[name] = QuantizedOutputProjection
    return found


def _of_names(description: Description, modules: Mapping[str, nn.Module]) -> Iterator[str]:
    """Layers that the model has not, or that are one and the same in it."""
    known: dict[nn.Module, str] = {}
    for name in description.layers:
        if name not in modules:
            yield f"{name}: the model has no such module{did_you_mean(name, modules)}"
        elif (other := known.setdefault(modules[name], name)) != name:
            yield f"{name}: in the model it is {other}; it was saved as a layer of its own"


def _of_weights(name: str, module: nn.Module, quantized: type[Quantized], layer: SavedLayer) -> Iterator[str]:
    """Parameters that are none in the model, or others, or whose blocks run along another axis than their class's."""
    for parameter, weight in layer.weights.items():
        own, shape = getattr(module, parameter), weight.packing.shape
        if own is None or tuple(own.shape) != shape or own.dtype != weight.dtype:
            told = "nothing" if own is None else f"{_told(own.shape, own.dtype)}"
            yield f"{name}.{parameter}: saved was {_told(shape, weight.dtype)}; the model has {told}"
        if (axis := weight.packing.axis) != (allowed := quantized.weights[parameter].axis):
            yield f"{name}.{parameter}: the file says axis {shown(axis)}; allowed: {allowed}, which products add up"


def _expected(
    model: nn.Module,
    description: Description,
    tensors: Mapping[str, Tensor],
    classes: Mapping[str, type[Quantized]],
) -> dict[str, Kind]:
    """Shape and dtype of all that the saved model's state has, by every name that a layer has there."""
    known = {plain_name(name): (tuple(own.shape), own.dtype) for name, own in model.state_dict().items()}
    modules, names = modules_by_name(model), names_of_modules(model)
    for name, layer in description.layers.items():
        module = modules[name]
        for alias in names[module]:
            prefix = f"{alias}." if alias else ""
            for parameter in layer.weights:
                known.pop(f"{prefix}{parameter}", None)
            known.update(_codes(prefix, layer, tensors))
            known.update(_scales(prefix, layer, tensors, module, classes[name]))
    return known


def _codes(prefix: str, layer: SavedLayer, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Kind]]:
    """Of packed weights."""
    for parameter, weight in layer.weights.items():
        packed = f"{prefix}packed_{parameter}"
        yield from ((f"{packed}.{buffer}", kind) for buffer, kind in weight.packing.buffers.items())
        if not weight.packing.is_scaled and is_one(tensors.get(f"{packed}.{SCALE}")):
            yield f"{packed}.{SCALE}", ((1,), torch.float32)


def _scales(
    prefix: str, layer: SavedLayer, tensors: Mapping[str, Tensor], module: nn.Module, quantized: type[Quantized]
) -> Iterator[tuple[str, Kind]]:
    """Of what enters and leaves; where only data tell of channels, it is what the file says."""
    for role, tensor in layer.activations.items():
        if tensor.is_scaled and not tensor.dynamic:
            key = f"{prefix}{role}_quantizer.scale"
            saved = tensors[key].numel() if key in tensors else 1
            shape = _channel_shape(quantized, module, role, saved) if tensor.per == "channel" else (1,)
            yield key, (shape, torch.float32)


def _channel_shape(quantized: type[Quantized], module: nn.Module, role: Role, saved: int) -> tuple[int, ...]:
    """Of the scales of channels; `saved`: how many there are if the model does not say."""
    if role not in quantized.layouts:
        return (saved,)
    channels = quantized.channels_of(module, role)
    return quantized.layouts[role].scale_shape(saved if channels is None else channels, 0)


def _of_tensors(expected: Mapping[str, Kind], tensors: Mapping[str, Tensor]) -> Iterator[str]:
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


def _of_values(model: nn.Module, description: Description, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Bytes that are not those that were saved, and values for which the model has but one place."""
    for name in changed(description.sums, tensors):
        yield f"{name}: its bytes are not those that were saved"
    first: dict[int, str] = {}
    for name, own in ((plain_name(name), own) for name, own in model.state_dict(keep_vars=True).items()):
        other = first.setdefault(id(own), name)
        if name in tensors and other in tensors and not same_bits(tensors[name], tensors[other]):
            yield f"{name}: in the model it is {other}; it was saved with other values"


def _told(shape: tuple[int, ...] | torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
