"""Weights of the elements' squared errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.errors import did_you_mean, shown
from statqat_sim.quantizer.objective import Objective


def weights_of(weights: Any, tensor: str, x: NDArray[np.float32]) -> Floats | None:
    """The weight of each element of a tensor, float64, in its shape; None: equal weights.

    Args:
        weights: an array that broadcasts to the tensor's shape, a mapping of tensors' names to such arrays, or None.
        tensor: the tensor's name.
        x: the tensor's elements.

    Raises:
        LookupError: if a mapping lacks the tensor.
        TypeError: if weights are not real numbers.
        ValueError: if they do not broadcast, or one is negative or not finite.
    """
    if weights is None:
        return None
    if isinstance(weights, Mapping):
        if tensor not in weights:
            raise LookupError(f"no weights are named {shown(tensor)}{did_you_mean(tensor, weights)}")
        weights = weights[tensor]
    try:
        return Objective(weights).weights_of(x.shape)
    except ValueError as error:
        raise ValueError(f"{tensor}: {error}") from None


def weighted_means(
    x: NDArray[np.float32], y: NDArray[np.float32], weights: Floats
) -> tuple[float | None, float | None]:
    """The weighted means of (x − y)² and x² over the finite x; None if the weights sum to 0."""
    each = np.where(np.isfinite(x), weights, 0.0)
    total = float(each.sum())
    if not total:
        return None, None
    wide = np.where(each > 0, x, 0).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        noise = np.sum(each * np.square(np.where(each > 0, wide - y, 0)))
    return float(noise) / total, float(np.sum(each * np.square(wide))) / total
