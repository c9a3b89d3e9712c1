"""Which layers bear which formats: weights are quantized one layer at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from statqat_sim.errors import did_you_mean, of_type, shown
from statqat_sim.metrics import decibels
from statqat_sim.qat.config_reader import tensor_config
from statqat_sim.qat.config_rules import role_defaults
from statqat_sim.qat.layer_check import weight_problems
from statqat_sim.qat.layout import Layout
from statqat_sim.qat.modes import require_floats
from statqat_sim.qat.modules import Quantized, QuantizedOutputProjection
from statqat_sim.qat.packed import Packing
from statqat_sim.qat.registry import REGISTERED
from statqat_sim.qat.require import require_values, told_value
from statqat_sim.qat.rules import Spelled
from statqat_sim.qat.tensor_config import TensorConfig
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.spec.base import BYTE

Loss: TypeAlias = Callable[[nn.Module, Any], Any]
"""(model, batch) -> a number: the mean over the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityRow:
    """One layer's weights in one format, all others as they are.

    Args:
        layer: its qualified name; of layers that share a weight all their names, joined by `|`.
        format: what the table calls the format.
        sqnr_db: of the weights; None where there is no error.
        noise: Σ(w - q)² / Σw².
        loss_change: of the mean loss over the batches; None where there were no batches.
        elements: of the weights.
        bits: of codes and scales, in all.
    """

    layer: str
    format: str
    sqnr_db: float | None
    noise: float
    loss_change: float | None
    elements: int
    bits: int

    @property
    def bits_per_element(self) -> float:
        """With scales and padding."""
        return self.bits / self.elements if self.elements else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Layers × formats; `str` is a table, `plot` draws a heat map, and `qat.assign` chooses from it.

    Args:
        rows: layer by layer, the formats in their order.
        configs: of the formats, by what the rows call them.
        loss: the mean over the batches with all weights as they are; None where there were no batches.
        patterns: globs for a rule that is about a layer, by the layer.
    """

    rows: tuple[SensitivityRow, ...]
    configs: Mapping[str, TensorConfig]
    loss: float | None
    patterns: Mapping[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """In the model's order."""
        return tuple(dict.fromkeys(row.layer for row in self.rows))

    @property
    def formats(self) -> tuple[str, ...]:
        """In the order that they were given."""
        return tuple(self.configs)

    def row(self, layer: str, format: str) -> SensitivityRow:
        """The row of a layer and a format.

        Raises:
            LookupError: if there is none.
        """
        for row in self.rows:
            if (row.layer, row.format) == (layer, format):
                return row
        hint = did_you_mean(str(layer), self.layers) or did_you_mean(str(format), self.formats)
        raise LookupError(f"no row of {layer!r} in {format!r}{hint}")

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw SQNR and loss change, layer × format, as a picture; raises as `statqat_sim.report.plot.save` does."""
        from statqat_sim.report.sensitivity_plot import plot_sensitivity

        plot_sensitivity(self, Path(path))

    def __str__(self) -> str:
        from statqat_sim.report.layers import sensitivity_text

        return sensitivity_text(self)


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
            formats, or no batches for a loss; if a format's blocks are of axes that a weight has not.
        SpecError: if a format is wrong.
    """
    require_floats(model)
    require_values(model)
    _require_lists(formats, batches, loss)
    configs = _configs(formats)
    groups = list(_groups(model))
    if not groups:
        raise ValueError("the model has no layer whose weights can be quantized")
    _require_axes(groups, configs.values())
    with _evaluating(model), torch.no_grad():
        measure = _Loss.of(model, [] if batches is None else list(batches), loss)
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


def _require_axes(groups: Iterable[_Group], configs: Collection[TensorConfig]) -> None:
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
    configs = [tensor_config("weight", format) for format in listed]
    names = [config.format.name for config in configs]
    told = [
        name if names.count(name) == 1 else f"{name} {config.quantizer!r}{_per(config)}"
        for name, config in zip(names, configs, strict=True)
    ]
    return dict(zip(told, configs, strict=True))


def _per(config: TensorConfig) -> str:
    is_usual = config.per == role_defaults("weight", config.format)["per"]
    return "" if is_usual else f" per {config.per}"


# --- layers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """Layers whose weights are quantized together: they share them, or one rule holds for all."""

    names: tuple[str, ...]
    weights: tuple[tuple[nn.Parameter, Layout], ...]

    @property
    def name(self) -> str:
        return "|".join(self.names)

    @property
    def pattern(self) -> str:
        return "|".join(escape(name) or "*" for name in self.names)


