"""Calls of other libraries that quantize blocks. Each library is imported on first use."""

from __future__ import annotations

import statistics

import torch

from bench.loops import Array
from bench.pairs import Call, seconds

BLOCK = 32
TRIALS = 3


def on_fastest_threads(call: Call, most: int) -> Call:
    """The call on one torch thread or on `most`, whichever is faster.

    Torch's threads wait for each other: if another process uses a core, two can take many times as long as one.
    """

    def on(threads: int) -> None:
        torch.set_num_threads(threads)
        call()

    def taken(threads: int) -> float:
        return statistics.median(seconds(lambda: on(threads)) for _ in range(TRIALS))

    fastest = min((1, most), key=taken) if most > 1 else 1
    return lambda: on(fastest)


def to_mx(x: Array, element: str) -> tuple[Array, Array]:
    """Torchao's scales and elements as bytes; `element` names a torch dtype."""
    from torchao.prototype.mx_formats.mx_tensor import ScaleCalculationMode
    from torchao.prototype.mx_formats.mx_tensor import to_mx as convert

    scales, elements = convert(torch.from_numpy(x), getattr(torch, element), BLOCK, ScaleCalculationMode.FLOOR)
    return _octets(scales), _octets(elements)


def to_nvfp4(x: Array) -> tuple[Array, Array, Array]:
    """Torchao's tensor scale, float32, then its block scales and packed elements as bytes."""
    from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale

    data = torch.from_numpy(x)
    whole = per_tensor_amax_to_scale(torch.amax(torch.abs(data)))
    scales, elements = nvfp4_quantize(data, per_tensor_scale=whole)
    return whole.numpy(), _octets(scales), _octets(elements)


def microxcaling(x: Array) -> Array:
    """Values rounded to MXFP4 by a checkout of microxcaling on `sys.path`."""
    from mx.mx_ops import quantize_mx_op
    from mx.specs import finalize_mx_specs

    specs = finalize_mx_specs(
        {"w_elem_format": "fp4", "a_elem_format": "fp4", "block_size": BLOCK, "custom_cuda": False}
    )
    values: Array = quantize_mx_op(torch.from_numpy(x), specs, elem_format="fp4_e2m1", axes=[-1]).numpy()
    return values


def _octets(tensor: torch.Tensor) -> Array:
    octets: Array = tensor.contiguous().view(torch.uint8).numpy()
    return octets
