"""Matrix instructions on a GPU, beside torch's float32 product of matrices of the same shape as a yardstick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch

import statqat_sim as sqs
from bench import matmul_cases
from bench.gpu_cases import GpuCase, GpuData
from bench.pairs import Call
from bench.report import Section

LARGEST_SIDE: Final = 2048
CASES: Final = (
    *((case.accelerator, case.instruction, case.format) for case in matmul_cases.CASES),
    ("nvidia_h100", "mma.bf16.f32", "bfloat16"),
    ("amd_mi300x", "mfma.fp8.f32", "float8_e4m3fnuz"),
    ("ideal", "dot.e4m3.f32", "float8_e4m3fn"),
)
"""Accelerator, instruction, format of both operands."""


def matmuls(data: GpuData) -> Iterator[GpuCase]:
    """Products of square matrices of codes."""
    side = min(LARGEST_SIDE, 1 << (data.count.bit_length() - 1) // 2)
    x = data.x.reshape(-1)[: side * side].reshape(side, side)
    product = torch.empty_like(x)
    for device, instruction, format in CASES:
        codes = sqs.Codec(sqs.load_format(format)).encode(x)
        options = {"instruction": instruction, "a_format": format, "b_format": format}
        yield GpuCase(
            section=Section.LIBRARIES,
            name=f"{device} {instruction}, {side}^3",
            operations=side**3,
            peer_name="torch matmul of float32",
            ours=_multiplied(sqs.load_accelerator(device), codes, options),
            peer=lambda: torch.matmul(x, x, out=product),
        )


def _multiplied(accelerator: Any, codes: torch.Tensor, options: dict[str, str]) -> Call:
    return lambda: accelerator.matmul(codes, codes, **options)
