"""When the scales of weights that train are chosen anew: not where the ones that are there are nearly as good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

GAIN: Final = 1 / 3
"""Of a scale's squared error, what another must take off to be worth it. A scale that moves rounds all weights of its
channel anew, and what they have learned of the old grid is lost; where many scales are nearly as good, as in formats
with exponents, the best one jumps about while weights hardly move. None, 0.1 and this were tried in `bench.qat_study`'s
training, on two seeds of their own."""


class Update(NamedTuple):
    """Scales that stay, and squared errors, each of what shares a scale: under the scales so far, and under these."""

    scale: Tensor
    before: Tensor
    after: Tensor

    @property
    def is_worth_it(self) -> bool:
        """Whether it takes off enough of the error of all together."""
        return bool((1 - GAIN) * self.before.sum() > self.after.sum())


def updated(weight: Tensor, held: Tensor, chosen: Tensor, quantize: Callable[[Tensor, Tensor], Tensor]) -> Update:
    """Of each channel's two scales the one that stays.

    Args:
        weight: what is quantized.
        held: the scales so far, in a shape that broadcasts against the weight.
        chosen: those that a quantizer gives the weight as it is now, in the same shape.
        quantize: what becomes of the weight under scales.
    """
    before, after = (_squared_errors(weight, quantize(weight, scale), scale) for scale in (held, chosen))
    stays = (1 - GAIN) * before <= after  # NaN is never good enough
    return Update(torch.where(stays, held, chosen), before, torch.where(stays, before, after))


def _squared_errors(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """Sums over what shares a scale, in the scale's shape; in float64, of which the order of sums is no matter here."""
    shape = (*[1] * (x.ndim - scale.ndim), *scale.shape)
    axes = [axis for axis, size in enumerate(shape) if size == 1]
    errors = (x.double() - y.double()).square()
    return (errors.sum(axes, keepdim=True) if axes else errors).reshape(scale.shape)
