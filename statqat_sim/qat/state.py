"""What `state_dict` of a prepared model does not hold: formats, scales, statistics, steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from statqat_sim.errors import did_you_mean, of_type
from statqat_sim.histogram import Histogram
from statqat_sim.qat.marks import mark_of
from statqat_sim.qat.modes import layers, require_quantizers
from statqat_sim.qat.require import require_values
from statqat_sim.qat.stamps import FORMAT, stamp_of, stamp_problem
from statqat_sim.qat.statistics import ARRAYS, as_tensors, from_tensors
from statqat_sim.qat.tensor_quantizer import TensorQuantizer, whole
from statqat_sim.qat.wrappers import names_of_modules, plain_name, unwrapped

STEPS, SCALE, STATISTICS = "steps", "scale", "statistics"
HISTOGRAM = tuple(f"{STATISTICS}.{name}" for name in ("facts", *ARRAYS))
PARTS = (FORMAT, STEPS, SCALE, *HISTOGRAM)


def state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Scales, learned ones among them, statistics and steps of all quantizers: a flat dictionary of tensors.

    Each has its format's hash and name with it, as bytes. Names do not show what torch wraps around a model
    (`torch.compile`, `DataParallel`, `DistributedDataParallel`, `AveragedModel`). Together with the model's and the
    optimizer's own it lets training go on to the same bits.

    Raises:
        TypeError: if `model` is none.
        ValueError: if the model has no quantizer.
    """
    return {f"{name}.{key}": tensor for name, one in _quantizers(model).items() for key, tensor in _tensors(one)}


