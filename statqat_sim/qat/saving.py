"""Converted models as one safetensors file: codes, scales, everything else, and the text of each format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from statqat_sim.atomic import replacing
from statqat_sim.errors import of_type, shown
from statqat_sim.qat.conversion import NOTHING, is_converted, quantizes_gradients_alone, unconverted
from statqat_sim.qat.description import KEY, Description, SavedLayer, saved_weight
from statqat_sim.qat.matmul_keys import matmul_of
from statqat_sim.qat.modes import layers
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.packed import PackedWeight
from statqat_sim.qat.require import require_module, require_values, told_value
from statqat_sim.qat.stamps import without_stamps
from statqat_sim.qat.sums import sums_of
from statqat_sim.qat.wrappers import plain_name, unwrapped

SUFFIX, FILE = ".safetensors", "model.safetensors"
OTHERS = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".onnx", ".json", ".yaml")
"""Of files that are others, not of folders."""


def save(model: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write a converted model to one file, whole or not at all.

    Args:
        model: what `convert` gave; of torch's wrappers around it (`torch.compile`, `DataParallel`,
            `DistributedDataParallel`, `AveragedModel`), and of parts that are compiled, nothing is written.
        path: a `.safetensors` file; or a directory, which is made, for `model.safetensors`.

    Returns:
        The file.

    Raises:
        ValueError: if the model, or a layer of it, is not converted, or has no values; if `path` is that of another
            kind of file.
        TypeError: if `model` is none; if its state has more than tensors, or a dynamic scale's quantizer has no name.
        OSError: if it cannot be written.
    """
    model = converted(model)
    file = file_of(path)
    tensors, aliases = tensors_of(model)
    found = {plain_name(name): _saved(layer) for name, layer in layers(model)}
    facts = Description(layers=found, aliases=aliases, exact=_is_exact(model), sums=sums_of(tensors))
    description = facts.to_json()
    file.parent.mkdir(parents=True, exist_ok=True)
    written(tensors, file, {KEY: description})
    return file


def converted(model: nn.Module) -> nn.Module:
    """The model without torch's wrappers, if it is converted to the end.

    Raises:
        ValueError: if it is not, or has no values.
        TypeError: if it is none.
    """
    require_module(model)
    model = unwrapped(model)
    if quantizes_gradients_alone(model):
        raise ValueError(NOTHING)
    if not is_converted(model):
        raise ValueError("the model is not converted; call qat.convert(model) first")
    if left := unconverted(model):
        raise ValueError(f"{', '.join(left)}: not converted, other layers are; call qat.convert(model) first")
    require_values(model)
    return model


def written(tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(file) as temporary:
        try:
            save_file(dict(tensors), temporary, dict(metadata))
        except SafetensorError as error:
            raise OSError(f"{file}: it cannot be written: {error}") from None


def file_of(path: str | os.PathLike[str]) -> Path:
    """The file of a path that may be a directory's.

    Raises:
        TypeError: if it is no path.
        ValueError: if it is that of a file of another kind.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is {told_value(path)}; allowed: the name of a {SUFFIX} file, or of a folder for it")
    path = Path(path)
    if path.is_dir():
        return path / FILE
    if path.is_file() and path.suffix != SUFFIX or path.suffix in OTHERS:
        raise ValueError(f"{path} is no {SUFFIX} file; allowed: such a one, or a folder for {FILE}")
    return path if path.suffix == SUFFIX else path / FILE


def tensors_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every tensor of the state once, and the other names that some have."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    known: dict[tuple[object, ...], str] = {}
    for key, tensor in without_stamps(model).items():
        name = plain_name(key)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{shown(name)} of the state is {of_type(tensor)}; allowed: tensors")
        place = tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
        if tensor.numel() and place in known:
            aliases[name] = known[place]
        else:
            known[place] = name
            tensors[name] = tensor.detach().cpu().contiguous().clone()
    return tensors, aliases


def _saved(layer: Quantized) -> SavedLayer:
    packed = {name: layer._modules.get(f"packed_{name}") for name in layer.weights}
    weights = {name: saved_weight(each) for name, each in packed.items() if isinstance(each, PackedWeight)}
    activations = {quantizer.role: quantizer.config for _, quantizer in layer.quantizers()}
    matmul = None if layer.matmul_key is None else matmul_of(layer.matmul_key)
    return SavedLayer(kind=type(layer).__name__, weights=weights, activations=activations, matmul=matmul)


def _is_exact(model: nn.Module) -> bool:
    return all(quantizer.exact for _, layer in layers(model) for _, quantizer in layer.quantizers())
