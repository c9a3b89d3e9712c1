"""Where a library does something else than the profile that is named after it; each profile's comment says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[Any]

E8M0_GAP = np.float32([2.0**-127, 1.5 * 2.0**-127])
"""Between these, ml_dtypes and torch round everything up."""


def in_e8m0_gap(x: Floats) -> Any:
    return (x > E8M0_GAP[0]) & (x < E8M0_GAP[1])


def below_e8m0(x: Floats) -> Any:
    return (np.abs(x) <= 2.0**-127) & (x != 0)


def negative_nan(x: Floats) -> Any:
    return np.isnan(x) & np.signbit(x)


def beyond_int32(x: Floats) -> Any:
    return np.abs(x) >= 2.0**31


def lost_by_ggml(x: Floats) -> Any:
    """The binade from 256 on, the gap below the least normal, one sum that rounds up, and NaN."""
    low = (x >= 7.5 * 2.0**-9) & (x < 2.0**-6) | (x == np.nextafter(np.float32(2.0**-10), np.float32(0)))
    return np.isnan(x) | low | (x >= 248) & (x < 432)


EXCEPTIONS: dict[str, Callable[[Floats], Any]] = {
    "float8_e8m0fnu.ml_dtypes": in_e8m0_gap,
    "float8_e8m0fnu.torch": lambda x: in_e8m0_gap(np.abs(x)),
    "float8_e8m0fnu.onnx_nearest": lambda x: in_e8m0_gap(np.abs(x)),
    "float8_e8m0fnu.onnx_nearest_nosat": lambda x: in_e8m0_gap(np.abs(x)),
    "float8_e8m0fnu.gfloat": lambda x: (x > 0) & (x < 2.0**-127) | (x == -np.inf),
    "float8_e8m0fnu.onnx_up": below_e8m0,
    "float8_e8m0fnu.onnx_up_nosat": below_e8m0,
    "float8_e4m3fn.nvidia": negative_nan,
    "float8_e4m3fn.nvidia_nosat": negative_nan,
    "float8_e5m2.nvidia": negative_nan,
    "float8_e5m2.nvidia_nosat": negative_nan,
    "int2.ml_dtypes": beyond_int32,
    "int4.ml_dtypes": beyond_int32,
    "uint1.ml_dtypes": lambda x: (x <= -1) | beyond_int32(x),
    "uint2.ml_dtypes": lambda x: (x <= -1) | beyond_int32(x),
    "uint4.ml_dtypes": lambda x: (x <= -1) | beyond_int32(x),
    "ue4m3.ggml": lost_by_ggml,
}
