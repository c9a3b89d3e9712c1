"""MinMax: the smallest scale at which no finite value overflows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Array, left_out, real_array
from statqat_sim.histogram import Histogram, extremes, extremes_elsewhere, lies_elsewhere
from statqat_sim.quantizer.affine_minmax import affine_minmax
from statqat_sim.quantizer.base import checked_histogram, reduced_axes, scaled_format
from statqat_sim.quantizer.described import Described
from statqat_sim.quantizer.levels import ends
from statqat_sim.quantizer.options import check_flag
from statqat_sim.quantizer.representable import LARGEST, Scales, scales_of
from statqat_sim.scale import Scale
from statqat_sim.spec.encode import NegativeInput
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class MinMax(Described):
    """The smallest float32 scale that puts every finite value inside the range of the format's grid.

    It is max(max x / c_max, min x / c_min), rounded up to float32, so that scale · c_max >= max x and
    scale · c_min <= min x hold exactly; c_max and c_min are `format.max` and `format.min`, or the last values that
    float32 holds if the format exceeds it. A side that the format lacks is ignored: values below zero if
    `format.min >= 0`, unless `negative_input: abs` reflects them. If no float32 scale is large enough (max x / c_max
    above 3.4e38), it is the largest float32, and the extremes are clipped.

    With `scale_format` it is the smallest scale of this number format that is as large.

    With `zero_point` it is the smallest scale at which some zero-point avoids clipping: for integers from a to b the
    smallest s with s·(z - a) >= -min x and s·(b - z) >= max x, where zero counts as an element. Among the possible z
    it takes the middle one, of two the even one. Data of zeros have scale 1 and zero-point 0.

    Raises:
        LookupError: for an unknown scale format.
        TypeError: if an option has the wrong type.
        ValueError: if the scale format has no values above zero.

    >>> import numpy as np, statqat_sim as sqs
    >>> MinMax().fit(np.array([[-3.5, 1.0], [0.5, 0.25]]), sqs.load_format("int4_narrow"), channel_axis=0).value
    array([[0.5       ],
           [0.07142857]], dtype=float32)
    >>> scale = MinMax(zero_point=True).fit(np.array([-1.0, 0.0, 2.0]), sqs.load_format("uint4"))
    >>> scale.value, scale.zero_point
    (array([0.2], dtype=float32), array([5]))
    """

    scale_format: NumberFormat | str | None = None
    zero_point: bool = False

    def __post_init__(self) -> None:
        check_flag("zero_point", self.zero_point)
        scales_of(self.scale_format)

    @left_out
    def fit(self, x: Any, format: NumberFormat, *, channel_axis: int | None = None) -> Scale:
        """See `Quantizer.fit`. Arrays on devices are supported: only their extremes are copied to the CPU."""
        if lies_elsewhere(x):
            return self._fit_elsewhere(x, scaled_format(format), channel_axis)
        x, format = real_array(x, "x"), scaled_format(format)
        axes = reduced_axes(x.ndim, channel_axis)
        return fitted_minmax(x, format, axes, scales_of(self.scale_format), self.zero_point)

    @left_out
    def choose(self, histogram: Histogram, format: NumberFormat) -> Scale:
        """See `StateQuantizer.choose`."""
        low, high = checked_histogram(histogram).low, histogram.high
        return chosen_minmax(low, high, scaled_format(format), scales_of(self.scale_format), self.zero_point)

    def _fit_elsewhere(self, x: Any, format: NumberFormat, channel_axis: int | None) -> Scale:
        """`fit` for x on a device."""
        axes = reduced_axes(len(x.shape), channel_axis)
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        low, high = (each.reshape(shape) for each in extremes_elsewhere(x, channel_axis))
        return chosen_minmax(low, high, format, scales_of(self.scale_format), self.zero_point)


def fitted_minmax(x: Array, format: NumberFormat, axes: tuple[int, ...], scales: Scales, zero_point: bool) -> Scale:
    """MinMax's scales of data, with `axes` kept at size 1."""
    low, high = (np.expand_dims(each, axes) for each in extremes(x, axes))
    return chosen_minmax(low, high, format, scales, zero_point)


def chosen_minmax(
    low: NDArray[np.float64], high: NDArray[np.float64], format: NumberFormat, scales: Scales, zero_point: bool
) -> Scale:
    """MinMax's scales of data between these extremes."""
    if zero_point:
        return affine_minmax(low, high, format, scales)
    return Scale(scales.at_least(least_scales(low, high, format)))


def least_scales(low: NDArray[np.float64], high: NDArray[np.float64], format: NumberFormat) -> NDArray[np.float32]:
    """The smallest float32 scales for data between these extremes; 1 if both are zero."""
    if format.min >= 0 and format.encode.negative_input is NegativeInput.ABS:
        high = np.maximum(high, -low)
    needed = np.zeros(high.shape, np.float32)
    least, greatest = ends(format)
    if greatest > 0:
        needed = np.maximum(needed, _smallest_scale(high, greatest))
    if least < 0:
        needed = np.maximum(needed, _smallest_scale(-low, -least))
    return np.where(needed > 0, needed, np.float32(1))


def _smallest_scale(extreme: NDArray[np.float64], limit: float) -> NDArray[np.float32]:
    """The smallest float32 s with s · limit >= extreme exactly; 0 for extreme 0, at most the largest float32.

    No float32 lies between the exact quotient and its rounding to float64, so rounding that to the nearest float32
    gives s, or the float32 below it, whose product with the limit is too small.
    """
    with np.errstate(over="ignore", under="ignore"):
        scale = np.minimum((extreme / limit).astype(np.float32), LARGEST)
        above = np.minimum(np.nextafter(scale, np.float32(np.inf)), LARGEST)
        return np.where(_product_is_below(scale, limit, extreme), above, scale)


def _product_is_below(scale: NDArray[np.float32], limit: float, extreme: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether scale · limit < extreme; exact where the two are close.

    Both products are exact, and so is the difference of numbers within a factor of two (Sterbenz).
    """
    upper, lower = parts(limit)
    wide = scale.astype(np.float64)
    return np.asarray(extreme - wide * upper > wide * lower)


def parts(limit: float) -> tuple[float, float]:
    """`limit` as a sum of numbers with 26 and 27 bits, whose products with a float32 (24 bits) are exact in float64."""
    mantissa, exponent = math.frexp(limit)
    upper = math.ldexp(math.floor(mantissa * (1 << 26)), exponent - 26)
    return upper, limit - upper
