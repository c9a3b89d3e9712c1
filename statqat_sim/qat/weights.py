"""Weights that come after their quantizers: kept scales are chosen anew, unless they were loaded with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from statqat_sim.qat.tensor_quantizer import TensorQuantizer


def version_of(weight: Tensor | None) -> int | None:
    """A number that grows with every change in place; None where torch counts none."""
    if isinstance(weight, DTensor):
        weight = weight._local_tensor
    return None if weight is None or weight.is_inference() else weight._version


def weight_came(quantizer: TensorQuantizer, weight: Tensor, before: int | None) -> None:
    """See to the scale of a weight that was loaded, and to those of other layers that share the weight.

    Args:
        quantizer: the layer's whose weight it is.
        weight: as it is now.
        before: its version before it was loaded.
    """
    if before is not None and quantizer.came_with == before:  # a state has it by the other layer's name, too
        quantizer.came_with = None
        return
    for each in quantizer.sharers or (quantizer,):
        _follow(each, weight, before)
        each.came_with = None if each is quantizer else version_of(weight)


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
        quantizer.choose(weight)
