"""Exact sums in multi-word integers, with any rounding of terms, of sums, and of results.

A number is an array of 32-bit words, lowest first, in units of 2^BASE. Each word is held in an int64, so that carries
can be propagated after many additions. This text is compiled as a generated module: see `mma`.
"""

import math
from typing import Any

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import called, kernel
from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_numbers import (
    LAST,
    NEAREST_AWAY,
    NEAREST_EVEN,
    NEAREST_UP,
    NEAREST_ZERO,
    NEGATIVE,
    ODD,
    POSITIVE,
    TERM,
    Exact,
    Result,
    Span,
    Start,
)
from statqat_sim.backends.numba_cpu.mma_rounding_loops import exponent, power, zero_like

BASE = -896  # the last bit of a float32 product is at least 2^-298; terms may be cut at finer units
WORDS = 48
WORD = np.int64(0xFFFFFFFF)
HIDDEN = np.int64(1) << np.int64(52)
NO_EXPONENT = -4096


@called
def add_integer(words: Any, magnitude: Any, place: Any, negative: Any) -> Any:
    """Add ±magnitude·2^(BASE + place); the magnitude has up to 53 bits."""
    at, shift = place >> 5, np.int64(place & 31)
    low = (magnitude & WORD) << shift
    high = ((magnitude >> np.int64(32)) << shift) + (low >> np.int64(32))
    sign = np.int64(-1) if negative else np.int64(1)
    words[at] += sign * (low & WORD)
    words[at + 1] += sign * (high & WORD)
    words[at + 2] += sign * (high >> np.int64(32))


@called
def significand(x: Any) -> Any:
    """The significand of a normal float64 as a 53-bit integer, and the exponent of its last bit."""
    bits = np.float64(abs(x)).view(np.int64)
    return (bits & (HIDDEN - np.int64(1))) | HIDDEN, exponent(x) - np.int64(52)


@called
def goes_up(mode: Any, negative: Any, is_odd: Any, half: Any, below: Any) -> Any:
    """Whether a truncated magnitude is rounded up; `half`: the first bit cut off, `below`: whether any other is set."""
    if not (half or below):
        return False
    if mode == POSITIVE:
        return not negative
    if mode == NEGATIVE:
        return negative
    if mode == ODD:
        return not is_odd
    if mode == NEAREST_EVEN:
        return half and (below or is_odd)
    if mode == NEAREST_AWAY:
        return half
    if mode == NEAREST_ZERO:
        return half and below
    if mode == NEAREST_UP:
        return half and (below or not negative)
    return False


@called
def add_term(words: Any, x: Any, unit: Any, mode: Any) -> Any:
    """Add x, rounded to a multiple of 2^unit, or exactly if `unit` is NO_EXPONENT."""
    if x == 0.0:
        return
    magnitude, place = significand(x)
    if unit != NO_EXPONENT and place < unit:
        lost = unit - place
        kept = magnitude >> np.int64(min(lost, 62))
        first = (magnitude >> np.int64(lost - 1)) & np.int64(1) if lost <= 62 else np.int64(0)
        rest = magnitude & ((np.int64(1) << np.int64(min(lost, 62) - 1)) - np.int64(1)) if lost <= 62 else magnitude
        raised = goes_up(mode, x < 0.0, kept & np.int64(1) == 1, first == 1, rest != 0)
        magnitude, place = kept + np.int64(raised), unit
    if magnitude:
        add_integer(words, magnitude, place - BASE, x < 0.0)


@called
def settled(words: Any) -> Any:
    """Propagate carries and replace the number by its magnitude. Returns whether it was negative."""
    carry = np.int64(0)
    for at in range(WORDS):
        total = words[at] + carry
        words[at], carry = total & WORD, total >> np.int64(32)
    if carry >= 0:
        return False
    carry = np.int64(1)
    for at in range(WORDS):
        total = (~words[at] & WORD) + carry
        words[at], carry = total & WORD, total >> np.int64(32)
    return True


@called
def bit(words: Any, place: Any) -> Any:
    """Whether a bit of a number is set, after `settled`."""
    return (words[place >> 5] >> np.int64(place & 31)) & np.int64(1) == 1


@called
def length(words: Any) -> Any:
    """The number's bit length."""
    for at in range(WORDS - 1, -1, -1):
        if words[at]:
            count = 32 * at
            word = words[at]
            while word:
                word, count = word >> np.int64(1), count + 1
            return count
    return 0


@called
def round_at(words: Any, place: Any, mode: Any, negative: Any) -> Any:
    """Round a number to a multiple of 2^(BASE + place), after `settled`."""
    if place <= 0:
        return
    place = min(place, 32 * (WORDS - 1))
    half, below = bit(words, place - 1), False
    for at in range((place - 1) >> 5):
        below |= words[at] != 0
        words[at] = 0
    at = (place - 1) >> 5
    below |= words[at] & ((np.int64(1) << np.int64((place - 1) & 31)) - np.int64(1)) != 0
    words[at] &= ~((np.int64(2) << np.int64((place - 1) & 31)) - np.int64(1))
    if goes_up(mode, negative, bit(words, place), half, below):
        add_integer(words, np.int64(1), place, False)
        settled(words)


