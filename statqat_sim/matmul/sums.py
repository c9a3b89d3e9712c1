"""Sums outside an instruction: those of parts of K, and those of recipes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from statqat_sim.arrays.tensors import converted, viewed
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.matmul.formats import SINGLE, value_dtype
from statqat_sim.matmul.place import Place
from statqat_sim.spec.accelerator import Float64, Instruction, precision_of
from statqat_sim.spec.accelerator_dot import Precision
from statqat_sim.spec.encode import EncodePolicy, Overflow
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.number import NumberFormat


def added(instruction: Instruction, x: Any, y: Any, place: Place) -> Any:
    """The sums x + y rounded to D's format, to nearest even; integers wrap.

    Raises:
        UnsupportedError: if D is neither an integer nor a float in IEEE 754's layout.
    """
    d, dtype, precision = instruction.d, value_dtype(instruction), precision_of(instruction.d)
    if dtype == "int32":
        return _wrapped(place.plus(x, y, dtype), d.bits)
    if isinstance(d, Float64) or precision == SINGLE:
        return place.plus(x, y, dtype)
    if precision is None:
        allowed = "allowed: where D is laid out as IEEE 754's formats are"
        raise UnsupportedError(f"{instruction}: sums of parts in {d.name}; {allowed}")
    return place.library.as_float32(_rounding(precision).fake_quantize(_odd_sum(x, y, place)), "d")


def _wrapped(x: Any, bits: int) -> Any:
    """Int32 wrapped to signed integers of `bits` bits."""
    return x << 32 - bits >> 32 - bits


def _odd_sum(x: Any, y: Any, place: Place) -> Any:
    """The sums x + y of float32 as float64, rounded to odd, so that a second rounding to fewer bits is correct."""
    x, y = place.as_float64(x), place.as_float64(y)
    with np.errstate(invalid="ignore"):
        total = x + y
        of_y = total - x
        rest = (x - (total - of_y)) + (y - of_y)
    is_inexact, is_outward = (rest < 0) | (rest > 0), (rest > 0) == (total > 0)
    bits = viewed(total, "int64")
    step = converted(is_inexact, "int64") * (1 - (bits & 1)) * (2 * converted(is_outward, "int64") - 1)
    return viewed(bits + step, "float64")


@lru_cache(maxsize=64)
def _rounding(to: Precision) -> Codec:
    """The codec that rounds to nearest even, and overflows to Inf."""
    element = FloatElement.ieee(to.exponent_bits, to.mantissa_bits)
    return Codec(NumberFormat(name="d", element=element, encode=EncodePolicy(overflow=Overflow.INF).resolved(element)))
