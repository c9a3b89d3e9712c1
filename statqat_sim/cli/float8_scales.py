"""Float8 tensors of checkpoints, times the scales that other tensors of the same folder hold for them.

DeepSeek and Qwen write `NAME_scale_inv` beside the float8 tensor NAME; compressed-tensors, vLLM, FBGEMM and ModelOpt
`NAME_scale`. In spite of the first name both are factors: x = value × scale. There is one, or one for each row, or one
for each 128 × 128 elements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from statqat_sim.cli.console import note
from statqat_sim.cli.tensors import NotRead, Tensor, holds_integers

SUFFIXES: Final = ("_scale_inv", "_scale")
"""What follows the name of a tensor in that of its scales."""

SIZE: Final = 128
"""How many elements share a scale along an axis, if not one or all."""

UNSCALED: Final = "--unscaled reads float8 alone"


def scaled(found: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, float8 ones times their scales, which are left out; notes on the standard error say so.

    Scales are looked for in the tensor's own file, then in those files of its folder that were given, too, and hold no
    tensor of its name. Reading a tensor raises NotRead if there are several, or if their dtype or shape fits no rule.
    """
    scales = _scales(found)
    parts = {scale for each in scales.values() for scale in each}
    alone = [tensor for tensor in found if tensor.is_float8 and tensor not in scales and tensor not in parts]
    _tell(scales)
    _tell_alone(alone)
    return [_times(tensor, scales) for tensor in found if tensor not in parts]


def scaled_one(tensor: Tensor, found: Sequence[Tensor]) -> Tensor:
    """One of the tensors found, times its scales if it has any."""
    scales = {each: beside for each, beside in _scales(found).items() if each == tensor}
    _tell(scales)
    _tell_alone([tensor] if tensor.is_float8 and not scales else [])
    return _times(tensor, scales)


def _tell(scales: Mapping[Tensor, Sequence[Tensor]]) -> None:
    for tensor, beside in list(scales.items())[:1]:
        note(f"{tensor.name}: float8, times {beside[0].name}{_more(scales)}; {UNSCALED}")


def _tell_alone(alone: Sequence[Tensor]) -> None:
    if alone:
        note(f"{alone[0].name}: float8 without scales, read as its values{_more(alone)}")


def _more(tensors: Collection[Tensor]) -> str:
    return f" (and {len(tensors) - 1} more)" if len(tensors) > 1 else ""


def _times(tensor: Tensor, scales: Mapping[Tensor, Sequence[Tensor]]) -> Tensor:
    beside = scales.get(tensor)
    return tensor if beside is None else replace(tensor, load=partial(_product, tensor, beside))


def _scales(found: Sequence[Tensor]) -> Mapping[Tensor, Sequence[Tensor]]:
    """The scales of those float8 tensors that have any."""
    places: dict[Any, list[Tensor]] = defaultdict(list)
    for tensor in found:
        if tensor.file is not None:
            places[tensor.file.parent, tensor.key].append(tensor)
    scales = {}
    for tensor in found:
        if tensor.is_float8 and tensor.file is not None:
            folder, owners = tensor.file.parent, {each.file for each in places[tensor.file.parent, tensor.key]}
            near = [each for end in SUFFIXES for each in places.get((folder, f"{tensor.key}{end}"), ())]
            own = [each for each in near if each.file == tensor.file]
            scales[tensor] = own or [each for each in near if each.file not in owners]
    return {tensor: each for tensor, each in scales.items() if each}


def _product(tensor: Tensor, scales: Sequence[Tensor]) -> Any:
    """Value × scale, in float32: an array."""
    scale, *others = scales
    if others:
        names = " and ".join(each.name for each in scales)
        raise NotRead(f"{tensor.name}: has several scales, {names}; {UNSCALED}")
    x, factors = tensor.load(), scale.load()
    if holds_integers(factors):
        raise NotRead(f"{scale.name}: scales that are integers; allowed: floats. {UNSCALED}")
    x, factors = _float32(x), _float32(factors)
    spread = _spread(factors, x.shape)
    if spread is None:
        told = f"scales of shape {factors.shape} for a tensor of shape {x.shape}"
        allowed = f"one, or along each axis one for all, for each {SIZE}, or for each element"
        raise NotRead(f"{scale.name}: {told}; allowed: {allowed}. {UNSCALED}")
    return x * spread


def _spread(factors: Any, shape: tuple[int, ...]) -> Any:
    """Scales that broadcast to a shape; None if they do not fit it. Axes that they lack are the last ones."""
    import numpy as np

    if factors.size == 1:
        return factors.reshape(())
    if factors.ndim > len(shape):
        return None
    factors = factors.reshape(factors.shape + (1,) * (len(shape) - factors.ndim))
    for axis, (length, count) in enumerate(zip(shape, factors.shape, strict=True)):
        if count in (1, length):
            continue
        if count != -(-length // SIZE):
            return None
        factors = np.repeat(factors, SIZE, axis).take(range(length), axis)
    return factors


def _float32(array: Any) -> Any:
    """An array or a torch tensor as a float32 array."""
    import numpy as np

    return np.asarray(array.float() if hasattr(array, "float") else array, np.float32)
