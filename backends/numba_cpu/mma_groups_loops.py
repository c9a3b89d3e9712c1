"""Aligned sums of groups of products times their block scales. This text is compiled as a generated module: see `mma`.

A group's sum is exact; the exponent that it is aligned by is the sum of its scales' exponents.
"""

from typing import Any

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import inlined, kernel
from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_numbers import LANES, Grouped, Result, Span, Start
from statqat_sim.backends.numba_cpu.mma_rounding_loops import LOW, exponent, power, to_results, zero_like

FLOAT = np.float32


@inlined
def cut(x: Any) -> Any:
    """Round a term to an integer; the call is replaced by that of the plan's rounding mode."""
    return np.trunc(x)


@inlined
def begin(c: Any, least: Any, is_positive: Any, emin: Any, zero: Any, total: Any, top: Any) -> Any:
    """Write C, flushed below `least`, to `total` and its exponents to `top`. Returns whether any lane is Inf or NaN."""
    wrong = np.int64(0)
    for j in range(LANES):
        wrong |= np.int64(not abs(c[j]) < np.inf)
        x = zero_like(c[j], is_positive) if abs(c[j]) < least else c[j]
        total[j] = x
        top[j] = max(exponent(x), emin) if x != 0.0 else zero
    return wrong


@inlined
def group_sums(av: Any, bv: Any, total: Any) -> Any:
    """The exact sum of a group's products in each lane; four products at a time keep the sums in registers."""
    for j in range(LANES):
        total[j] = 0.0
    many = av.size // 4 * 4
    for k in range(0, many, 4):
        x, y, z, u = av[k], av[k + 1], av[k + 2], av[k + 3]
        b0, b1, b2, b3 = bv[k], bv[k + 1], bv[k + 2], bv[k + 3]
        for j in range(LANES):
            total[j] += FLOAT(FLOAT(x * b0[j] + y * b1[j]) + FLOAT(z * b2[j] + u * b3[j]))
    for k in range(many, av.size):
        x, row = av[k], bv[k]
        for j in range(LANES):
            total[j] += FLOAT(x * row[j])


@inlined
def group_exponents(mask: Any, masks: Any, e: Any, es: Any, zero: Any, found: Any, here: Any, top: Any) -> Any:
    """Each lane's exponent of the group, in `here`, and the largest so far, in `top`; masks: the nonzero elements."""
    for j in range(LANES):
        found[j] = mask[0] & masks[0, j]
    for word in range(1, mask.size):
        for j in range(LANES):
            found[j] |= mask[word] & masks[word, j]
    for j in range(LANES):
        here[j] = e + es[j] if found[j] != 0 else zero
        top[j] = max(top[j], here[j])


@inlined
def add_terms(sums: Any, scale: Any, scales: Any, exponents: Any, top: Any, fraction: Any, total: Any) -> Any:
    """Add a group's sum times its scales to `total`, in units of 2^(top - fraction bits)."""
    for j in range(LANES):
        unit = power(max(fraction - top[j] + exponents[j], -1000))
        total[j] += cut(np.float64(sums[j]) * np.float64(scale * scales[j]) * unit)


@inlined
def group_value(av: Any, bv: Any, lane: Any, scale: Any) -> Any:
    """A group's exact sum times its scales, up to a power of two: for signs of zeros, and for Inf and NaN."""
    total = -0.0
    for k in range(av.size):
        total += np.float64(av[k]) * np.float64(bv[k, lane])
    return total * np.float64(scale)


@inlined
def put_right(av: Any, bv: Any, scale: Any, scales: Any, c: Any, result: Any) -> Any:
    """Set the result of lanes whose C or products contain Inf or NaN."""
    group = av.size // scale.size
    for j in range(LANES):
        total = 0.0 if abs(c[j]) < np.inf else c[j]
        for g in range(scale.size):
            here = slice(g * group, (g + 1) * group)
            x = group_value(av[here], bv[here], j, scale[g] * scales[g, j])
            total += 0.0 if abs(x) < np.inf else x
        if total != 0.0:
            result[j] = total


@inlined
def sign_zeros(av: Any, bv: Any, scale: Any, scales: Any, c: Any, result: Any) -> Any:
    """Set the sign of zero sums: -0 where C and all groups are -0, else +0."""
    group = av.size // scale.size
    for j in range(LANES):
        if result[j] == 0.0:
            zero = c[j] if c[j] == 0.0 else 0.0
            for g in range(scale.size):
                here = slice(g * group, (g + 1) * group)
                x = group_value(av[here], bv[here], j, scale[g] * scales[g, j])
                zero += x if x == 0.0 else 0.0
            result[j] = zero


@kernel()
def run(a: Any, b: Any, c: Any, plan: Grouped, to: Result, start: Start, span: Span) -> Any:
    """Replace C by D, for the panels and rows of `span`.

    a: values `(rows, K)`, masks of nonzero values `(rows, groups, words)`, scale significands and scale exponents
    `(rows, groups)`, whether a step has Inf or NaN `(rows, steps)`. b: likewise `(panels, K, LANES)`,
    `(panels, groups, words, LANES)`, `(panels, groups, LANES)`, `(panels, steps)`. c: `(panels, rows, LANES)`.
    """
    (av, a_masks, sa, ea, a_special), (bv, b_masks, sb, eb, b_special) = a, b
    step, group, fraction, zero = plan.step, plan.group, plan.fraction, max(plan.zero, LOW)
    groups = step // group
    sums, found, here = np.empty((groups, LANES), FLOAT), np.empty(LANES, np.int32), np.empty((groups, LANES), np.int64)
    top, total, other = np.empty(LANES, np.int64), np.empty(LANES), np.empty(LANES)
    mode = set_default_mode()
    for p in range(span.first_panel, span.end_panel):
        for q in range(av.shape[1] // step):
            k0, first = q * step, q * groups
            y = bv[p, k0 : k0 + step]
            emin, least = (start.emin, start.least) if q == 0 else (start.later_emin, start.later_least)
            for i in range(span.first_row, span.end_row):
                row, x = c[p, i], av[i, k0 : k0 + step]
                wrong = begin(row, least, start.is_positive, emin, zero, other, top)
                wrong |= np.int64(a_special[i, q]) | np.int64(b_special[p, q])
                for g in range(groups):
                    at = first + g
                    group_sums(x[g * group : (g + 1) * group], y[g * group : (g + 1) * group], sums[g])
                    group_exponents(a_masks[i, at], b_masks[p, at], ea[i, at], eb[p, at], zero, found, here[g], top)
                for j in range(LANES):
                    total[j] = cut(other[j] * power(fraction - top[j]))
                for g in range(groups):
                    at = first + g
                    add_terms(sums[g], sa[i, at], sb[p, at], here[g], top, fraction, total)
                for j in range(LANES):
                    total[j] = total[j] * power(top[j] - fraction)
                scale, scales = sa[i, first : first + groups], sb[p, first : first + groups]
                if to.keeps_zeros:
                    sign_zeros(x, y, scale, scales, other, total)
                to_results(total, to)
                if wrong:
                    put_right(x, y, scale, scales, row, total)
                for j in range(LANES):
                    row[j] = total[j]
    restore_mode(mode)
