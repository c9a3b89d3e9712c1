"""Prepared models into converted ones: codes in place of parameters, scales that stay, and not a bit of difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import is_pruned

from statqat_sim.errors import shown
from statqat_sim.geometry import is_whole_array
from statqat_sim.qat.config_rules import OF_GRADIENTS, quantizer_name
from statqat_sim.qat.holders import places_of
from statqat_sim.qat.keys import is_stochastic
from statqat_sim.qat.modes import layers, quantizers, require_quantizers
from statqat_sim.qat.modules import Quantized
from statqat_sim.qat.packed import PackedWeight
from statqat_sim.qat.require import naming, require_values
from statqat_sim.qat.stale import warn_of_stale_scales
from statqat_sim.qat.tensor_quantizer import TensorQuantizer
from statqat_sim.qat.weights import sharers_of
from statqat_sim.spec.block import BlockFormat

Model = TypeVar("Model", bound=nn.Module)

GATHER = (
    "load what get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)) of "
    "torch.distributed.checkpoint.state_dict and qat.state_dict(model) give into a model that is prepared alike, "
    "and convert that"
)


NOTHING = (
    "only gradients are quantized: there is nothing to convert, and a float model made alike takes model.state_dict()"
)


class _Job(NamedTuple):
    """A parameter that becomes the codes of `settled`, which is what lookups will have made of it."""

    name: str
    layer: Quantized
    parameter: str
    quantizer: TensorQuantizer
    weight: Tensor
    settled: Tensor


def convert(model: Model) -> Model:
    """Replace quantized parameters by the codes of their formats, in place, and keep the scales of activations.

    Forward gives what it gave before, bit for bit: each weight is decoded and compared before anything is changed. Rows
    that an embedding's `max_norm` has lookups shrink are shrunk. Formats that round at random do so once, here.
    Parameters that layers share become codes that they share. There is no training afterwards: quantizers of gradients
    go, and so do statistics. Weights that no format was given stay what they are. A model of which a part is converted
    is converted to the end; of modules outside of that part those are known that held its weights when the whole was
    prepared, and hold them still.

    Args:
        model: a prepared model.

    Returns:
        The same model. Its `state_dict` has `packed_weight.codes` and `.scale` (of blocks: what the format stores; of
        `quantizer: none`: no scale) where `weight` was, and the scales of inputs and outputs; each beside the name and
        the hash of its format, so that `load_state_dict` refuses those of another. `weight` can still be read: each
        time it is decoded anew, and what is written into that tensor is lost.

    Raises:
        TypeError: if `model` is none.
        ValueError: if the model is not prepared, quantizes gradients alone, is converted already, is spread over
            processes or has no values, has quantizers in mode "float", weights that are no parameters, or rows that
            lookups have yet to shrink where other rows or layers would feel it; if a format refuses a weight's NaN.
        RuntimeError: if scales are missing: every one is named; if codes do not give a weight's bits. In all cases the
            model and torch's generator are as they were.

    Warns:
        UserWarning: if weights with `update_every` above 1 have left their scales behind, and `step` was never called.
    """
    _require_prepared(model)
    warn_of_stale_scales(model)
    with torch.inference_mode(False), torch.no_grad():
        jobs = list(_jobs(model))
        with _unchanged_if_refused(jobs):
            codes = _packed(jobs)
        for job, packed in zip(jobs, codes, strict=True):
            put(job.layer, job.parameter, packed)
            for other in sharers_of(job.quantizer, job.weight):  # whose layers may be converted later
                other.became += ((job.weight, packed),)
        for layer in unconverted(model).values():
            freeze(layer)
    return model


def put(layer: Quantized, parameter: str, packed: PackedWeight) -> None:
    """Let a layer compute with codes in place of a parameter."""
    del layer._parameters[parameter]
    del layer._modules[f"{parameter}_quantizer"]
    layer.add_module(f"packed_{parameter}", packed)


def freeze(layer: Quantized) -> None:
    """Make the scales of what enters and leaves part of the layer's state; gradients are quantized no more."""
    for role in OF_GRADIENTS:
        layer._modules.pop(quantizer_name(role), None)
    for _, quantizer in layer.quantizers():
        scale, quantizer.statistics = quantizer.kept_scale, None
        quantizer.is_persistent = True
        if scale is not None:
            del quantizer.scale
            quantizer.register_buffer("scale", scale.detach().clone())
        quantizer.stamp(quantizer.config.format, quantizer.device)


def unconverted(model: nn.Module) -> dict[str, Quantized]:
    """The layers that `convert` has yet to change, by their qualified names."""
    return {name: layer for name, layer in layers(model) if any(not one.is_persistent for _, one in layer.quantizers())}


def is_converted(model: nn.Module) -> bool:
    """Whether `convert` has been here, or in a part of the model."""
    frozen = any(quantizer.is_persistent for _, quantizer in quantizers(model))
    return frozen or any(True for _ in packed_weights(model))


def quantizes_gradients_alone(model: nn.Module) -> bool:
    """Whether forward is that of a float model."""
    roles = {quantizer.role for _, quantizer in quantizers(model)}
    return bool(roles) and roles <= {*OF_GRADIENTS} and not is_converted(model)


def packed_weights(model: nn.Module) -> Iterator[tuple[str, str, PackedWeight]]:
    """The packed weights of a converted model: the layer's qualified name, the parameter, and the codes."""
    for name, layer in layers(model):
        for parameter in layer.weights:
            packed = layer._modules.get(f"packed_{parameter}")
            if isinstance(packed, PackedWeight):
                yield name, parameter, packed


