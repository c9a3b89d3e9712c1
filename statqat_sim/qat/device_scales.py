"""MinMax where a tensor lies: a forward on a device does not wait for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from statqat_sim.quantizer.base import reduced_axes
from statqat_sim.quantizer.levels import ends
from statqat_sim.quantizer.minmax import parts
from statqat_sim.quantizer.representable import LARGEST
from statqat_sim.spec.encode import NegativeInput
from statqat_sim.spec.number import NumberFormat


def minmax_scale(x: Tensor, format: NumberFormat, channel_axis: int | None) -> Tensor:
    """What `MinMax().fit` gives, bit for bit, by torch's operations."""
    axes = reduced_axes(x.ndim, channel_axis)
    if not x.numel():
        return torch.ones([1 if axis in axes else size for axis, size in enumerate(x.shape)], device=x.device)
    finite = torch.where(torch.isfinite(x), x, 0).to(torch.float64)
    low, high = (finite.amin(axes, True), finite.amax(axes, True)) if axes else (finite, finite)
    if format.min >= 0 and format.encode.negative_input is NegativeInput.ABS:
        high = torch.maximum(high, -low)
    least, greatest = ends(format)
    sides = [(high, greatest)] if greatest > 0 else []
    sides += [(-low, -least)] if least < 0 else []
    needed = torch.stack([_smallest_scale(extreme.clamp(min=0), limit) for extreme, limit in sides]).amax(0)
    return torch.where(needed > 0, needed, 1.0)


def _smallest_scale(extreme: Tensor, limit: float) -> Tensor:
    """The smallest float32 s with s · limit >= extreme exactly; step by step as `quantizer.minmax` does it."""
    largest, (upper, lower) = LARGEST, parts(limit)
    scale = (extreme / limit).to(torch.float32).clamp(max=largest)
    above = torch.nextafter(scale, torch.full_like(scale, math.inf)).clamp(max=largest)
    wide = scale.to(torch.float64)
    return torch.where(extreme - wide * upper > wide * lower, above, scale)
