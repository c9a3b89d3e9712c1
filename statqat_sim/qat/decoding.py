"""Weights of converted models as floats for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from statqat_sim.qat.conversion import packed_weights

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def decoded(model: Model) -> Iterator[Model]:
    """While it lasts a converted model keeps its weights decoded: it runs as fast as floats do, in their memory.

    Not a bit changes. Codes and scales stay where they are, and are what `state_dict`, `save` and copies have. Weights
    that are moved, loaded or given to `torch.func.functional_call` meanwhile are decoded in every forward. What is
    written into `layer.weight` is lost in the end, and what is written into codes and scales counts only then.

    Args:
        model: a converted model.

    Raises:
        TypeError: if `model` is none.
        ValueError: if it has no weights that are codes.
    """
    found = {packed: None for _, _, packed in packed_weights(model)}
    if not found:
        raise ValueError("the model has no weights that are codes; allowed: what qat.convert or qat.load gave")
    ours = [packed for packed in found if packed.kept is None]
    try:
        with torch.inference_mode(False):
            for packed in ours:
                packed.keep()
        yield model
    finally:
        for packed in ours:
            packed.let_go()
