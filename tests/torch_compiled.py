"""What tests of torch's compiler share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

WARNINGS = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),  # torch's compiler warns of torch
    pytest.mark.filterwarnings("ignore:.*\\.grad attribute of a Tensor:UserWarning"),
]
"""Marks of a module's tests."""


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def together(*calls: Callable[[], Any], backend: str = "inductor") -> list[Any]:
    """What calls give when torch compiles them as one function: every compilation takes seconds."""
    torch.compiler.reset()
    results: list[Any] = torch.compile(lambda: [call() for call in calls], fullgraph=True, backend=backend)()
    return results
