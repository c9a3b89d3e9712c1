"""What `state_dict` of a prepared model does not hold: scales, statistics, steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from statqat_sim.errors import did_you_mean
from statqat_sim.qat.modes import quantizers
from statqat_sim.qat.statistics import ARRAYS, as_tensors, from_tensors
from statqat_sim.qat.tensor_quantizer import TensorQuantizer, whole

STEPS, SCALE, STATISTICS = "steps", "scale", "statistics"
HISTOGRAM = tuple(f"{STATISTICS}.{name}" for name in ("facts", *ARRAYS))
PARTS = (STEPS, SCALE, *HISTOGRAM)


def state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Scales, learned ones among them, statistics and steps of all quantizers: a flat dictionary of tensors.

    Together with the model's and the optimizer's own it lets training go on to the same bits.
    """
    return {f"{name}.{key}": tensor for name, one in quantizers(model) for key, tensor in _tensors(one)}


def load_state_dict(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take what `state_dict` of a model prepared alike has given.

    Raises:
        KeyError: if quantizers or parts of them are missing, or there are others; with their names, and the nearest.
        ValueError: if a scale has another shape, or is no finite number. In either case nothing was changed.
    """
    known = dict(quantizers(model))
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in known}
    for key, tensor in state.items():
        name, what = _split(key)
        if name not in parts:
            raise KeyError(f"{key}: the model has no such quantizer{did_you_mean(name, known)}")
        if what not in PARTS:
            raise KeyError(f"{key}: a quantizer has no such part{did_you_mean(what, PARTS)}")
        parts[name][what] = tensor
    for name, part in parts.items():
        if STEPS not in part:
            raise KeyError(f"{name}: the state has nothing of this quantizer")
        if 0 < len(part.keys() & HISTOGRAM) < len(HISTOGRAM):
            raise KeyError(f"{name}: the state has no {', '.join(key for key in HISTOGRAM if key not in part)}")
        _check_scale(name, known[name], part.get(SCALE))
    for name, part in parts.items():
        _load(known[name], part)


def _tensors(quantizer: TensorQuantizer) -> Iterator[tuple[str, Tensor]]:
    yield STEPS, torch.tensor(quantizer.steps)
    if quantizer.is_ready and quantizer.scale is not None:
        yield SCALE, whole(quantizer.scale.detach()).clone()
    if quantizer.statistics is not None:
        for name, tensor in as_tensors(quantizer.statistics).items():
            yield f"{STATISTICS}.{name}", tensor


def _check_scale(name: str, quantizer: TensorQuantizer, scale: Tensor | None) -> None:
    if scale is None:
        return
    if quantizer.scale is None:
        raise KeyError(f"{name}.{SCALE}: this quantizer keeps no scale")
    shape, allowed = tuple(scale.shape), tuple(quantizer.scale.shape)
    if not quantizer.scale.numel():  # so many channels as calibration will find
        allowed = quantizer.layout.scale_shape(max(scale.numel(), 1), 0)
    if shape != allowed:
        raise ValueError(f"{name}: scale has shape {shape}; allowed: {allowed}")
    if not torch.isfinite(scale).all():
        raise ValueError(f"{name}: a scale is no finite number")


def _load(quantizer: TensorQuantizer, part: Mapping[str, Tensor]) -> None:
    quantizer.steps = int(part[STEPS])
    quantizer.is_ready = False
    if SCALE in part:
        quantizer.keep(part[SCALE])
    found = {key.removeprefix(f"{STATISTICS}."): part[key] for key in HISTOGRAM if key in part}
    quantizer.statistics = from_tensors(found) if found else None


def _split(key: str) -> tuple[str, str]:
    """The name of a quantizer, and what of it."""
    name, _, part = key.rpartition(f".{STATISTICS}.")
    if name:
        return name, f"{STATISTICS}.{part}"
    name, _, part = key.rpartition(".")
    return name, part