def load_state_dict(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take what `state_dict` of a model prepared alike has given, before or after the model's own state.

    Weights that the model's `load_state_dict` brings later get their scales anew, unless a qat state was loaded since
    the weights last changed: its scales are taken for theirs; call `qat.choose_weight_scales` otherwise.
    A state that no format was written into, by a version that did not do so, is taken with a warning.

    Raises:
        TypeError: if `model` is none, or the state no mapping.
        KeyError: if quantizers or parts of them are missing, or there are others; with their names, and the nearest.
        ValueError: if the model has no quantizer, or parameters on the meta device; if a quantizer has another format;
            if a scale has another shape, or is no finite number. In all cases nothing was changed.
    """
    known = _quantizers(model)
    if not isinstance(state, Mapping):
        raise TypeError(f"state is {of_type(state)}; allowed: what qat.state_dict gave")
    require_values(model)
    parts = _parts(known, _names(model, known), state)
    if wrong := [told for name, part in parts.items() for told in _format_problems(name, known[name], part)]:
        raise ValueError("\n".join(wrong))
    seen = {name: _checked(name, known[name], part) for name, part in parts.items()}
    if not all(FORMAT in part for part in parts.values()):
        what = "the state does not say which formats it is of; its scales are taken as they are"
        warnings.warn(f"{what}; save it anew with qat.state_dict", UserWarning, stacklevel=2)
    for name, part in parts.items():
        _load(known[name], part, seen[name])
    _remember_weights(model)


def _quantizers(model: nn.Module) -> dict[str, TensorQuantizer]:
    """The quantizers of a model, by names that are the same in torch's wrappers around it."""
    return {plain_name(name): one for name, one in require_quantizers(unwrapped(model)).items()}


def _names(model: nn.Module, known: Mapping[str, TensorQuantizer]) -> dict[str, str]:
    """The name that each quantizer is known by, by all of its names: those of a shared layer come in some order."""
    names = names_of_modules(unwrapped(model))
    return {alias: name for name, quantizer in known.items() for alias in names[quantizer]}


def _parts(
    known: Mapping[str, TensorQuantizer], names: Mapping[str, str], state: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """The tensors of each quantizer."""
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in known}
    for key, tensor in state.items():
        name, what = _split(plain_name(str(key)))
        if name not in names:
            hint = did_you_mean(name, known) or "; allowed: what qat.state_dict gave"
            raise KeyError(f"{key}: the model has no such quantizer{hint}")
        if what not in PARTS:
            raise KeyError(f"{key}: a quantizer has no such part{did_you_mean(what, PARTS)}")
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{key} is {of_type(tensor)}; allowed: tensors")
        part = parts[names[name]]
        if what in part:
            raise KeyError(f"{key}: in the model it is {names[name]}.{what}; the state has both")
        part[what] = tensor
    return parts


def _tensors(quantizer: TensorQuantizer) -> Iterator[tuple[str, Tensor]]:
    yield STEPS, torch.tensor(quantizer.steps)
    yield FORMAT, stamp_of(quantizer.config.format)
    if quantizer.is_ready and quantizer.scale is not None:
        yield SCALE, whole(quantizer.scale.detach()).clone()
    if quantizer.statistics is not None:
        for name, tensor in as_tensors(quantizer.statistics).items():
            yield f"{STATISTICS}.{name}", tensor


def _format_problems(name: str, quantizer: TensorQuantizer, part: Mapping[str, Tensor]) -> Iterator[str]:
    """Why a state's scales are not of the quantizer's format."""
    if FORMAT in part and (problem := stamp_problem(name, part[FORMAT], quantizer.config.format)):
        yield problem


def _checked(name: str, quantizer: TensorQuantizer, part: Mapping[str, Tensor]) -> Histogram | None:
    """The statistics of a part, all of which was found to be what it is to be."""
    if STEPS not in part:
        raise KeyError(f"{name}: the state has nothing of this quantizer")
    if 0 < len(part.keys() & HISTOGRAM) < len(HISTOGRAM):
        raise KeyError(f"{name}: the state has no {', '.join(key for key in HISTOGRAM if key not in part)}")
    if part[STEPS].numel() != 1:
        raise ValueError(f"{name}: {STEPS} has shape {tuple(part[STEPS].shape)}; allowed: one number")
    _check_scale(name, quantizer, part.get(SCALE))
    found = {key.removeprefix(f"{STATISTICS}."): part[key] for key in HISTOGRAM if key in part}
    try:
        return from_tensors(found) if found else None
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{name}: {STATISTICS} are damaged: {error}") from None


def _check_scale(name: str, quantizer: TensorQuantizer, scale: Tensor | None) -> None:
    if scale is None:
        return
    if quantizer.scale is None:
        raise KeyError(f"{name}.{SCALE}: this quantizer keeps no scale")
    shape, allowed = tuple(scale.shape), tuple(quantizer.scale.shape)
    if not quantizer.scale.numel():  # of a layer of whose channels only calibration tells
        allowed = quantizer.layout.scale_shape(max(scale.numel(), 1), 0)
    if shape != allowed:
        raise ValueError(f"{name}: scale has shape {shape}; allowed: {allowed}")
    if not torch.isfinite(scale).all():
        raise ValueError(f"{name}: a scale is no finite number")


def _load(quantizer: TensorQuantizer, part: Mapping[str, Tensor], seen: Histogram | None) -> None:
    quantizer.steps = int(part[STEPS])
    quantizer.is_ready = False
    if SCALE in part:
        quantizer.keep(part[SCALE])
    quantizer.statistics = seen


def _remember_weights(model: nn.Module) -> None:
    """Note which weights the scales that came were loaded beside."""
    for _, layer in layers(model):
        for parameter, quantizer in layer.weight_quantizers():
            quantizer.loaded_beside = mark_of(getattr(layer, parameter)) if quantizer.is_ready else None


def _split(key: str) -> tuple[str, str]:
    """The name of a quantizer, and what of it."""
    for part in PARTS:
        if key.endswith(f".{part}"):
            return key.removesuffix(f".{part}"), part
    name, _, part = key.rpartition(f".{STATISTICS}.")
    if name:
        return name, f"{STATISTICS}.{part}"
    name, _, part = key.rpartition(".")
    return name, part
