"""Sums of groups of products, times the scales of their blocks, aligned. This text is compiled as a generated module.

A group's sum is exact in float32. Its exponent is that of its scales alone: see `mma`.
"""

from typing import Any

import numpy as np
from numba import njit

from statqat_sim.backends.numba_cpu.mma_lanes_loops import special
from statqat_sim.backends.numba_cpu.mma_rounding_loops import LOW, W, exponent, power, to_results


@njit
def cut(x: Any) -> Any:
    """What is left of a term."""
    return np.trunc(x)


@njit
def group_sums(av: Any, bv: Any, total: Any) -> Any:
    """The exact sum of a group's products in each lane."""
    for j in range(W):
        total[j] = 0.0
    for k in range(av.size):
        x, row = av[k], bv[k]
        for j in range(W):
            total[j] = np.float32(total[j] + np.float32(x * row[j]))


@njit
def any_nonzero(av: Any, bv: Any, found: Any) -> Any:
    """Whether a product of the group is nonzero, in each lane."""
    for j in range(W):
        found[j] = False
    for k in range(av.size):
        if av[k] != 0.0:
            row = bv[k]
            for j in range(W):
                found[j] = found[j] | (row[j] != 0.0)


@njit
def group_exponents(ea: Any, sa: Any, eb: Any, sb: Any, found: Any, zero: Any, top: Any, here: Any) -> Any:
    """The exponent of each lane's group, and the largest so far."""
    for j in range(W):
        is_term = found[j] and sa * sb[j] != 0.0
        e = np.int64(ea + eb[j]) if is_term else zero
        here[j] = e
        top[j] = max(top[j], e)


@njit(nogil=True)
def run(
    av: Any,
    sa: Any,
    ea: Any,
    a_flags: Any,
    bv: Any,
    sb: Any,
    eb: Any,
    b_any: Any,
    c: Any,
    plan: Any,
    how: Any,
    bounds: Any,
    span: Any,
) -> Any:
    """C becomes D; span: the first panel and the one behind the last, and so of rows.

    av: of A, `(rows, K)`. sa, ea: significands and exponents of its scales, `(rows, groups)`. a_flags: 2 where a step
    has something special, `(rows, steps)`. bv, sb, eb, b_any: of B, `(panels, K, W)`, `(panels, groups, W)` and
    `(panels, steps)`. c: `(panels, rows, W)`. plan: step, group, fraction bits, exponent of zeros, emin of C and later
    of D. bounds: the largest result, the least result and the least C that are not flushed.
    """
    step, group, fraction, zero = plan[0], plan[1], plan[2], plan[3]
    groups = step // group
    sums, found, here = np.empty((groups, W), np.float32), np.empty(W, np.bool_), np.empty((groups, W), np.int64)
    top, total, units = np.empty(W, np.int64), np.empty(W), np.empty(W)
    for p in range(span[0], span[1]):
        for q in range(av.shape[1] // step):
            emin = plan[4] if q == 0 else plan[5]
            first = q * groups
            for i in range(span[2], span[3]):
                row = c[p, i]
                wrong = np.int64(a_flags[i, q] | b_any[p, q])
                for j in range(W):
                    wrong |= np.int64(not abs(row[j]) < np.inf)
                    total[j] = 0.0 if abs(row[j]) < bounds[2] else row[j]
                    top[j] = max(max(exponent(total[j]), emin) if total[j] != 0.0 else zero, LOW)
                for g in range(groups):
                    k0 = (first + g) * group
                    x, y = av[i, k0 : k0 + group], bv[p, k0 : k0 + group]
                    group_sums(x, y, sums[g])
                    any_nonzero(x, y, found)
                    at = first + g
                    group_exponents(ea[i, at], sa[i, at], eb[p, at], sb[p, at], found, zero, top, here[g])
                for j in range(W):
                    total[j] = cut(total[j] * power(fraction - top[j]))
                for g in range(groups):
                    scale, scales, terms, exponents = sa[i, first + g], sb[p, first + g], sums[g], here[g]
                    for j in range(W):
                        unit = power(max(fraction - top[j] + max(exponents[j], LOW), -1000))
                        total[j] += cut(np.float64(terms[j]) * np.float64(scale * scales[j]) * unit)
                for j in range(W):
                    total[j] = total[j] * power(top[j] - fraction)
                to_results(total, units, how, bounds)
                if wrong:
                    k0 = q * step
                    x, y = av[i, k0 : k0 + step], bv[p, k0 : k0 + step]
                    for j in range(W):
                        s = special(x, y, j, row[j], np.inf)
                        for g in range(first, first + groups):
                            s += 0.0 * sa[i, g] * sb[p, g, j]
                        if s != 0.0:
                            total[j] = s
                for j in range(W):
                    row[j] = total[j]
