"""Which matrix products are measured, and what is promised of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROMISED_RATIO: Final = 150.0
"""MMA-Sim's time / ours."""


@dataclass(frozen=True, slots=True)
class Case:
    """One instruction of an accelerator with operands of one format."""

    accelerator: str
    instruction: str
    format: str
    promised: float
    """Multiply-adds per second and thread."""

    @property
    def name(self) -> str:
        return f"{self.accelerator} {self.instruction}"


CASES: Final = (
    Case("nvidia_h100", "mma.f16.f32", "float16", 1.2e9),
    Case("nvidia_h100", "wgmma.e4m3.f32", "float8_e4m3fn", 1.2e9),
    Case("nvidia_b200", "mxf4nvf4.e2m1.f32", "float4_e2m1fn", 3e8),
)
