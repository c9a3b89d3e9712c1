"""Scales of weights that a schedule was to choose anew, which nobody followed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from torch import Tensor, nn

from statqat_sim.qat.modes import layers
from statqat_sim.qat.require import naming
from statqat_sim.qat.tensor_quantizer import TensorQuantizer, whole
from statqat_sim.qat.weights import is_unattended


def warn_of_stale_scales(model: nn.Module) -> None:
    """Tell of weights that were trained, with `update_every` above 1, and without `qat.step`."""
    stale = list(_stale(model))
    if stale:
        what = f"{', '.join(stale)}: the scales are those of other weights, and qat.step was never called"
        told = "call it after optimizer.step() where update_every is above 1, or qat.choose_weight_scales(model) now"
        warnings.warn(f"{what}; {told}", UserWarning, stacklevel=3)


def _stale(model: nn.Module) -> Iterator[str]:
    for name, layer in layers(model):
        for parameter, quantizer in layer.weight_quantizers():
            told = f"{name}.{parameter}".removeprefix(".")
            with naming(told):
                is_stale = _is_stale(quantizer, getattr(layer, parameter))
            if is_stale:
                yield f"{told}_quantizer"


def _is_stale(quantizer: TensorQuantizer, weight: Tensor) -> bool:
    """Whether the schedule would have brought a better scale: a cast also changes a weight, and matters little."""
    if quantizer.kept_scale is None or quantizer.chosen.weight is None:
        return False
    weight = whole(weight)
    return is_unattended(quantizer, weight) and quantizer.update_for(weight).is_worth_it
