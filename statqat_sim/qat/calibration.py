"""Scales that wait for data: of activations, after calibration; of weights, every so many steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.distributed import ProcessGroup

from statqat_sim.qat.distributed import summed_over_processes
from statqat_sim.qat.modes import layers, quantizers
from statqat_sim.qat.tensor_quantizer import TensorQuantizer


@contextmanager
def calibrate(
    model: nn.Module, *, synchronise: bool = True, process_group: ProcessGroup | None = None
) -> Iterator[nn.Module]:
    """Run batches under it: at its end each static activation has the scale for all that came by.

    Nothing is quantized meanwhile, and what torch.compile made runs as it was written. Processes add up what they saw,
    so that all get the same scales, bit for bit: those of one process on all their batches. Every one of them must come
    here.

    Args:
        model: a prepared model.
        synchronise: whether processes share what they saw.
        process_group: of those that share it; None: torch's default group, if there is one.

    Raises:
        ValueError: if the model is not prepared, or other processes have another one.
    """
    if not any(True for _ in layers(model)):
        raise ValueError("the model has no quantized layer; allowed: what qat.prepare gave")
    found = dict(quantizers(model))
    modes = {name: quantizer.mode for name, quantizer in found.items()}
    for quantizer in found.values():
        quantizer.mode, quantizer.statistics = "calibrate", None
    try:
        with _uncompiled():
            yield model
    finally:
        for name, quantizer in found.items():
            quantizer.mode = modes[name]
    calibrated = {name: quantizer for name, quantizer in found.items() if quantizer.is_calibrated}
    _choose(calibrated, synchronise, process_group)
    for layer in (layer for _, layer in layers(model)):
        layer.choose_weight_scales(lambda quantizer: not quantizer.is_ready)


def _uncompiled() -> AbstractContextManager[object]:
    """Without compiled code: what kernels count cannot be traced. torch's compiler is not imported for it."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _choose(found: Mapping[str, TensorQuantizer], synchronise: bool, group: ProcessGroup | None) -> None:
    if synchronise and found:
        device = next(quantizer.device for quantizer in found.values())
        seen = summed_over_processes({name: quantizer.statistics for name, quantizer in found.items()}, device, group)
        for name, statistics in seen.items():
            found[name].statistics = statistics
    for quantizer in found.values():
        quantizer.choose_from_statistics()


def step(model: nn.Module) -> None:
    """After `optimizer.step()`, where weights have `update_every` above 1: their scales are chosen when it is time."""
    for quantizer in (quantizer for _, quantizer in quantizers(model)):
        quantizer.steps += 1
    for layer in (layer for _, layer in layers(model)):
        layer.choose_weight_scales(lambda quantizer: quantizer.is_due)
