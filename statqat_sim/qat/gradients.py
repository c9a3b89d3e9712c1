"""What the backward pass takes for the derivative of quantization, which is zero almost everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from statqat_sim.qat.keys import format_of
from statqat_sim.spec.number import NumberFormat

LEARNED = ("lsq", "lsq_features")
"""As operations know them: of weights, and of activations."""


def is_clipped(format: str, gradient: str) -> bool:
    """Whether the gradient depends on where x lies: block formats, whose scales follow x, pass everything."""
    return gradient != "ste" and isinstance(format_of(format), NumberFormat)


is_clipped._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch's compiler runs it while it traces


def gradient_of_input(gradient: Tensor, x: Tensor, scale: Tensor | None, format: str) -> Tensor:
    """The gradient where x / scale lies between the format's least and greatest value; zero beyond, and for NaN."""
    inside = _is_inside(_quotient(x, scale), format)
    if not torch.compiler.is_compiling() and gradient.is_sparse:  # of embeddings, which `where` does not take
        return gradient * inside.to(gradient.dtype)
    return torch.where(inside, gradient, 0)


def elements(shape: Sequence[int], gradient: str, axis: int) -> int:
    """What LSQ calls N: all elements of a weight; features of an activation, whose batches may be of any size."""
    return math.prod(shape if gradient == "lsq" else shape[axis:])


def gradient_of_scale(gradient: Tensor, x: Tensor, scale: Tensor, codes: Tensor, format: str, count: int) -> Tensor:
    """Σ gradient · (q - x / scale), or · q where x is clipped; divided by √(elements of a scale · Q_P).

    Source: Esser et al., Learned Step Size Quantization, ICLR 2020, equation 3 and section 2.2.

    Args:
        gradient: of the quantized tensor.
        x: what was quantized.
        scale: float32, in a shape that broadcasts against x.
        codes: q, the values of the format that stand for x / scale.
        format: its key.
        count: elements of all scales together, see `elements`.
    """
    quotient = _quotient(x, scale)
    inside = _is_inside(quotient, format)
    slopes = gradient.to(torch.float32) * torch.where(inside, codes - quotient, codes)
    each = count / max(scale.numel(), 1)
    return slopes.sum_to_size(scale.shape) / math.sqrt(max(each, 1) * _positive_limit(format))


def _quotient(x: Tensor, scale: Tensor | None) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide if scale is None else wide / scale


def _is_inside(quotient: Tensor, format: str) -> Tensor:
    least, greatest = _limits(format)
    return (quotient >= least) & (quotient <= greatest)


def _limits(format: str) -> tuple[float, float]:
    spec = format_of(format)
    assert isinstance(spec, NumberFormat)  # `is_clipped` asks
    return spec.min, spec.max


_limits._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _positive_limit(format: str) -> float:
    """Q_P: the greatest value; of a format without any above zero the magnitude of the least."""
    least, greatest = _limits(format)
    return greatest if greatest > 0 else -least
