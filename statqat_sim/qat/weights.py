"""Weights that come after their quantizers: kept scales are chosen anew, unless they were loaded with them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from statqat_sim.qat.marks import mark_of
from statqat_sim.qat.tensor_quantizer import TensorQuantizer


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


def mark_before(quantizer: TensorQuantizer, weight: Tensor | None) -> int | None:
    """The mark of a weight that may be loaded next; None where nobody asks, which spares the sum."""
    is_beside = any(each.loaded_beside is not None for each in quantizer.sharers or (quantizer,))
    return mark_of(weight) if is_beside or isinstance(weight, DTensor) else None


def weight_came(quantizer: TensorQuantizer, weight: Tensor, before: int | None) -> None:
    """See to the scale of a weight that was loaded, and to those of other layers that share the weight.

    Args:
        quantizer: the layer's whose weight it is.
        weight: as it is now.
        before: what `mark_before` gave before it was loaded.
    """
    if quantizer.came_with is not None and quantizer.came_with == _mark_between(weight, before):
        quantizer.came_with = None  # a state has it by the other layer's name, too
        return
    for each in quantizer.sharers or (quantizer,):
        _follow(each, weight, before)
        each.came_with = None if each is quantizer else mark_of(weight)


def _mark_between(weight: Tensor, before: int | None) -> int | None:
    """The mark after another layer's name and before this one's, which may bring a tensor of its own, or only count."""
    return before if isinstance(weight, DTensor) else mark_of(weight)


def _came_untrained(quantizer: TensorQuantizer, weight: Tensor) -> None:
    """Note that a learned scale which came with its weight is what would be chosen for it: nobody has trained it."""
    if not quantizer.is_learned or isinstance(weight, DTensor):
        return
    if quantizer.scale is not None and torch.equal(quantizer.scale, quantizer.choice(weight)):
        quantizer.remember_choice(weight)


def _follow(quantizer: TensorQuantizer, weight: Tensor, before: int | None) -> None:
    """Choose the scale anew; not where it was loaded for this weight just before.

    Libraries of checkpoints load weights and scales in either order: where nothing has changed the weight since its
    scale was loaded, both are of one checkpoint. Of weights that are spread over processes the scale waits for a call
    that all processes come to.
    """
    beside, quantizer.loaded_beside = quantizer.loaded_beside, None
    if not quantizer.stores_scale or weight.is_meta:
        return
    if beside is not None and beside == before:
        _came_untrained(quantizer, weight)
    elif isinstance(weight, DTensor):
        quantizer.is_ready = False
    else:
        is_lost = quantizer.is_lost or _is_trained(quantizer)
        quantizer.choose(weight)
        quantizer.is_lost = is_lost  # which a qat state that comes after the weights makes good
