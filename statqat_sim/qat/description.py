"""What a saved model's file says of its tensors: formats by hash, with their texts; layers, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import torch

from statqat_sim.errors import Problem
from statqat_sim.qat.config_rules import Role
from statqat_sim.qat.matmul_config import MatmulConfig
from statqat_sim.qat.matmul_keys import matmul_hash, matmul_of, matmul_text
from statqat_sim.qat.packed import PackedWeight, Packing
from statqat_sim.qat.quantizer_keys import quantizer_keys, read_quantizer
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.quantizer import MinMax, StateQuantizer
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.format import Format
from statqat_sim.spec.located import Located
from statqat_sim.spec.text import format_hash, format_text

KEY, VERSION = "statqat_sim", 1
"""Of the metadata of a safetensors file: the one that holds a description, and how it is written."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWeight:
    """A parameter that codes stand for."""

    packing: Packing
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLayer:
    """A quantized layer: the name of its class, its packed parameters, what enters and leaves it, what multiplies."""

    kind: str
    weights: Mapping[str, SavedWeight] = field(default_factory=dict)
    activations: Mapping[Role, TensorConfig] = field(default_factory=dict)
    matmul: MatmulConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All layers of a converted model, by their qualified names, and the tensors that are others by another name.

    `sums` are checksums of the tensors; files that an older version wrote have none.
    """

    layers: Mapping[str, SavedLayer]
    aliases: Mapping[str, str]
    exact: bool = True
    sums: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text; it has all formats in it, so that no catalog is needed to read it.

        Raises:
            TypeError: if a dynamic scale has a quantizer that no name describes.
        """
        texts: dict[str, str] = {}
        layers = {name: _layer_keys(layer, texts) for name, layer in self.layers.items()}
        keys = {"version": VERSION, "exact": self.exact, "formats": texts, "layers": layers, "aliases": self.aliases}
        keys["sums"] = dict(self.sums)
        found = [layer.matmul for layer in self.layers.values() if layer.matmul is not None]
        return json.dumps({**keys, "matmuls": {matmul_hash(each): matmul_text(each) for each in found}}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Description:
        """What `to_json` wrote.

        Raises:
            ValueError: if it is something else, of another version, or a format's text has not the hash that it had.
        """
        try:
            keys = json.loads(text)
            if keys["version"] != VERSION:
                raise ValueError(f"it is of version {keys['version']}; allowed: {VERSION}; is the library too old?")
            known = {hash: _checked_format(hash, text) for hash, text in keys["formats"].items()}
            matmuls = {hash: _checked_matmul(hash, text) for hash, text in keys.get("matmuls", {}).items()}
            layers = {name: _layer(name, layer, known, matmuls) for name, layer in keys["layers"].items()}
            sums = {str(name): int(each) for name, each in keys.get("sums", {}).items()}
            if not isinstance(exact := keys["exact"], bool):
                raise TypeError(f"exact is {exact!r}")
            return cls(layers=layers, aliases=dict(keys["aliases"]), exact=exact, sums=sums)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"its description is damaged: {error!r}") from None


def saved_weight(packed: PackedWeight) -> SavedWeight:
    """What a file says of codes."""
    return SavedWeight(packing=packed.packing, dtype=packed.dtype)


# --- writing -----------------------------------------------------------------------------------------------------


def _layer_keys(layer: SavedLayer, formats: dict[str, str]) -> dict[str, Any]:
    weights = {name: _weight_keys(weight, formats) for name, weight in layer.weights.items()}
    activations = {role: _activation_keys(tensor, formats) for role, tensor in layer.activations.items()}
    keys = {"kind": layer.kind, "weights": weights, "activations": activations}
    return keys if layer.matmul is None else {**keys, "matmul": matmul_hash(layer.matmul)}


def _weight_keys(weight: SavedWeight, formats: dict[str, str]) -> dict[str, Any]:
    packing = weight.packing
    keys = {
        "format": _known(packing.format, formats),
        "shape": packing.shape,
        "axis": packing.axis,
        "channels": packing.channels,
        "dtype": str(weight.dtype).removeprefix("torch."),
    }
    return keys if packing.is_scaled else {**keys, "scaled": False}


def _activation_keys(tensor: TensorConfig, formats: dict[str, str]) -> dict[str, Any]:
    """A scale that is kept has no more use for its quantizer."""
    keys = {"format": _known(tensor.format, formats), "per": tensor.per, "dynamic": tensor.dynamic}
    is_kept = tensor.is_scaled and not tensor.dynamic
    return keys if is_kept or tensor.quantizer is None else {**keys, "quantizer": quantizer_keys(tensor.quantizer)}


def _known(format: Format, formats: dict[str, str]) -> str:
    """The hash of a format, whose text is kept."""
    hash = format_hash(format)
    formats[hash] = format_text(format)
    return hash


# --- reading -----------------------------------------------------------------------------------------------------


def _checked_format(hash: str, text: str) -> Format:
    first = text.partition("\n")[0]
    _require_hash(f"format {hash[:12]} ({first})", hash, text)
    format = parse_format(text, file=f"<format {hash[:12]}>")
    known = load_format(format.name) if format.name in formats() else format  # with its title, and a shorter key
    return known if format_hash(known) == hash else format


def _checked_matmul(hash: str, text: str) -> MatmulConfig:
    _require_hash(f"what multiplies, {hash[:12]},", hash, text)
    return matmul_of(text)


def _require_hash(what: str, hash: str, text: str) -> None:
    found = sha256(text.encode()).hexdigest()
    if found != hash:
        raise ValueError(f"the text of {what} has another hash, {found[:12]}: it was changed")


def _layer(
    name: str, keys: dict[str, Any], formats: Mapping[str, Format], matmuls: Mapping[str, MatmulConfig]
) -> SavedLayer:
    weights = {each: _weight(f"{name}.{each}", found, formats) for each, found in keys["weights"].items()}
    activations: dict[Any, TensorConfig] = {
        role: _activation(f"{name}, {role}", found, formats) for role, found in keys["activations"].items()
    }
    matmul = _known_of(name, keys["matmul"], "what multiplies", matmuls) if "matmul" in keys else None
    return SavedLayer(kind=keys["kind"], weights=weights, activations=activations, matmul=matmul)


def _weight(name: str, keys: dict[str, Any], formats: Mapping[str, Format]) -> SavedWeight:
    format = _known_of(name, keys["format"], "its format", formats)
    shape, channels = tuple(keys["shape"]), tuple(keys["channels"])
    is_scaled = bool(keys.get("scaled", True))
    packing = Packing(format=format, shape=shape, axis=keys["axis"], channels=channels, is_scaled=is_scaled)
    return SavedWeight(packing=packing, dtype=getattr(torch, keys["dtype"]))


def _activation(name: str, keys: dict[str, Any], formats: Mapping[str, Format]) -> TensorConfig:
    format = _known_of(name, keys["format"], "its format", formats)
    problems: list[Problem] = []
    quantizer: StateQuantizer | None = None if isinstance(format, BlockFormat) else MinMax()
    if "quantizer" in keys:
        quantizer = read_quantizer(Located.of(keys["quantizer"], (name,)), problems)
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    return TensorConfig(format=format, quantizer=quantizer, per=keys["per"], dynamic=keys["dynamic"])


def _known_of(name: str, hash: str, what: str, known: Mapping[str, Value]) -> Value:
    if hash not in known:
        texts = ", ".join(each[:12] for each in known) or "none"
        raise ValueError(f"{name}: the hash {hash[:12]} of {what} is unknown; the file has texts of: {texts}")
    return known[hash]
