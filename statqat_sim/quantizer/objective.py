"""The error a quantizer minimizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import real_array
from statqat_sim.quantizer.options import check_between


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """The error Σ w·|x − Q(x)|^norm.

    Args:
        weights: w, at least 0: an array that broadcasts to x's shape, such as E[a²] of each input channel. None: all 1.
        norm: 2 for squared errors.

    Raises:
        TypeError: if the weights are not real numbers.
        ValueError: unless the norm is above 0, and the weights are finite and not negative.
    """

    weights: Any = None
    norm: float = 2.0

    def __post_init__(self) -> None:
        check_between("norm", self.norm, 0, np.inf, "finite numbers above zero")
        if self.weights is not None:
            weights = np.array(real_array(self.weights, "weights"), np.float64)
            if not (np.isfinite(weights) & (weights >= 0)).all():
                raise ValueError("weights hold a number that is negative or not finite; allowed: finite, at least 0")
            weights.flags.writeable = False
            object.__setattr__(self, "weights", weights)

    @property
    def is_squared(self) -> bool:
        """Whether errors are squared."""
        return self.norm == 2

    @property
    def is_plain(self) -> bool:
        """Whether it is the unweighted squared error Σ(x − Q(x))²."""
        return self.is_squared and self.weights is None

    def power(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """|error|^norm of each error."""
        return np.square(errors) if self.is_squared else np.abs(errors) ** self.norm

    def weights_of(self, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
        """The weights broadcast to an array's shape; None: all 1.

        Raises:
            ValueError: if they do not broadcast.
        """
        if self.weights is None:
            return None
        try:
            return np.broadcast_to(self.weights, shape)
        except ValueError:
            message = f"weights have shape {self.weights.shape}; allowed: shapes that broadcast to {shape}"
            raise ValueError(message) from None


SQUARED = Objective()
