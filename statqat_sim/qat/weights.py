"""Weights that come after their quantizers: kept scales are chosen anew, unless they were loaded with them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from statqat_sim.qat.holders import places_of
from statqat_sim.qat.marks import mark_of
from statqat_sim.qat.tensor_quantizer import TensorQuantizer


def is_unattended(quantizer: TensorQuantizer, weight: Tensor) -> bool:
    """Whether a weight has changed beside a scale with a schedule that nobody followed."""
    was = quantizer.chosen
    if quantizer.steps or was.weight is None or was.scale != mark_of(quantizer.scale):
        return False
    return was.weight != mark_of(weight)


def is_trained(quantizer: TensorQuantizer) -> bool:
    """Whether a learned scale is another one than was chosen for the weight."""
    was = quantizer.chosen.scale
    return quantizer.is_learned and quantizer.is_ready and was is not None and was != mark_of(quantizer.scale)


def mark_before(quantizer: TensorQuantizer, weight: Tensor | None) -> int | None:
    """The mark of a weight that may be loaded next; None where nobody asks, which spares the sum."""
    is_beside = any(each.loaded_beside is not None for each in sharers_of(quantizer, weight))
    return mark_of(weight) if is_beside else None


def weight_came(
    quantizer: TensorQuantizer, weight: Tensor, before: int | None, call: list[str], *, was_learned: bool
) -> None:
    """See to all scales of a weight that was loaded.

    A state has a weight that is shared, or that of a shared module, by each of its names: scales that were loaded for
    it stay through all of them.

    Args:
        quantizer: the layer's whose weight it is.
        weight: as it is now.
        before: what `mark_before` gave before it was loaded.
        call: of a model's `load_state_dict`, as the list of errors that torch gives each of its modules.
        was_learned: whether the state is of a model that had trained a scale with the weight.
    """
    for each in sharers_of(quantizer, weight):
        if each.stores_scale and each.kept_in is not call:
            each.kept_in = call if _follow(each, weight, before, was_learned=was_learned) else None


def sharers_of(quantizer: TensorQuantizer, weight: Tensor | None) -> list[TensorQuantizer]:
    """The quantizers of a weight: its own, and those of other layers that hold it now."""
    places = places_of(weight, quantizer.holders)
    found = [quantizer, *(module._modules.get(f"{name}_quantizer") for module, name in places)]
    return [each for each in dict.fromkeys(found) if isinstance(each, TensorQuantizer)]


def _came_untrained(quantizer: TensorQuantizer, weight: Tensor) -> None:
    """Note that a learned scale which came with its weight is what would be chosen for it: nobody has trained it."""
    if not quantizer.is_learned or isinstance(weight, DTensor):
        return
    if quantizer.scale is not None and torch.equal(quantizer.scale, quantizer.choice(weight)):
        quantizer.remember_choice(weight)


def _follow(quantizer: TensorQuantizer, weight: Tensor, before: int | None, *, was_learned: bool) -> bool:
    """Choose the scale anew; True: it stays, as it was loaded for this weight just before.

    Libraries of checkpoints load weights and scales in either order: where nothing has changed the weight since its
    scale was loaded, both are of one checkpoint; and so where the weight that came was there, as a layer of floats that
    shares it may have taken it. Of weights that are spread over processes the scale waits for a call that all processes
    come to.
    """
    beside, quantizer.loaded_beside = quantizer.loaded_beside, None
    if weight.is_meta:
        return False
    if beside is not None and before in (beside, mark_of(weight)):
        _came_untrained(quantizer, weight)
        return True
    if isinstance(weight, DTensor):
        quantizer.is_ready = False
    else:
        is_lost = quantizer.is_lost or is_trained(quantizer) or (was_learned and quantizer.is_learned)
        quantizer.choose(weight)
        quantizer.is_lost = is_lost  # which a qat state that comes after the weights makes good
    return False
