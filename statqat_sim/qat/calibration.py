"""Scales that wait for data: of activations, after calibration; of weights, every so many steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

import torch
from torch import nn
from torch.distributed import ProcessGroup

from statqat_sim.qat.conversion import is_converted
from statqat_sim.qat.distributed import summed_over_processes
from statqat_sim.qat.modes import layers, quantizers, require_layers
from statqat_sim.qat.require import told_value
from statqat_sim.qat.statistics import told_of_no_numbers
from statqat_sim.qat.tensor_quantizer import TensorQuantizer

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _explained(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function, which says where batches go when it is given them."""

    @wraps(function)
    def checked(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            signature(function).bind(*arguments, **options)
        except TypeError as error:
            allowed = "run batches in its block: `with qat.calibrate(model): model(x)`"
            raise TypeError(f"calibrate(): {error}; {allowed}") from None
        return function(*arguments, **options)

    return checked


@_explained
@contextmanager
def calibrate(
    model: nn.Module, *, synchronise: bool = True, process_group: ProcessGroup | None = None
) -> Iterator[nn.Module]:
    """Run batches under it: at its end each static activation has the scale for all that came by.

    The model runs in the mode that it is in: call `model.eval()` first, else BatchNorm's statistics move and dropout
    acts.
    Nothing is quantized meanwhile, and what torch.compile made runs as it was written. Processes add up what they saw,
    so that all get the same scales, bit for bit: those of one process on all their batches. Every one of them must come
    here. NaN and infinities are left out; what nothing came by keeps no scale, and its layer says so when it is run.

    Args:
        model: a prepared model.
        synchronise: whether processes share what they saw.
        process_group: of those that share it; None: torch's default group, if there is one.

    Raises:
        TypeError: if `model` is none, `synchronise` no bool, or `process_group` none.
        ValueError: if the model is not prepared, or converted, or other processes have another one; if all that came by
            one, or a channel of it, is NaN or infinite: then the model is as it was.
    """
    require_layers(model)
    if is_converted(model):
        raise ValueError("the model is converted, and its scales are kept; allowed: what qat.prepare gave")
    if not isinstance(synchronise, bool):
        raise TypeError(f"synchronise is {told_value(synchronise)}; allowed: True or False")
    if not isinstance(process_group, ProcessGroup | None):
        raise TypeError(f"process_group is {told_value(process_group)}; allowed: what torch.distributed.new_group gave")
    found = dict(quantizers(model))
    modes = {name: quantizer.mode for name, quantizer in found.items()}
    seen = {name: quantizer.statistics for name, quantizer in found.items()}
    for quantizer in found.values():
        quantizer.mode, quantizer.statistics = "calibrate", None
    try:
        with _uncompiled():
            yield model
        calibrated = {name: quantizer for name, quantizer in found.items() if quantizer.is_calibrated}
        if synchronise and calibrated:
            _sum(calibrated, process_group)
        _require_numbers(calibrated.values())
    except BaseException:
        for name, quantizer in found.items():
            quantizer.statistics = seen[name]
        raise
    finally:
        for name, quantizer in found.items():
            quantizer.mode = modes[name]
    for quantizer in calibrated.values():
        quantizer.choose_from_statistics()
    for layer in (layer for _, layer in layers(model)):
        layer.choose_weight_scales(lambda quantizer: not quantizer.is_ready)


def _uncompiled() -> AbstractContextManager[object]:
    """Without compiled code: what kernels count cannot be traced. torch's compiler is not imported for it."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _sum(found: Mapping[str, TensorQuantizer], group: ProcessGroup | None) -> None:
    """Give quantizers what those of all processes saw together."""
    device = next(quantizer.device for quantizer in found.values())
    seen = summed_over_processes({name: quantizer.statistics for name, quantizer in found.items()}, device, group)
    for name, statistics in seen.items():
        found[name].statistics = statistics


def _require_numbers(found: Iterable[TensorQuantizer]) -> None:
    """Check that each has seen a number, in every channel, or nothing at all."""
    told = [(each.name or "a quantizer", told_of_no_numbers(each.statistics)) for each in found]
    if problems := [f"{name}: {problem}" for name, problem in told if problem]:
        raise ValueError("\n".join(problems))


def choose_weight_scales(model: nn.Module) -> None:
    """Choose the kept scales of all weights anew, learned ones too: for weights that were written by hand.

    Those that come through `load_state_dict` get theirs without it. Of weights that are spread over processes all of
    them call it.

    Raises:
        TypeError: if `model` is none.
        ValueError: if the model is not prepared.
    """
    for layer in require_layers(model).values():
        layer.choose_weight_scales(lambda quantizer: True)


def step(model: nn.Module) -> None:
    """After `optimizer.step()`, where weights have `update_every` above 1: their scales are chosen when it is time.

    A channel's scale stays where another would take off less than a third of its squared error: a grid that moves costs
    the weights what they have learned of it.

    Raises:
        TypeError: if `model` is none.
        ValueError: if the model is not prepared.
    """
    found = require_layers(model).values()
    for quantizer in (quantizer for _, quantizer in quantizers(model)):
        quantizer.steps += 1
    for layer in found:
        layer.update_weight_scales()