@called
def value(words: Any, negative: Any) -> Any:
    """A number of up to 53 significant bits as float64, after `settled`."""
    result = 0.0
    for at in range(WORDS - 1, -1, -1):
        if words[at]:
            result += np.float64(words[at]) * power(max(32 * at + BASE, -1000))
    return -result if negative else result


@called
def rounded(words: Any, all_negative: Any, to: Result) -> Any:
    """Round the sum to D's format and clear the words; `all_negative`: whether every term has its sign bit set."""
    negative = settled(words)
    count = length(words)
    round_at(words, max(count - 1 - to.mantissa_bits, to.emin - to.mantissa_bits - BASE), to.mode, negative)
    x = value(words, negative)
    words[:] = 0
    if abs(x) > to.largest:
        x = math.copysign(to.largest if to.saturates else np.inf, x)
    if abs(x) < to.least:
        x = 0.0
    if x == 0.0:
        signed = negative if count else all_negative and to.keeps_zeros
        return -0.0 if signed and not to.is_positive else 0.0
    return x


@called
def top_of(xs: Any, ys: Any, ex: Any, ey: Any, zero: Any) -> Any:
    """The largest exponent of the products; `zero` is that of a product that is zero."""
    top = np.int64(NO_EXPONENT)
    for k in range(xs.size):
        e = zero if xs[k] == 0.0 or ys[k] == 0.0 else np.int64(ex[k]) + np.int64(ey[k])
        top = max(top, e)
    return top


@called
def flushed(c: Any, least: Any, is_positive: Any) -> Any:
    """C, or a zero if its magnitude is below `least`."""
    return zero_like(c, is_positive) if abs(c) < least else c


@called
def one(xs: Any, ys: Any, ex: Any, ey: Any, c: Any, emin: Any, words: Any, plan: Exact, to: Result) -> Any:
    """One step of K for one element of D."""
    enter, is_aligned, mode, per_sum, zero = plan.enter, plan.is_aligned, plan.mode, plan.per_sum, plan.zero
    odd_one = c if enter == TERM and not abs(c) < np.inf else 0.0
    unit: Any = np.int64(NO_EXPONENT)
    if is_aligned:
        top = top_of(xs, ys, ex, ey, zero)
        if enter == TERM and abs(c) < np.inf:
            top = max(top, max(exponent(c), emin) if c != 0.0 else zero)
        unit = max(top - plan.fraction, BASE)
    cut = np.int64(NO_EXPONENT) if per_sum else unit
    all_negative = True
    for k in range(xs.size):
        x = xs[k] * ys[k]
        all_negative &= math.copysign(1.0, x) < 0.0
        if abs(x) < np.inf:
            add_term(words, x, cut, mode)
        else:
            odd_one += x
    if enter == TERM:
        all_negative &= math.copysign(1.0, c) < 0.0
        if abs(c) < np.inf:
            add_term(words, c, cut, mode)
    if odd_one != 0.0:
        words[:] = 0
        return odd_one + c if enter == LAST else odd_one
    if per_sum and is_aligned:
        negative = settled(words)
        is_zero = length(words) == 0
        round_at(words, unit - BASE, mode, negative)
        all_negative &= is_zero
        if negative:
            for at in range(WORDS):
                words[at] = -words[at]
    elif is_aligned:
        for k in range(xs.size):
            all_negative &= xs[k] == 0.0 or ys[k] == 0.0
        all_negative &= enter != TERM or c == 0.0
    result = rounded(words, all_negative, to)
    if enter == LAST:
        if not (abs(result) < np.inf and abs(c) < np.inf):
            return result + c
        add_term(words, result, np.int64(NO_EXPONENT), mode)
        add_term(words, c, np.int64(NO_EXPONENT), mode)
        both = math.copysign(1.0, result) < 0.0 and math.copysign(1.0, c) < 0.0
        result = rounded(words, both, to)
    return result


@kernel()
def run(a: Any, b: Any, c: Any, plan: Exact, to: Result, start: Start, span: Span) -> Any:
    """Replace C by D, for the panels and rows of `span`.

    a: values and exponents, each `(rows, K)`; b: likewise `(panels, columns, K)`; c: `(panels, rows, columns)`.
    """
    (av, ae), (bv, be) = a, b
    step, words = plan.step or av.shape[1], np.zeros(WORDS, np.int64)
    mode = set_default_mode()
    for p in range(span.first_panel, span.end_panel):
        for i in range(span.first_row, span.end_row):
            for j in range(bv.shape[1]):
                x = c[p, i, j]
                for k0 in range(0, av.shape[1], step):
                    here = slice(k0, k0 + step)
                    emin, least = (start.emin, start.least) if k0 == 0 else (start.later_emin, start.later_least)
                    x = flushed(x, least, start.is_positive)
                    x = one(av[i, here], bv[p, j, here], ae[i, here], be[p, j, here], x, emin, words, plan, to)
                c[p, i, j] = x
    restore_mode(mode)
