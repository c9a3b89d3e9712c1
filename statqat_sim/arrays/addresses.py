"""Data addresses of tensors, for kernels that take plain addresses."""

from __future__ import annotations

from typing import Any

from statqat_sim.arrays.kinds import is_tensor
from statqat_sim.arrays.loaded import loaded_torch

ITEM_BYTES = 4
"""Size of a float32."""


def addresses(x: Any, out: Any) -> tuple[int, int] | None:
    """The data addresses of two contiguous float32 CPU tensors of equal shape, identical or disjoint; else None."""
    if not (_is_plain(x) and _is_plain(out) and x.shape == out.shape):
        return None
    source, target = x.data_ptr(), out.data_ptr()
    is_aligned = source % ITEM_BYTES == target % ITEM_BYTES == 0
    is_apart = source == target or abs(source - target) >= x.numel() * ITEM_BYTES
    return (source, target) if source and target and is_aligned and is_apart else None


def _is_plain(tensor: Any) -> bool:
    """Whether it is a contiguous float32 CPU tensor."""
    if not is_tensor(tensor):
        return False
    torch = loaded_torch()
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.dtype is torch.float32
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not tensor.is_neg()
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )
