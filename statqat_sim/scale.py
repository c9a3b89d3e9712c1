"""Scales and zero-points, as quantizers return and codecs accept them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array
from statqat_sim.rebuilt import Rebuilt
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.zero_point import integers, with_zero_point

FEW = 8
"""The most zero-points that a message lists."""


@dataclass(frozen=True, slots=True, eq=False)
class Scale(Rebuilt):
    """The factor of decoded values: float32, finite, above zero, in a shape that broadcasts against x.

    Two scales are equal if values, shapes and zero-points are; no zero-points differ from zero-points of 0.

    `np.asarray(scale)` returns the values; `Codec.fake_quantize(x, scale=scale)` also applies the zero-points.

    A zero-point is the integer q that represents zero, as in ONNX QuantizeLinear and torch:
    q = saturate(round(x / scale) + zero_point), and q represents (q - zero_point) · scale.

    Args:
        value: one scale or an array of scales, rounded to float32.
        zero_point: integers in the shape of `value`, or one for all scales, for formats of kind int; None: no
            zero-points.

    Raises:
        TypeError: if zero-points are not integers.
        ValueError: unless every value is finite and above zero; if the shapes differ.

    >>> import numpy as np, statqat_sim as sqs
    >>> scale, fmt = Scale(np.array([0.1]), np.array([-3])), sqs.load_format("int4")
    >>> sqs.Codec(fmt).fake_quantize(np.array([-0.3, 0.0, 0.98, 2.0], np.float32), scale=scale)
    array([-0.3,  0. ,  1. ,  1. ], dtype=float32)
    """

    value: NDArray[np.float32]
    zero_point: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            value = np.array(self.value, np.float32)
        wrong = ~(np.isfinite(value) & (value > 0))
        if wrong.any():
            raise ValueError(f"a scale is {value[wrong][0]}; allowed: finite float32 numbers above zero")
        value.flags.writeable = False
        object.__setattr__(self, "value", value)
        if self.zero_point is not None:
            object.__setattr__(self, "zero_point", _integers(self.zero_point, value.shape))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scale):
            return NotImplemented
        return self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[object, ...]:
        points = self.zero_point
        return self.value.shape, self.value.tobytes(), None if points is None else points.tobytes()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is None or np.dtype(dtype) == self.value.dtype:
            return self.value.copy() if copy else self.value
        if copy is False:
            raise ValueError(
                f"the values are float32, and {np.dtype(dtype)} needs a copy; allowed: copy=None, copy=True"
            )
        return self.value.astype(dtype)

    def format_of(self, format: NumberFormat) -> NumberFormat:
        """The format in which x / scale is encoded: the given one, with its range shifted by the zero-point, if any.

        Codes of a shifted format count from the least integer of the given one: for unsigned integers they equal those
        of ONNX and torch, for two's complement their top bit is flipped.

        Raises:
            UnsupportedError: if the format does not support zero-points.
            ValueError: if there are several zero-points, or the format does not have the integer.

        >>> import numpy as np, statqat_sim as sqs
        >>> x, fmt = np.array([-1.0, 0.0, 2.0], np.float32), sqs.load_format("uint8")
        >>> scale = sqs.MinMax(zero_point=True).fit(x, fmt)
        >>> sqs.Codec(scale.format_of(fmt)).encode(x / scale)
        array([  0,  85, 255], dtype=uint8)
        """
        points = np.zeros(0) if self.zero_point is None else np.unique(self.zero_point)
        if not len(points):
            return format
        if len(points) > 1:
            listed = ", ".join(map(str, points[:FEW])) + (", ..." if len(points) > FEW else "")
            raise ValueError(f"there are {len(points)} zero-points: {listed}; allowed: one, as of a single channel")
        return with_zero_point(format, int(points[0]))

    def ends(self, format: NumberFormat) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The real numbers that a format's least and greatest integer represent, float32, in the scale's shape.

        Raises:
            UnsupportedError: if the format does not support zero-points.
            ValueError: if a zero-point is not an integer of the format.
        """
        low, high = integers(format).range
        points = np.zeros((), np.int64) if self.zero_point is None else self.zero_point
        wrong = (points < low) | (points > high)
        if wrong.any():
            raise ValueError(f"zero_point is {points[wrong][0]}; allowed in {format.name}: {low} to {high}")
        with np.errstate(over="ignore", under="ignore"):
            return (low - points).astype(np.float32) * self.value, (high - points).astype(np.float32) * self.value


def _integers(given: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Zero-points broadcast to the shape of the scales, int64."""
    points = np.asarray(given)
    if points.dtype.kind not in "iu":
        raise TypeError(f"zero_point is {points.dtype}; allowed: integers")
    if points.shape not in ((), shape):
        raise ValueError(f"zero_point has shape {points.shape}; allowed: {shape}, as the scales")
    return np.broadcast_to(points.astype(np.int64), shape)