def _groups(model: nn.Module) -> Iterator[_Group]:
    found: list[tuple[list[str], dict[int, tuple[nn.Parameter, Layout]]]] = []
    for name, module in model.named_modules():
        own = {id(weight): (weight, layout) for weight, layout in _weights(module)}
        shared = next((group for group in found if group[1].keys() & own.keys()), None)
        if shared is not None:
            shared[0].append(name)
            shared[1].update({key: own[key] for key in own.keys() - shared[1].keys()})
        elif own:
            found.append(([name], own))
    return (_Group(tuple(names), tuple(weights.values())) for names, weights in found)


def _weights(module: nn.Module) -> Iterator[tuple[nn.Parameter, Layout]]:
    """The parameters that a rule about the module would quantize."""
    if type(module) not in REGISTERED:
        return
    parts: list[tuple[Any, type[Quantized]]] = [(module, REGISTERED[type(module)])]
    if isinstance(module, nn.MultiheadAttention):
        parts.append((module.out_proj, QuantizedOutputProjection))
    for part, quantized in parts:
        for name, layout in quantized.weights.items():
            if getattr(part, name) is not None:
                yield getattr(part, name), layout


# --- measuring ---------------------------------------------------------------------------------------------------


def _row(measure: _Loss, group: _Group, name: str, config: TensorConfig) -> SensitivityRow:
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


@dataclass(frozen=True, slots=True)
class _Loss:
    """What the batches say of the model as it is."""

    model: nn.Module
    batches: list[Any]
    loss: Callable[[int], float]
    reference: float | None

    @classmethod
    def of(cls, model: nn.Module, batches: list[Any], loss: Loss | None) -> _Loss:
        if loss is None:
            outputs = [_output(model, batch) for batch in batches]

            def of_batch(index: int) -> float:
                return _distance(_output(model, batches[index]), outputs[index])
        else:

            def of_batch(index: int) -> float:
                return _number(loss(model, batches[index]))

        return cls(model, batches, of_batch, _mean(of_batch, len(batches)))

    def change(self, weights: Sequence[nn.Parameter], quantized: Sequence[Tensor]) -> float | None:
        """Of the mean, while the weights are quantized."""
        if self.reference is None:
            return None
        originals = [weight.detach().clone() for weight in weights]
        try:
            _copy(weights, quantized)
            mean = _mean(self.loss, len(self.batches))
        finally:
            _copy(weights, originals)
        return None if mean is None else mean - self.reference


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        told = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else told_value(value)
        raise TypeError(f"the loss is {told}; allowed: a number, for each batch") from None


def _mean(loss: Callable[[int], float], count: int) -> float | None:
    return math.fsum(map(loss, range(count))) / count if count else None


def _copy(weights: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


def _output(model: nn.Module, batch: Any) -> Tensor:
    arguments, options = _arguments(batch)
    try:
        output = model(*arguments, **options)
    except TypeError as error:
        _require_bindable(model, arguments, options, error)
        raise
    if isinstance(output, tuple):
        output = output[0]
    if not isinstance(output, Tensor):
        output = getattr(output, "logits", output)
    if not isinstance(output, Tensor):
        raise TypeError(f"the output of the model is {of_type(output)}; allowed without a loss: a tensor")
    return output


def _arguments(batch: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """What a model is called with, without a loss."""
    match batch:
        case Mapping():
            return (), batch
        case tuple() | list():
            return batch, {}
    return (batch,), {}


def _require_bindable(
    model: nn.Module, arguments: Sequence[Any], options: Mapping[str, Any], raised: TypeError
) -> None:
    """Tell if the model raised because it does not take a batch; batches of a DataLoader often have labels, too."""
    try:
        call = signature(model.forward)
    except (TypeError, ValueError):  # of what is not written in Python
        return
    try:
        call.bind(*arguments, **options)
    except TypeError as error:
        what = f"forward of {type(model).__name__} does not take what is in batches: {error}"
        allowed = "what the model takes, or for batches such as (x, y) loss=lambda model, batch: ..."
        raise TypeError(f"{what}; allowed: {allowed}") from raised


def _distance(output: Tensor, reference: Tensor) -> float:
    power = float(reference.double().square().sum())
    return float((output.double() - reference.double()).square().sum()) / power if power else 0.0


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
