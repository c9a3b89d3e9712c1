"""C of sums rounded after each addition, of chains of the device's float64 FMA, and of sums of integers."""

from __future__ import annotations

from typing import Final

STEPS: Final = r"""
DEVICE double place_at(const Side &side, u64 first, u64 at, const u32 *places)
{
    return single_of(word_at(side, first + (places ? places[at] : at)));
}

/* A rounded number; Inf and NaN stay what they were before a sum saturated. */
DEVICE double finished(double x, double before, const Result &to)
{
    const double result = rounded(x, to);
    return is_finite(before) ? result : before;
}
DEVICE double added(double x, double y, const Result &to)
{
    return finished(odd_sum(x, y), x + y, to);
}

/* The products of every so many places, added one by one. */
DEVICE double chain(const Side &a, const Side &b, u64 first, u64 step, u32 part, double x, const Steps &plan,
                    const u32 *places, const Result &to)
{
    for (u64 at = part; at < step; at += plan.parts)
        x = added(x, place_at(a, first, at, places) * place_at(b, first, at, places), to);
    return x;
}

/* Rounded products, and sums of neighbours. A sum waits for that of as many products beside it. */
DEVICE double pairwise(const Side &a, const Side &b, u64 first, u64 step, const u32 *places, const Result &to)
{
    double waiting[32];
    u32 count = 0;
    for (u64 at = 0; at < step; at++) {
        const double product = place_at(a, first, at, places) * place_at(b, first, at, places);
        double x = finished(product, product, to);
        for (u64 pairs = at; pairs & 1; pairs >>= 1) x = added(waiting[--count], x, to);
        waiting[count++] = x;
    }
    while (count > 1) {
        count--;
        waiting[count - 1] = added(waiting[count - 1], waiting[count], to);
    }
    return waiting[0];
}

DEVICE double next(const Side &a, const Side &b, u64 first, u64 step, double given, const Start &start,
                   const Steps &plan, const Result &to)
{
    const u32 *const places = (const u32 *)plan.places;
    const double c = flushed(given, first, start);
    if (plan.is_pairwise) {
        const double x = pairwise(a, b, first, step, places, to);
        return plan.enter == NONE ? x : added(x, c, to);
    }
    if (plan.enter != LAST && plan.enter != NONE) return chain(a, b, first, step, 0, c, plan, places, to);
    double x = chain(a, b, first, step, 0, 0.0, plan, places, to);
    for (u32 part = 1; part < plan.parts; part++)
        x = added(x, chain(a, b, first, step, part, 0.0, plan, places, to), to);
    return plan.enter == LAST ? added(x, c, to) : x;
}
"""

FUSED: Final = r"""
DEVICE double fused_chain(const Side &a, const Side &b, u64 first, u64 step, u32 part, double x, const Steps &plan)
{
    const u32 *const places = (const u32 *)plan.places;
    for (u64 at = part; at < step; at += plan.parts) {
        const u64 k = first + (places ? places[at] : at);
        x = fma(of_bits(a.words[k * a.stride]), of_bits(b.words[k * b.stride]), x);
    }
    return x;
}

DEVICE double next(const Side &a, const Side &b, u64 first, u64 step, double c, const Start &start, const Steps &plan,
                   const Result &to)
{
    const bool begins = plan.enter != LAST && plan.enter != NONE;
    double x = fused_chain(a, b, first, step, 0, begins ? c : 0.0, plan);
    for (u32 part = 1; part < plan.parts; part++) x = x + fused_chain(a, b, first, step, part, 0.0, plan);
    return plan.enter == LAST ? c + x : x;
}
"""

INTEGERS: Final = r"""
DEVICE long long next(const Side &a, const Side &b, u64 first, u64 step, long long c, const Start &start,
                      const Integers &plan, const Result &to)
{
    const long long low = plan.low, high = plan.high;
    long long total = plan.enter == NONE ? 0 : c;
    for (u64 k = first; k < first + step; k++)
        total += (long long)(int)a.words[k * a.stride] * (int)b.words[k * b.stride];
    return to.saturates ? min(max(total, low), high) : ((total - low) & (high - low)) + low;
}
"""
