"""Vectorised calls of operations that take no batches of calls: one call for each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def sample_by_sample(call: Any) -> Callable[..., tuple[Any, Any]]:
    """A rule for `torch.library.register_vmap`: an operation's results, or lists of them, stacked."""

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        found = [call(*_sample(list(arguments), list(in_dims), index)) for index in range(info.batch_size)]
        if isinstance(found[0], Tensor):
            return torch.stack(found), 0
        parts = [torch.stack(part) for part in zip(*found, strict=True)]
        return parts, [0] * len(parts)

    return rule


def _sample(argument: Any, dim: Any, index: int) -> Any:
    """What one sample has of an argument; `dim`: its axis of samples, a list of these for a list, None: it has none."""
    if isinstance(dim, list | tuple):
        return [_sample(*pair, index) for pair in zip(argument, dim, strict=True)]
    return argument if dim is None else argument.select(dim, index)
