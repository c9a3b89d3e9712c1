"""The matrix products that are measured, and their promised speeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROMISED_RATIO: Final = 150.0
"""Promised ratio, MMA-Sim's time / ours."""


@dataclass(frozen=True, slots=True)
class Case:
    """One instruction of an accelerator with operands of one format."""

    accelerator: str
    instruction: str
    format: str
    promised: float
    """Promised multiply-adds per second and thread."""

    @property
    def name(self) -> str:
        return f"{self.accelerator} {self.instruction}"


CASES: Final = (
    Case("nvidia_h100", "mma.f16.f32", "float16", 1.2e9),
    Case("nvidia_h100", "wgmma.e4m3.f32", "float8_e4m3fn", 1.2e9),
    Case("nvidia_b200", "mxf4nvf4.e2m1.f32", "float4_e2m1fn", 3e8),
)
