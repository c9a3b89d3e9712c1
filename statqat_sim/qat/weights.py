"""Weights that come after their quantizers: kept scales are chosen anew, unless they were loaded with them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from statqat_sim.qat.holders import places_of
from statqat_sim.qat.marks import Arrival, mark_of
from statqat_sim.qat.tensor_quantizer import TensorQuantizer


class Before(NamedTuple):
    """Of a weight that may be loaded next.

    Args:
        sharers: the quantizers that keep a scale for it.
        mark: of what it is now; None where nobody asks, which spares the sum.
    """

    sharers: list[TensorQuantizer]
    mark: int | None


def is_unattended(quantizer: TensorQuantizer, weight: Tensor) -> bool:
    """Whether a weight has changed beside a scale with a schedule that nobody followed."""
    was = quantizer.chosen
    if quantizer.steps or was.weight is None or was.scale != mark_of(quantizer.scale):
        return False
    return was.weight != mark_of(weight)


def _is_trained(quantizer: TensorQuantizer) -> bool:
    """Whether a learned scale is another one than was chosen for the weight."""
    was = quantizer.chosen.scale
    return quantizer.is_learned and quantizer.is_ready and was is not None and was != mark_of(quantizer.scale)


def before_load(quantizer: TensorQuantizer, weight: Tensor | None, call: list[str]) -> Before:
    """What there is to know of a weight that may be loaded next, in this call of a model's `load_state_dict`."""
    sharers = _sharers(quantizer, weight)
    is_asked = any(each.loaded_beside is not None or each.arrival.call is call for each in sharers)
    return Before(sharers, mark_of(weight) if is_asked or isinstance(weight, DTensor) else None)


def weight_came(weight: Tensor, before: Before, call: list[str]) -> None:
    """See to all scales of a weight that was loaded.

    A state has a weight that is shared, or that of a shared module, by each of its names: what came by a later name
    leaves scales alone that were loaded for the weight, and those that were chosen for the same values.
    """
    for each in before.sharers:
        came_before = each.arrival.call is call
        if not (came_before and (each.arrival.has_scale or before.mark == mark_of(weight))):
            each.arrival = Arrival(call, _follow(each, weight, before.mark))


def _sharers(quantizer: TensorQuantizer, weight: Tensor | None) -> list[TensorQuantizer]:
    """The quantizers that keep a scale for a weight, its own and those of other layers that hold it now."""
    places = places_of(weight, quantizer.holders)
    found = [quantizer, *(module._modules.get(f"{name}_quantizer") for module, name in places)]
    return [each for each in dict.fromkeys(found) if isinstance(each, TensorQuantizer) and each.stores_scale]


def _came_untrained(quantizer: TensorQuantizer, weight: Tensor) -> None:
    """Note that a learned scale which came with its weight is what would be chosen for it: nobody has trained it."""
    if not quantizer.is_learned or isinstance(weight, DTensor):
        return
    if quantizer.scale is not None and torch.equal(quantizer.scale, quantizer.choice(weight)):
        quantizer.remember_choice(weight)


def _follow(quantizer: TensorQuantizer, weight: Tensor, before: int | None) -> bool:
    """Choose the scale anew; not where it was loaded for this weight just before, which is told.

    Libraries of checkpoints load weights and scales in either order: where nothing has changed the weight since its
    scale was loaded, both are of one checkpoint. Of weights that are spread over processes the scale waits for a call
    that all processes come to.
    """
    beside, quantizer.loaded_beside = quantizer.loaded_beside, None
    if weight.is_meta:
        return False
    if beside is not None and beside == before:
        _came_untrained(quantizer, weight)
        return True
    if isinstance(weight, DTensor):
        quantizer.is_ready = False
    else:
        is_lost = quantizer.is_lost or _is_trained(quantizer)
        quantizer.choose(weight)
        quantizer.is_lost = is_lost  # which a qat state that comes after the weights makes good
    return False
