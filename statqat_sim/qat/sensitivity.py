"""Which layers bear which formats: weights are quantized one layer at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from statqat_sim.errors import shown
from statqat_sim.metrics import decibels
from statqat_sim.qat.config_reader import tensor_config
from statqat_sim.qat.config_rules import role_defaults
from statqat_sim.qat.layer_check import weight_problems
from statqat_sim.qat.modes import require_floats
from statqat_sim.qat.packed import Packing
from statqat_sim.qat.require import require_values, told_value
from statqat_sim.qat.rules import Spelled
from statqat_sim.qat.sensitivity_loss import Loss, MeanLoss
from statqat_sim.qat.sensitivity_table import Sensitivity, SensitivityRow
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.qat.weight_groups import WeightGroup, weight_groups
from statqat_sim.spec.base import BYTE


def sensitivity(
    model: nn.Module,
    batches: Iterable[Any] | None = None,
    formats: Sequence[Spelled] = ("int4", "mxfp4", "nvfp4"),
    loss: Loss | None = None,
    *,
    progress: bool = True,
) -> Sensitivity:
    """Quantize the weights of one layer at a time, in each format, and see what the loss does.

    The model runs in evaluation, without gradients; afterwards it is what it was, bit for bit. Formats that round at
    random draw the same numbers every time, and none from torch's generator.

    Args:
        model: a float model.
        batches: what `loss` is given; they are kept, as every format of every layer sees all of them. None: no losses.
        formats: as `QATConfig` takes a weight's.
        loss: (model, batch) -> a number. None: Σ(y - y₀)² / Σy₀² of the outputs, y₀ being those of the float model;
            mappings and tuples are the model's arguments.
        progress: whether a terminal shows how far it is.

    Raises:
        TypeError: if `model` is none, `formats` or `batches` no list, or `loss` no function that gives a number; if
            there is no loss, and the model does not take a batch.
        ValueError: if the model is prepared, or on torch's meta device; if no layer can be quantized; if there are no
            formats, or `batches` has none, or is None beside a loss; if a format's blocks are of axes that a weight has
            not.
        SpecError: if a format is wrong.
    """
    require_floats(model)
    require_values(model)
    _require_lists(formats, batches, loss)
    configs = _configs(formats)
    groups = list(weight_groups(model))
    if not groups:
        raise ValueError("the model has no layer whose weights can be quantized")
    _require_axes(groups, configs.values())
    kept = _kept(batches)
    with _evaluating(model), torch.no_grad():
        measure = MeanLoss.of(model, kept, loss)
        jobs = [(group, *pair) for group in groups for pair in configs.items()]
        rows = tuple(_row(measure, *job) for job in _shown(jobs, progress))
    patterns = {group.name: group.pattern for group in groups}
    return Sensitivity(rows=rows, configs=configs, loss=measure.reference, patterns=patterns)


def _require_lists(formats: object, batches: object, loss: object) -> None:
    for name, value, allowed in (
        ("formats", formats, "a list of them, such as ['int4', 'mxfp4']"),
        ("batches", batches, "a list of them, such as [x]; a DataLoader"),
    ):
        is_one = isinstance(value, str | Mapping | Tensor) or not isinstance(value, Iterable)
        if is_one and not (value is None and name == "batches"):
            raise TypeError(f"{name} is {told_value(value)}; allowed: {allowed}")
    if not (loss is None or callable(loss)):
        raise TypeError(f"loss is {told_value(loss)}; allowed: a function of the model and a batch")
    if loss is not None and batches is None:
        raise ValueError("a loss, and no batches; allowed: both, or neither")


def _kept(batches: Iterable[Any] | None) -> list[Any]:
    """Batches to go through many times; none where there are to be no losses."""
    kept = [] if batches is None else list(batches)
    if not kept and batches is not None:
        raise ValueError("batches is empty; allowed: one at least, of a generator that is not read yet; or None")
    return kept


def _require_axes(groups: Iterable[WeightGroup], configs: Collection[TensorConfig]) -> None:
    """Check that every weight has the axes that the formats are about."""
    lines = [
        f"{group.name or '(model)'}: {told}"
        for group in groups
        for config in configs
        for weight, layout in group.weights
        for told in weight_problems(config.format, layout, weight.ndim)
    ]
    if lines:
        raise ValueError("\n".join(dict.fromkeys(lines)))


def _shown(jobs: Sequence[Any], progress: bool) -> Iterable[Any]:
    if not progress:
        return jobs
    from statqat_sim.report.progress import shown_progress

    return shown_progress(jobs, "sensitivity")


def _configs(formats: Sequence[Spelled]) -> dict[str, TensorConfig]:
    """By the formats' names; where two have one name, with what else they are."""
    listed = list(formats)
    if not listed or any(format is None for format in listed):
        raise ValueError(f"formats is {shown(listed)}; allowed: one at least, and none that is nothing")
    configs = [
        tensor_config("weight", format, "sensitivity", "formats", str(index)) for index, format in enumerate(listed)
    ]
    names = [config.format.name for config in configs]
    told = [
        name if names.count(name) == 1 else f"{name} {config.quantizer!r}{_per(config)}"
        for name, config in zip(names, configs, strict=True)
    ]
    return dict(zip(told, configs, strict=True))


def _per(config: TensorConfig) -> str:
    is_usual = config.per == role_defaults("weight", config.format)["per"]
    return "" if is_usual else f" per {config.per}"


def _row(measure: MeanLoss, group: WeightGroup, name: str, config: TensorConfig) -> SensitivityRow:
    power = error = 0.0
    bits = elements = 0
    quantized: list[Tensor] = []
    for weight, layout in group.weights:
        quantizer = TensorQuantizer(config, layout, "weight", group.name).to(weight.device)
        quantizer.require_plain(weight)
        if quantizer.stores_scale:
            quantizer.choose(weight)
        scale = quantizer.scale_for(weight)
        quantized.append(quantizer.quantized(weight, scale, quantizer.fixed_seed()))
        x, y = weight.double(), quantized[-1].double()
        power, error = power + float((x * x).sum()), error + float(((x - y) ** 2).sum())
        channels = () if scale is None else tuple(scale.shape)
        packing = Packing(format=config.format, shape=tuple(weight.shape), axis=layout.axis, channels=channels)
        bits, elements = bits + BYTE * packing.nbytes, elements + weight.numel()
    ratio = decibels(power, error)
    return SensitivityRow(
        layer=group.name,
        format=name,
        sqnr_db=ratio if math.isfinite(ratio) else None,
        noise=error / power if power else 0.0,
        loss_change=measure.change([weight for weight, _ in group.weights], quantized),
        elements=elements,
        bits=bits,
    )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
