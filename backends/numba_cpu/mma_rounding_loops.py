"""Rounds lanes of float64 to a result's precision. This text is compiled as part of generated modules: see `mma`.

Inputs are exact, with at most 53 significant bits, or sums rounded to odd.
"""

import math
from typing import Any

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import inlined
from statqat_sim.backends.numba_cpu.mma_numbers import (
    LANES,
    NEAREST_EVEN,
    NEAREST_UP,
    NEAREST_ZERO,
    NEGATIVE,
    ODD,
    POSITIVE,
    ZERO,
    Result,
)

LOW = -900  # below every exponent that occurs; 2^LOW is a normal float64


@inlined
def exponent(x: Any) -> Any:
    """The unbiased exponent field of a float64; -1023 for zero."""
    return np.int64((np.float64(x).view(np.int64) >> np.int64(52)) & np.int64(0x7FF)) - np.int64(1023)


@inlined
def power(e: Any) -> Any:
    """2^e as float64; e must be a normal exponent."""
    return np.int64((np.int64(e) + np.int64(1023)) << np.int64(52)).view(np.float64)


@inlined
def zero_like(x: Any, is_positive: Any) -> Any:
    """The zero that x is flushed to: +0, or one with the sign of x."""
    return 0.0 if is_positive else math.copysign(0.0, x)


@inlined
def odd(x: Any, y: Any) -> Any:
    """The sum x + y rounded to odd: rounding this to 51 bits or fewer equals rounding the exact sum once."""
    total = x + y
    part = total - x
    rest = (x - (total - part)) + (y - part)
    bits = np.float64(total).view(np.int64)
    outward = (rest > 0.0) == (total > 0.0)
    step = np.int64(1) if outward else np.int64(-1)
    inexact = rest != 0.0 and rest == rest and bits & np.int64(1) == 0
    return np.int64(bits + (step if inexact else np.int64(0))).view(np.float64)


@inlined
def integer(x: Any, mode: Any) -> Any:
    """Round x to an integer, for the modes without an instruction."""
    kept = np.trunc(x)
    rest = x - kept
    half = abs(rest)
    away = kept + math.copysign(1.0, x)
    if mode == POSITIVE:
        return away if rest > 0.0 else kept
    if mode == ODD:
        return away if rest != 0.0 and kept == 2.0 * np.trunc(kept * 0.5) else kept
    if mode == NEAREST_ZERO:
        return away if half > 0.5 else kept
    if mode == NEAREST_UP:
        return away if half > 0.5 or (half == 0.5 and x > 0.0) else kept
    return away if half >= 0.5 else kept


@inlined
def nearby(x: Any, mode: Any) -> Any:
    """Round x to an integer."""
    if mode == ZERO:
        return np.trunc(x)
    if mode == NEAREST_EVEN:
        return np.rint(x)
    if mode == NEGATIVE:
        return np.floor(x)
    return integer(x, mode)


@inlined
def simply(x: Any, mode: Any) -> Any:
    """`nearby` for the two commonest modes: a vectorized loop over lanes evaluates every mode that it contains."""
    return np.trunc(x) if mode == ZERO else np.rint(x)


@inlined
def to_integers(lanes: Any, mode: Any) -> Any:
    """Round all lanes to integers, in place."""
    if mode <= NEAREST_EVEN:
        for j in range(LANES):
            lanes[j] = simply(lanes[j], mode)
    else:
        for j in range(LANES):
            lanes[j] = nearby(lanes[j], mode)


@inlined
def to_precision(lanes: Any, integer_of: Any, to: Result) -> Any:
    """See `to_results`. Adding -0 changes nothing; adding +0 turns -0 into +0."""
    mode, mantissa_bits, emin, largest, least = to.mode, to.mantissa_bits, to.emin, to.largest, to.least
    beyond = largest if to.saturates else np.inf
    before, after = -0.0 if to.keeps_zeros else 0.0, 0.0 if to.is_positive else -0.0
    for j in range(LANES):
        exact = lanes[j] + before
        e = max(exponent(exact), emin)
        x = integer_of(exact * power(mantissa_bits - e), mode) * power(e - mantissa_bits)
        x = math.copysign(beyond, x) if abs(x) > largest else x
        lanes[j] = (math.copysign(0.0, x) if abs(x) < least else x) + after


@inlined
def to_results(lanes: Any, to: Result) -> Any:
    """Round all lanes to a result's precision, in place."""
    if to.mode <= NEAREST_EVEN:
        to_precision(lanes, simply, to)
    else:
        to_precision(lanes, nearby, to)
