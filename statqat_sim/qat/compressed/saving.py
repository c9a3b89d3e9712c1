"""A folder with a converted model in the layouts of compressed-tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from statqat_sim.atomic import replacing
from statqat_sim.errors import of_type
from statqat_sim.qat.compressed.arrays import arrays_of
from statqat_sim.qat.compressed.scheme import ALLOWED, Layout, Scheme, Strategy, input_scheme_of, scheme_of
from statqat_sim.qat.modes import layers
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.packed import PackedWeight
from statqat_sim.qat.require import told_value
from statqat_sim.qat.saving import FILE, converted, tensors_of, written
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.qat.wrappers import modules_by_name, plain_name

CONFIG: Final = "config.json"
KEY: Final = "quantization_config"

INDEX: Final = f"{FILE}.index.json"
"""What tells transformers of several files."""

TIED: Final = "tie_word_embeddings"
"""The key by which transformers gives the output layer the weight of the embedding."""

MIXED: Final = "mixed-precision"
"""The layout of a model whose layers have several."""


@dataclass(frozen=True)
class _Layer:
    """A layer that is written: its codes, and how compressed-tensors has them and what enters the layer."""

    packed: PackedWeight
    weight: Scheme
    inputs: Mapping[str, Any] | None
    input_scale: Tensor | None

    @property
    def layout(self) -> Layout:
        return self.weight.layout(with_inputs=self.inputs is not None)

    @property
    def group(self) -> dict[str, Any]:
        """What a group of layers has in common."""
        weights = self.weight.arguments()
        return {
            "weights": weights,
            "input_activations": self.inputs,
            "output_activations": None,
            "format": self.layout.value,
        }

    @property
    def arrays(self) -> dict[str, Tensor]:
        found = arrays_of(self.packed, self.weight, self.layout)
        if self.input_scale is not None:
            found["input_scale"] = self.input_scale.reshape(1).cpu()
        return {name: array.clone() for name, array in found.items()}  # layers may share codes; files have no shares


def save_compressed_tensors(model: nn.Module, folder: str | os.PathLike[str], *, inputs: bool = True) -> Path:
    """Write a converted model as compressed-tensors has it, for vLLM and transformers: the same codes and scales.

    What runs it has arithmetic of its own: it may decode to bfloat16, gives float scales the model's dtype, and finds
    dynamic scales by its own rule. NVFP4's scale of the tensor is stored as its reciprocal, rounded to float32. vLLM
    multiplies by q, k and v at once, and by gate and up: where each has a scale of the tensor of its own, as in NVFP4
    and in E4M3 without channels, it takes one of them for all.

    Codes are written for every layer, other tied parameters once, under the first of their names, as `save_pretrained`
    of transformers does. Names are those of the model in memory.

    Args:
        model: what `convert` gave, with or without torch's wrappers around it. Its quantized layers are Linear, of
            integers up to 8 bits, E4M3, MXFP4, MXFP8 or NVFP4 (the error says more); inputs have one scale for the
            tensor, or dynamic ones for tokens (`block: channel`), groups or MX blocks.
        folder: is made where it is missing. `model.safetensors` is written, and in `config.json` the key
            `quantization_config`; other keys that are there stay.
        inputs: False: inputs are left floats, and only weights are quantized.

    Returns:
        The folder.

    Raises:
        ValueError: if the model, or a layer of it, is not converted, or has no values; if compressed-tensors has no
            place for a layer: every one is named; if the folder has a `config.json` that is no JSON object or ties the
            quantized output layer to the embedding, or an index of other files.
        TypeError: if `model` is none, or `folder` no path.
        OSError: if it cannot be written.
    """
    model = converted(model)
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder is {told_value(folder)}; allowed: the path of a folder")
    folder = Path(folder)
    document = _document(folder / CONFIG)
    if (index := folder / INDEX).exists():
        raise ValueError(f"{index}: it names other files, which would be read; allowed: a folder without them")
    found = _layers(model, inputs=inputs)
    if document.get(TIED) and isinstance(_output_layer(model), Quantized):
        told = f"{folder / CONFIG}: {TIED} gives the output layer the embedding's weight, but it has codes"
        raise ValueError(f"{told}; allowed: a rule with `skip: true` for the layer, or {TIED} false")
    tensors = _others(model, found)
    for name, layer in found.items():
        tensors |= {_within(name, key): array for key, array in layer.arrays.items()}
    document[KEY] = _configuration(model, found)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / CONFIG) as config:
        config.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        written(tensors, folder / FILE, {"format": "pt"})
    return folder


def _document(file: Path) -> dict[str, Any]:
    """What stands in the configuration that is there."""
    if not file.exists():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: it is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{file}: it is no JSON object; allowed: the configuration of a model, or no such file")
    return document


def _output_layer(model: nn.Module) -> object:
    """What transformers says is the layer before the logits; None of other models."""
    told = getattr(model, "get_output_embeddings", None)
    return told() if callable(told) else None


def _layers(model: nn.Module, *, inputs: bool) -> dict[str, _Layer]:
    """All quantized layers by name.

    Raises:
        ValueError: if there is no place for one of them.
    """
    found: dict[str, _Layer] = {}
    problems: list[str] = []
    for name, layer in layers(model):
        told = list(_problems(layer, inputs=inputs))
        problems += [f"{plain_name(name)}: {problem}" for problem in told]
        if not told:
            found[plain_name(name)] = _layer(layer, inputs=inputs)
    if problems:
        raise ValueError("compressed-tensors has no place for some layers:\n" + "\n".join(problems))
    return found


def _problems(layer: Quantized, *, inputs: bool) -> Iterator[str]:
    if not isinstance(layer, nn.Linear):
        yield f"it is {of_type(layer)}; allowed: Linear"
        return
    packed = layer._modules.get("packed_weight")
    if not isinstance(packed, PackedWeight):
        yield "its weight stays float; allowed: layers whose weights are quantized"
        return
    yield from _weight_problems(packed)
    for _, quantizer in layer.quantizers():
        if quantizer.role != "input":
            yield f"{quantizer.role}: it is quantized, too; allowed: weights and inputs"
        elif inputs and input_scheme_of(quantizer.config) is None:
            yield (
                f"input: no {quantizer.config.format.name}; allowed: one scale for the tensor, or dynamic ones for "
                f"tokens (`block: channel`), groups or MX blocks, of {ALLOWED}; inputs=False leaves inputs floats"
            )
        elif inputs and (found := input_scheme_of(quantizer.config)) is not None:
            yield from _group_problems("input", found[0], packed.packing.shape[1])


def _weight_problems(packed: PackedWeight) -> Iterator[str]:
    packing = packed.packing
    scheme = _scheme(packed)
    if scheme is None:
        yield f"weight: no {packing.format.name}; allowed: {ALLOWED}"
    elif packing.axis not in (-1, 1):
        yield f"weight: blocks of {packing.format.name} run along axis {packing.axis}; allowed: 1, the input's features"
    else:
        yield from _group_problems("weight", scheme, packing.shape[1])


def _group_problems(what: str, scheme: Scheme, columns: int) -> Iterator[str]:
    size = scheme.block[1] if scheme.block is not None and scheme.strategy is not Strategy.BLOCK else 1
    if columns % size:
        yield f"{what}: {columns} columns are no whole groups of {size}; allowed: multiples of it"


def _scheme(packed: PackedWeight) -> Scheme | None:
    channels = packed.packing.channels
    return scheme_of(packed.packing.format, per_channel=max(channels, default=1) > 1)


def _layer(layer: Quantized, *, inputs: bool) -> _Layer:
    packed = layer._modules["packed_weight"]
    quantizer = layer._modules.get("input_quantizer") if inputs else None
    assert isinstance(packed, PackedWeight)
    weight = _scheme(packed)
    assert weight is not None
    if not isinstance(quantizer, TensorQuantizer):
        return _Layer(packed, weight, None, None)
    entering = input_scheme_of(quantizer.config)
    assert entering is not None
    scheme, is_dynamic = entering
    scale = None if is_dynamic else torch.ones(1) if quantizer.scale is None else quantizer.scale.detach()
    return _Layer(packed, weight, scheme.arguments(dynamic=is_dynamic), scale)


def _others(model: nn.Module, found: Mapping[str, _Layer]) -> dict[str, Tensor]:
    """What is not quantized, under the names of the model."""
    ours = tuple(_within(name, f"{part}.") for name in found for part in ("packed_weight", "input_quantizer"))
    tensors, _ = tensors_of(model)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(ours)}


def _within(name: str, key: str) -> str:
    """The name of what is in a module; the model itself has none."""
    return f"{name}.{key}" if name else key


def _configuration(model: nn.Module, found: Mapping[str, _Layer]) -> dict[str, Any]:
    """The `QuantizationConfig`: alike layers form a group; what stays float is told, routers and experts too."""
    members: dict[str, list[str]] = {}
    for name, layer in found.items():
        members.setdefault(json.dumps(layer.group), []).append(name)
    groups = [{"targets": targets, **json.loads(group)} for group, targets in members.items()]
    layouts = {layer.layout for layer in found.values()}
    return {
        "quant_method": "compressed-tensors",
        "format": layouts.pop() if len(layouts) == 1 else MIXED,
        "quantization_status": "compressed",
        "config_groups": {f"group_{index}": group for index, group in enumerate(groups)},
        "ignore": [name for name, module in modules_by_name(model).items() if _is_float(module)],
    }


def _is_float(module: nn.Module) -> bool:
    """Whether it holds matrices that stay float."""
    matrices = any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
    return matrices and not isinstance(module, Quantized)
