"""C helpers of matrix instructions: float64 rounded to a result's precision.

Inputs are exact, with at most 53 significant bits, or sums rounded to odd. Nothing here is float32, whose subnormals
cupy's options flush: see `prelude`.
"""

from __future__ import annotations

from typing import Final

ROUNDING: Final = r"""
#define DEVICE __device__ __forceinline__

enum { TO_ZERO, NEAREST_EVEN, TO_POSITIVE, TO_NEGATIVE, NEAREST_AWAY, NEAREST_ZERO, NEAREST_UP, TO_ODD };
enum { TERM, JOIN, LAST, NONE, FIRST }; /* where C enters */

DEVICE u64 bits_of(double x)
{
    return (u64)__double_as_longlong(x);
}
DEVICE double of_bits(u64 bits)
{
    return __longlong_as_double((long long)bits);
}
DEVICE double single_of(u32 word)
{
    return widened(__uint_as_float(word));
}
DEVICE u32 word_of(double x)
{
    return __float_as_uint(narrowed(x));
}

/* The exponent field; -1023 of zero. */
DEVICE int exponent_of(double x)
{
    return (int)(bits_of(x) >> 52 & 0x7ff) - 1023;
}
DEVICE bool is_finite(double x)
{
    return exponent_of(x) < 1024;
}
DEVICE double infinity()
{
    return of_bits(0x7ffull << 52);
}

/* 2^e, for normal results. */
DEVICE double power_of(int e)
{
    return of_bits((u64)(e + 1023) << 52);
}

/* C, a zero where it counts as one: from the second step on it has D's format. */
DEVICE double flushed(double c, bool is_later, const Start &start)
{
    if (!(fabs(c) < (is_later ? start.later_least : start.least))) return c;
    return start.is_positive ? 0.0 : copysign(0.0, c);
}

/* The sum rounded to odd: what is rounded from it to 51 bits or less is rounded once. */
DEVICE double odd_sum(double x, double y)
{
    const double total = x + y, part = total - x, rest = (x - (total - part)) + (y - part);
    const u64 bits = bits_of(total);
    const bool is_outward = (rest > 0.0) == (total > 0.0);
    if (rest == 0.0 || rest != rest || bits & 1) return total;
    return of_bits(is_outward ? bits + 1 : bits - 1);
}

/* By modes that are no instructions. */
DEVICE double integer_by_halves(double x, int mode)
{
    const double kept = trunc(x), half = fabs(x - kept), away = kept + copysign(1.0, x);
    if (mode == TO_ODD) return half != 0.0 && kept == 2.0 * trunc(kept * 0.5) ? away : kept;
    if (mode == NEAREST_ZERO) return half > 0.5 ? away : kept;
    if (mode == NEAREST_UP) return half > 0.5 || (half == 0.5 && x > 0.0) ? away : kept;
    return half >= 0.5 ? away : kept;
}

/* The integer that x is rounded to. */
DEVICE double integer_of(double x, int mode)
{
    if (mode == TO_ZERO) return trunc(x);
    if (mode == NEAREST_EVEN) return rint(x);
    if (mode == TO_POSITIVE) return ceil(x);
    if (mode == TO_NEGATIVE) return floor(x);
    return integer_by_halves(x, mode);
}

/* What D holds in place of a number that was rounded to its precision. */
DEVICE double in_range(double x, const Result &to)
{
    if (fabs(x) > to.largest) x = copysign(to.saturates ? to.largest : infinity(), x);
    if (fabs(x) < to.least) x = copysign(0.0, x);
    return to.is_positive ? x + 0.0 : x;
}

/* What D holds in place of a number. */
DEVICE double rounded(double x, const Result &to)
{
    if (!to.keeps_zeros) x = x + 0.0;
    const int e = max(exponent_of(x), to.emin);
    return in_range(integer_of(x * power_of(to.mantissa_bits - e), to.mode) * power_of(e - to.mantissa_bits), to);
}
"""
