"""Weights that come after their quantizers: kept scales are chosen anew, unless they were loaded with them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor
from torch.distributed.tensor import DTensor

from statqat_sim.qat.sums import sum_of

if TYPE_CHECKING:
    from statqat_sim.qat.tensor_quantizer import TensorQuantizer


def mark_of(weight: Tensor | None) -> int | None:
    """A number that is another one when the weight has changed; None where there are no values.

    It is a checksum, as torch's count of changes misses those by fused optimizers, by `.data` and in copies. Of weights
    that are spread over processes it is the count, which all processes agree on: some have shards of nothing.
    """
    if weight is None or weight.is_meta:
        return None
    if isinstance(weight, DTensor):
        return None if weight.is_inference() else weight._version
    return sum_of(weight.detach().cpu())


class Chosen(NamedTuple):
    """The marks of a weight, and of the scale that was chosen for it; None where nobody asks."""

    weight: int | None = None
    scale: int | None = None


def chosen(quantizer: TensorQuantizer, weight: Tensor) -> Chosen:
    """What is remembered of a choice that was just made."""
    is_scheduled = quantizer.config.update_every > 1 and not quantizer.is_learned
    if quantizer.role != "weight" or not (is_scheduled or quantizer.is_learned):
        return Chosen()
    return Chosen(mark_of(weight) if is_scheduled else None, mark_of(quantizer.scale))


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


def warn_of_loss(quantizer: TensorQuantizer) -> None:
    """Tell, once, that a learned scale was trained and is no more."""
    quantizer.is_lost = False
    what = "weights were loaded without the scales that were learned with them, and others were chosen in their place"
    warnings.warn(f"{what}; load what qat.state_dict gave, too", UserWarning, stacklevel=2)


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


def _follow(quantizer: TensorQuantizer, weight: Tensor, before: int | None) -> None:
    """Choose the scale anew; not where it was loaded for this weight just before.

    Libraries of checkpoints load weights and scales in either order: where nothing has changed the weight since its
    scale was loaded, both are of one checkpoint. Of weights that are spread over processes the scale waits for a call
    that all processes come to.
    """
    beside, quantizer.loaded_beside = quantizer.loaded_beside, None
    if (beside is not None and beside == before) or not quantizer.stores_scale or weight.is_meta:
        return
    if isinstance(weight, DTensor):
        quantizer.is_ready = False
    else:
        is_lost = quantizer.is_lost or _is_trained(quantizer)
        quantizer.choose(weight)
        quantizer.is_lost = is_lost  # which a qat state that comes after the weights makes good
