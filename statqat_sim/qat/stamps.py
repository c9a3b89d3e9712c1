"""A format's hash and name as a tensor, beside what is of that format in a state: no other format takes it for its own.

Tensors are what safetensors, torch.distributed.checkpoint and the rest store.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from statqat_sim.spec.format import Format
from statqat_sim.spec.text import format_hash

FORMAT = "format"
"""The name of a stamp among the tensors that it is about."""

HASH_BYTES = 32
"""Of SHA-256; the name follows."""

_warned: deque[list[str]] = deque(maxlen=64)
"""The errors of the last calls of `load_state_dict` that warned: a hook of one may call others before it goes on."""


def stamp_of(format: Format, shape: tuple[int, ...] = ()) -> Tensor:
    """The hash of a format, then its name, and the shape of what codes without one stand for."""
    octets = bytes.fromhex(format_hash(format)) + _told(format, shape).encode()
    return torch.tensor([*octets], dtype=torch.uint8, device="cpu")


def stamp_problem(name: str, stamp: Tensor, format: Format, shape: tuple[int, ...] = ()) -> str | None:
    """Why a state's tensors, which this stamp came with, are not those of a format and a shape; None if they are."""
    if stamp.dtype != torch.uint8 or stamp.ndim != 1 or len(stamp) <= HASH_BYTES:
        return f"{name}: {FORMAT} is no hash and name; allowed: what state_dict gave"
    octets = bytes(stamp.tolist())
    found, theirs = octets[:HASH_BYTES].hex(), octets[HASH_BYTES:].decode(errors="replace")
    own, ours = format_hash(format), _told(format, shape)
    if (found, theirs) == (own, ours):
        return None
    one, other = (f"{told} ({hash[:12]})" if theirs == ours else told for told, hash in ((theirs, found), (ours, own)))
    return f"{name}: the state is of the format {one}; the model has {other}"


def _told(format: Format, shape: tuple[int, ...]) -> str:
    return f"{format.name} {shape}" if shape else format.name


def without_stamps(model: nn.Module) -> dict[str, Any]:
    """The model's state, for what tells of formats in another way."""
    modules = model.named_modules(remove_duplicate=False)
    stamps = {f"{name}.{FORMAT}" for name, module in modules if isinstance(module, Stamped)}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in stamps}


def _warn_once(errors: list[str]) -> None:
    """Tell, once in each call of a model's `load_state_dict`, that a state has no stamps.

    Where a filter makes an error of it, torch raises it with its own when all is loaded, and no model is left half way.

    Args:
        errors: what torch will raise; all modules of a model are given the same list.
    """
    if any(each is errors for each in tuple(_warned)):
        return
    _warned.append(errors)
    what = "the state does not say which formats it is of; its codes and scales are taken as they are"
    try:
        warnings.warn(f"{what}; save it anew", UserWarning, stacklevel=3)
    except UserWarning as error:
        errors.append(str(error))


class Stamped(nn.Module):
    """A module whose part of `state_dict` has a stamp, and which takes no part of another format."""

    def stamp(self, format: Format, device: torch.device, shape: tuple[int, ...] = ()) -> None:
        """Make the format a part of the state."""
        self._stamped = format, shape
        self.register_buffer(FORMAT, stamp_of(format, shape).to(device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        own, errors = {key: each for key, each in state_dict.items() if key.startswith(prefix)}, rest[-1]
        if isinstance(stamp := own.get(f"{prefix}{FORMAT}"), Tensor):
            if problem := stamp_problem(prefix.removesuffix("."), stamp, *self._stamped):
                errors.append(problem)
                return
        elif own or list(self.state_dict()) == [FORMAT]:
            if own:
                _warn_once(errors)
            own[f"{prefix}{FORMAT}"] = stamp_of(*self._stamped)
        super()._load_from_state_dict(own, prefix, *rest)