def _require_prepared(model: nn.Module) -> None:
    if is_converted(model) and not unconverted(model):
        raise ValueError("the model is converted already")
    found = {name: each for name, each in require_quantizers(model).items() if not each.is_persistent}
    if quantizes_gradients_alone(model):
        raise ValueError(NOTHING)
    if spread := [name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)]:
        raise ValueError(f"{shown(spread[0])} is spread over processes; {GATHER}")
    require_values(model)
    if floats := [name for name, quantizer in found.items() if quantizer.mode != "quantize"]:
        told = shown(", ".join(floats))
        raise ValueError(f'{told}: not in mode "quantize"; call qat.set_mode(model, "quantize") first')
    missing = [name for name, each in found.items() if each.stores_scale and not each.is_ready]
    if missing := [name for name in missing if found[name].role not in OF_GRADIENTS]:
        what = "run batches under `with qat.calibrate(model):`, or configure `dynamic: true`"
        raise RuntimeError("\n".join(f"{name}: there is no scale yet; {what}" for name in missing))


def _jobs(model: nn.Module) -> Iterator[_Job]:
    """All parameters that become codes; what only their encoding refuses is yet to come."""
    modules = list(model.modules())
    for name, layer in layers(model):
        for parameter, quantizer in layer.weight_quantizers():
            told = f"{name}.{parameter}".removeprefix(".")
            if parameter not in layer._parameters:
                raise ValueError(_computed(told, layer, parameter))
            weight, settled = getattr(layer, parameter), layer.settled(parameter)
            if settled is not weight and not same_bits(settled, weight):
                held = {*places_of(weight, modules), *places_of(weight, quantizer.holders)}
                _require_alone(told, weight, quantizer, is_shared=len(held) > 1)
            yield _Job(told, layer, parameter, quantizer, weight, settled)


def _computed(name: str, layer: nn.Module, parameter: str) -> str:
    if is_parametrized(layer, parameter):
        by, call = "a parametrization", f"torch.nn.utils.parametrize.remove_parametrizations(layer, {parameter!r})"
    elif is_pruned(layer):
        by, call = "pruning", f"torch.nn.utils.prune.remove(layer, {parameter!r})"
    else:
        by, call = "a hook, such as weight_norm's,", "torch.nn.utils.remove_weight_norm or its like"
    return f"{name} is no parameter: {by} computes it; allowed: parameters; call {call} first"


def _require_alone(name: str, weight: Tensor, quantizer: TensorQuantizer, *, is_shared: bool) -> None:
    """Check that nothing else depends on which channels of a weight forward has changed so far."""
    if is_shared:
        why = "other layers share the weight"
    elif _have_common_scale(quantizer):
        why = f"rows have a scale of {quantizer.config.format.name} in common"
    else:
        return
    what = f"{name}: lookups would still shrink rows to max_norm, and {why}"
    call = f"layer(torch.arange({len(weight)}, device={str(weight.device)!r}))"
    raise ValueError(f"{what}; shrink all first: repeat `{call}`, as each time rounds, until convert takes it")


def _have_common_scale(quantizer: TensorQuantizer) -> bool:
    """Whether the values of one channel have a say in what others are quantized to."""
    format = quantizer.config.format
    if isinstance(format, BlockFormat):
        return any(isinstance(level.block, tuple) or is_whole_array(level.block) for level in format.scales)
    return quantizer.is_recomputed and quantizer.channel_axis is None


@contextmanager
def _unchanged_if_refused(jobs: Sequence[_Job]) -> Iterator[None]:
    """Wind torch's generator back, and have lost scales told of again, where codes cannot be made of all."""
    state, lost = torch.get_rng_state(), [job.quantizer for job in jobs if job.quantizer.is_lost]
    try:
        yield
    except BaseException:
        torch.set_rng_state(state)
        for quantizer in lost:
            quantizer.is_lost = True
        raise


def _packed(jobs: Sequence[_Job]) -> list[PackedWeight]:
    """The codes of every parameter: the same ones for those that are shared, and quantized alike."""
    known: dict[int, list[PackedWeight]] = {}
    seeds: dict[tuple[int, str], Tensor | None] = {}
    found = []
    for job in jobs:
        seed = seeds.setdefault((id(job.weight), job.quantizer.format_key), job.quantizer.draw_seed())
        with naming(job.name):
            codes = _codes(job.name, job.settled, job.quantizer, seed)
        converted = [packed for weight, packed in job.quantizer.became if weight is job.weight]
        alike = known.setdefault(id(job.weight), converted)
        codes = next((other for other in alike if _is_same(codes, other)), codes)
        alike.append(codes)
        found.append(codes)
    return found


def _codes(name: str, weight: Tensor, quantizer: TensorQuantizer, seed: Tensor | None) -> PackedWeight:
    """The codes of a weight, which are proven to give what the quantizer gives."""
    options: dict[str, Any] = {"format": quantizer.config.format, "axis": quantizer.layout.axis}
    packed = PackedWeight.of(weight, quantizer.scale_for(weight), seed, **options)
    if not is_stochastic(quantizer.config.format) and not same_bits(packed(), quantizer(weight)):
        raise RuntimeError(f"{name}: codes of {quantizer.config.format.name} do not give the quantized weight's bits")
    return packed


def _is_same(one: PackedWeight, other: PackedWeight) -> bool:
    if one.packing != other.packing:
        return False
    return all(same_bits(*pair) for pair in zip(one.arrays(), other.arrays(), strict=True))


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one dtype have the same bytes in C order."""
    ours, theirs = (each.contiguous().reshape(-1) for each in (one, other))
    return not ours.numel() or torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8))
