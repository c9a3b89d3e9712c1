"""Layers whose product an accelerator makes, for tests of these."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from statqat_sim import qat

E4M3, WGMMA, IDEAL = "float8_e4m3fn", "nvidia_h100/wgmma.e4m3.f32", "ideal/dot.e4m3.f32"
PROMOTED = {"accelerator": "nvidia_h100", "instruction": "wgmma.e4m3.f32", "promote_every": 32}
MXFP8, NVFP4 = "nvidia_b200/mxf8f6f4.e4m3.f32", "nvidia_b200/mxf4nvf4.e2m1.f32"
DYNAMIC = {"format": E4M3, "quantizer": "minmax", "dynamic": True}


def net() -> nn.Sequential:
    """Two layers, of which one has a bias."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(96, 48), nn.GELU(), nn.Linear(48, 10, bias=False))


def prepared(model: nn.Module, matmul: Any = WGMMA, weight: Any = E4M3, input: Any = None) -> Any:
    """The same model."""
    return qat.prepare(model, qat.QATConfig(weight=weight, input=input or DYNAMIC, matmul=matmul))


def batch(*shape: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def matmul_config(spelled: Any) -> Any:
    """What a configuration reads."""
    return qat.QATConfig(weight=E4M3, input=E4M3, matmul=spelled).rules[0].layer.matmul
