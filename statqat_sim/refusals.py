"""Checks for values that codecs refuse; errors name the index of the first one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from statqat_sim.arrays import CPU, ArrayLibrary
from statqat_sim.arrays.tensors import viewed
from statqat_sim.plan.layout import MAGNITUDE
from statqat_sim.plan.program import Storage

EXACT_INTEGERS = 1 << 53
"""Every integer up to this magnitude is exact in float64."""


def refuse_nan(x: Any, name: str, scale: Any, library: ArrayLibrary) -> None:
    """Raises ValueError for the first NaN of x, or of x / scale."""
    values, what = library.as_float32(x, "x"), "x"
    wrong = values != values
    if scale is not None:
        divisor, what = library.as_scale(scale, tuple(values.shape), values), "(x / scale)"
        of_infinities = (abs(values) == math.inf) & (abs(divisor) == math.inf)
        # from bits: on GPUs a subnormal divisor counts as 0
        is_zero = viewed(divisor, "int32") & MAGNITUDE == 0
        wrong = (wrong | (divisor != divisor) | of_infinities) & ~is_zero
    refuse_first(wrong, library, what, f"is NaN, which {name} refuses (nan_input: error)")


def refuse_long(x: Any, name: str, library: ArrayLibrary) -> None:
    """Raises ValueError for the first integer beyond 2^53: integers are read through float64, exact up to there."""
    values = library.as_native(x, Storage.FLOAT64, "x")  # rounded to odd
    wrong = (values > EXACT_INTEGERS) | (values < -EXACT_INTEGERS)
    told = f"is beyond 2^53, from where on {name} cannot wrap it exactly (overflow: wrap)"
    refuse_first(wrong, library, "x", told)


def refuse_scale(scale: Any, values: Any, name: str, library: ArrayLibrary, *, may_be_negative: bool) -> None:
    """Raises ValueError for the first scale that is NaN, or negative where it may not be.

    Args:
        scale: the caller's scale; Python numbers are always checked.
        values: the same as the library's `as_scale` gives it, in float32.
        name: of the format that takes it.
        library: arrays are checked if its `looks` is true.
        may_be_negative: whether only NaN are wrong.
    """
    if isinstance(scale, int | float):
        values, library = np.asarray(scale, np.float32), CPU
    allowed = -math.inf if may_be_negative else 0
    if not library.looks or values.min(initial=math.inf) >= allowed:  # NaN if one is: no mask where all are right
        return
    for wrong, what in ((values != values, "NaN"), (values < allowed, "negative")):
        told = f"is {what}; allowed for {name}: {'numbers' if may_be_negative else '0 and above'}"
        refuse_first(wrong, library, "scale", told)


def refuse_first(wrong: Any, library: ArrayLibrary, what: str, told: str) -> None:
    """Raises ValueError that tells the index of the first wrong element behind an array's name."""
    place = library.first(wrong)
    if place is not None:
        indices = ", ".join(map(str, map(int, np.unravel_index(place, tuple(wrong.shape)))))
        raise ValueError(f"{what}{f'[{indices}]' if indices else ''} {told}")
