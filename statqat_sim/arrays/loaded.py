"""Libraries whose arrays callers give: known once a caller has imported them, and not imported for their sake."""

from __future__ import annotations

import sys
from typing import Any


def is_loaded(library: str, kind: str) -> bool:
    """Whether a library has arrays of this kind; not yet, if another thread has begun to import it.

    torch's compiler runs it while it traces: it would guard every module that it finds in `sys.modules`.
    """
    return hasattr(sys.modules.get(library), kind)


def compiler_is_loaded() -> bool:
    """Whether torch's compiler has been imported, by the caller or by another library; it runs this while it traces."""
    return "torch._dynamo" in sys.modules and is_loaded("torch", "compiler")


is_loaded._dynamo_marked_constant = True  # type: ignore[attr-defined]
compiler_is_loaded._dynamo_marked_constant = True  # type: ignore[attr-defined]


def loaded_torch() -> Any:
    """The package torch, which has been imported; its compiler guards nothing for an import statement."""
    import torch

    return torch
