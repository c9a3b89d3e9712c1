"""Numbers that tell whether a weight or its scale has changed since they were looked at."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.distributed.tensor import DTensor

from statqat_sim.qat.sums import sum_of


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
