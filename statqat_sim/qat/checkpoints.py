"""`qat.state_dict` as an object that libraries of checkpoints store."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from statqat_sim.qat.require import require_module, told_value
from statqat_sim.qat.state import load_state_dict, state_dict

BYTES = "bytes"


class Checkpointed:
    """What `state_dict(model)` gives, for whatever stores objects that have a state.

    These are `torch.distributed.checkpoint` (`save` and `load` of `{"qat": Checkpointed(model), ...}`) and accelerate
    (`register_for_checkpointing`). Every process has the same state: of learned scales that FSDP2 has spread over
    processes, which all of them come together for, the whole.

    Args:
        model: a prepared model, or what torch wraps around it.

    Raises:
        TypeError: if `model` is none.
    """

    def __init__(self, model: nn.Module) -> None:
        require_module(model)
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        """One string of bytes: statistics are as long as data made them, and a loader wants to know lengths."""
        stream = io.BytesIO()
        torch.save(state_dict(self._model), stream)
        return {BYTES: stream.getvalue()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it.

        Raises:
            KeyError, ValueError: as `load_state_dict` of this package.
            TypeError: if it is none that `state_dict` gave.
            ValueError: if its bytes are damaged.
        """
        stored = state.get(BYTES) if isinstance(state, Mapping) else None
        if not isinstance(stored, bytes):
            raise TypeError(
                f"state is {told_value(state)}, without {BYTES!r}; allowed: what Checkpointed.state_dict gave"
            )
        try:
            tensors = torch.load(io.BytesIO(stored), map_location="cpu", weights_only=True)
        except Exception as error:  # whatever unpickling raises
            raise ValueError(f"the bytes of the state are damaged: {error!r}") from None
        load_state_dict(self._model, tensors)
