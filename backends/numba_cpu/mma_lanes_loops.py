"""Sums of aligned products, one row of A by 64 columns of B. This text is compiled as a generated module: see `mma`.

A product in units of 2^(E - F) is a·b·2^(F - E), exact in float64 or float32; rounded to an integer it is the product's
term. Terms are summed as integers, as many at a time as cannot overflow; the plan proves that bound.
"""

from typing import Any

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import inlined, kernel
from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_numbers import JOIN, LANES, LAST, NOTHING, TERM, Aligned, Result, Span, Start
from statqat_sim.backends.numba_cpu.mma_rounding_loops import (
    LOW,
    exponent,
    odd,
    power,
    to_integers,
    to_results,
    zero_like,
)

FLOAT, INTEGER, LARGEST_UNIT = np.float64, np.float64, 1000


@inlined
def cut(x: Any) -> Any:
    """Round a product to an integer; `mma` replaces the call by the plan's rounding."""
    return np.trunc(x)  # of a product


@inlined
def cut_c(x: Any) -> Any:
    """Round C to an integer; `mma` replaces the call by the plan's rounding."""
    return np.trunc(x)


@inlined
def tops(ae: Any, be: Any, stride: Any, top: Any) -> Any:
    """The largest exponent of the products in each lane; four products at a time keep it in registers."""
    for j in range(LANES):
        top[j] = NOTHING
    k = 0
    while k + 3 * stride < ae.size:
        e0, e1, e2, e3 = ae[k], ae[k + stride], ae[k + 2 * stride], ae[k + 3 * stride]
        r0, r1, r2, r3 = be[k], be[k + stride], be[k + 2 * stride], be[k + 3 * stride]
        for j in range(LANES):
            first = max(np.int16(e0 + r0[j]), np.int16(e1 + r1[j]))
            second = max(np.int16(e2 + r2[j]), np.int16(e3 + r3[j]))
            top[j] = max(top[j], max(first, second))
        k += 4 * stride
    for at in range(k, ae.size, stride):
        e, row = ae[at], be[at]
        for j in range(LANES):
            top[j] = max(top[j], np.int16(e + row[j]))


@inlined
def of_all_terms(top: Any, row_has: Any, lane_has: Any, zero: Any, c: Any, emin: Any, is_term: Any,
                 exponents: Any) -> Any:  # fmt: skip
    """The exponent E of each lane: the largest of its products, and of C if that is a term; `zero` is that of zeros."""
    for j in range(LANES):
        e = zero if row_has or lane_has[j] else np.int64(LOW)
        of_c = max(exponent(c[j]), emin) if c[j] != 0.0 else zero
        exponents[j] = max(np.int64(top[j]), e, of_c if is_term else np.int64(LOW), LOW)


@inlined
def term(x: Any, y: Any, unit: Any) -> Any:
    """A product's term."""
    return INTEGER(cut(FLOAT(FLOAT(x * y) * unit)))


@inlined
def add_four(av: Any, bv: Any, k: Any, stride: Any, units: Any, part: Any) -> Any:
    """Add terms k, k + stride, k + 2·stride and k + 3·stride to each lane's sum, which stays in registers."""
    x0, x1, x2, x3 = av[k], av[k + stride], av[k + 2 * stride], av[k + 3 * stride]
    r0, r1, r2, r3 = bv[k], bv[k + stride], bv[k + 2 * stride], bv[k + 3 * stride]
    for j in range(LANES):
        unit = units[j]
        first = INTEGER(term(x0, r0[j], unit) + term(x1, r1[j], unit))
        second = INTEGER(term(x2, r2[j], unit) + term(x3, r3[j], unit))
        part[j] = INTEGER(part[j] + INTEGER(first + second))


@inlined
def add_one(x: Any, row: Any, units: Any, part: Any) -> Any:
    """Add one term to each lane's sum."""
    for j in range(LANES):
        part[j] = INTEGER(part[j] + term(x, row[j], units[j]))


@inlined
def move(part: Any, total: Any) -> Any:
    """Add the partial sums to the totals, and set them to zero."""
    for j in range(LANES):
        total[j] += np.float64(part[j])
        part[j] = 0


@inlined
def sums(av: Any, bv: Any, stride: Any, exponents: Any, fraction: Any, most: Any, units: Any, part: Any,
         total: Any) -> Any:  # fmt: skip
    """The sum of all terms in each lane, in units of 2^(exponent - fraction bits)."""
    for j in range(LANES):
        units[j] = FLOAT(power(min(fraction - exponents[j], LARGEST_UNIT)))
        total[j] = 0.0
        part[j] = 0
    k, waiting = 0, 0
    while k < av.size:
        many = 4 if most >= 4 and k + 3 * stride < av.size else 1
        if waiting + many > most:
            waiting = 0
            move(part, total)
        if many == 4:
            add_four(av, bv, k, stride, units, part)
        else:
            add_one(av[k], bv[k], units, part)
        waiting += many
        k += many * stride
    move(part, total)


@inlined
def parts_joined(totals: Any, tops_of: Any, mode: Any, total: Any, exponents: Any, result: Any) -> Any:
    """Add the sums of several parts, each rounded to units of the largest exponent."""
    for j in range(LANES):
        exponents[j] = LOW
        result[j] = 0.0
    for g in range(totals.shape[0]):
        for j in range(LANES):
            exponents[j] = max(exponents[j], tops_of[g, j])
    for g in range(totals.shape[0]):
        for j in range(LANES):
            total[j] = totals[g, j] * power(max(tops_of[g, j] - exponents[j], LOW))
        to_integers(total, mode)
        for j in range(LANES):
            result[j] += total[j]
    for j in range(LANES):
        total[j] = result[j]


@inlined
def c_joined(total: Any, c: Any, exponents: Any, plan: Aligned, emin: Any, later_emin: Any, result: Any) -> Any:
    """Add the sum of products and C, each rounded at its own number of bits; see `plan.mma.Junction`."""
    fraction, dot_bits, c_bits, kept_bits = plan.fraction, plan.dot_bits, plan.c_bits, plan.kept_bits
    for j in range(LANES):
        of_c = max(exponent(c[j]), emin)
        e = max(exponents[j], of_c)
        result[j] = total[j] * power(max(exponents[j] - fraction - e + dot_bits, LOW))
        total[j] = c[j] * power(c_bits - e) if of_c >= e - plan.reach else 0.0
        exponents[j] = e
    to_integers(result, plan.join_mode)
    to_integers(total, plan.join_mode)
    for j in range(LANES):
        e = exponents[j]
        result[j] = odd(result[j] * power(e - dot_bits), total[j] * power(e - c_bits))
    if kept_bits < 0:
        return
    for j in range(LANES):
        exponents[j] = max(exponent(result[j]), later_emin)
        result[j] = result[j] * power(kept_bits - exponents[j])
    to_integers(result, plan.join_mode)
    for j in range(LANES):
        result[j] = result[j] * power(exponents[j] - kept_bits)


@inlined
def in_units(total: Any, c: Any, exponents: Any, fraction: Any, is_term: Any, result: Any) -> Any:
    """The sum of all terms, scaled from units of 2^(exponent - fraction bits) to a float64."""
    for j in range(LANES):
        x = total[j] + cut_c(c[j] * power(fraction - exponents[j])) if is_term else total[j]
        result[j] = x * power(exponents[j] - fraction)


@inlined
def add_last(result: Any, c: Any, products: Any, to: Result) -> Any:
    """Add C to the rounded sums, which are copied to `products`. Returns whether one of these is Inf or NaN."""
    infinite = np.int64(0)
    for j in range(LANES):
        products[j] = result[j]
        infinite |= np.int64(not abs(result[j]) < np.inf)
        result[j] = odd(result[j], c[j])
    to_results(result, to)
    return infinite


@inlined
def special(av: Any, bv: Any, lane: Any, c: Any, limit: Any) -> Any:
    """The sum if a product or C is infinite or NaN; 0 if none is."""
    total = 0.0 if abs(c) < np.inf else c
    for k in range(av.size):
        x = np.float64(av[k]) * np.float64(bv[k, lane])
        if not abs(x) < limit:
            total += x * np.inf
    return total


@inlined
def put_right(av: Any, bv: Any, c: Any, enter: Any, limit: Any, products: Any, result: Any) -> Any:
    """Set the result of lanes whose C or products contain Inf or NaN."""
    for j in range(LANES):
        x = special(av, bv, j, c[j] if enter < LAST else 0.0, limit)
        if enter == LAST:
            x = (x if x != 0.0 else products[j]) + c[j]
            result[j] = result[j] if abs(x) < np.inf else x
        elif x != 0.0:
            result[j] = x


@inlined
def sign_zeros(av: Any, bv: Any, c: Any, enter: Any, result: Any) -> Any:
    """Set the sign of zero sums: -0 where all summands are -0, else +0."""
    for j in range(LANES):
        if result[j] == 0.0:
            zero = c[j] if enter < LAST and c[j] == 0.0 else -0.0 if enter >= LAST else 0.0
            for k in range(av.size):
                x = np.float64(av[k]) * np.float64(bv[k, j])
                zero += x if x == 0.0 else 0.0
            result[j] = zero


@inlined
def flushed(c: Any, least: Any, is_positive: Any, result: Any) -> Any:
    """C with values below `least` flushed to zero. Returns whether any lane is Inf or NaN."""
    wrong = np.int64(0)
    for j in range(LANES):
        wrong |= np.int64(not abs(c[j]) < np.inf)
        result[j] = zero_like(c[j], is_positive) if abs(c[j]) < least else c[j]
    return wrong


@inlined
def any_beyond(exponents: Any, limit: Any) -> Any:
    """Whether a lane's products may reach `limit`, from which on they are infinite."""
    found = np.int64(0)
    for j in range(LANES):
        found |= np.int64(power(exponents[j] + 2) >= limit)
    return found


@kernel()
def run(a: Any, b: Any, c: Any, plan: Aligned, to: Result, start: Start, span: Span) -> Any:
    """Replace C by D, for the panels and rows of `span`.

    a: values and exponents `(rows, K)`, whether a part of a step contains zeros `(rows, steps, parts)`, whether a
    step has Inf or NaN `(rows, steps)`. b: likewise `(panels, K, LANES)`, `(panels, steps, parts, LANES)`,
    `(panels, steps)`. c: `(panels, rows, LANES)`.
    """
    (av, ae, a_zeros, a_special), (bv, be, b_zeros, b_special) = a, b
    step, parts, enter, fraction, limit = plan.step, plan.parts, plan.enter, plan.fraction, plan.limit
    top, part, units = np.empty(LANES, np.int16), np.empty(LANES, INTEGER), np.empty(LANES, FLOAT)
    exponents, total, result, products = np.empty(LANES, np.int64), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    totals, tops_of, other = np.empty((parts, LANES)), np.empty((parts, LANES), np.int64), np.empty(LANES)
    mode = set_default_mode()
    for p in range(span.first_panel, span.end_panel):
        for q in range(av.shape[1] // step):
            emin, least = (start.emin, start.least) if q == 0 else (start.later_emin, start.later_least)
            k0, k1 = q * step, q * step + step
            y, y_exponents = bv[p, k0:k1], be[p, k0:k1]
            for i in range(span.first_row, span.end_row):
                row, x, x_exponents = c[p, i], av[i, k0:k1], ae[i, k0:k1]
                wrong = flushed(row, least, start.is_positive, other)
                wrong |= np.int64(a_special[i, q]) | np.int64(b_special[p, q])
                for g in range(parts):
                    tops(x_exponents[g:], y_exponents[g:], parts, top)
                    row_has, lane_has = a_zeros[i, q, g], b_zeros[p, q, g]
                    of_all_terms(top, row_has, lane_has, plan.zero, other, emin, enter == TERM, exponents)
                    sums(x[g:], y[g:], parts, exponents, fraction, plan.most_terms, units, part, total)
                    if parts > 1:
                        for j in range(LANES):
                            totals[g, j], tops_of[g, j] = total[j], exponents[j]
                if parts > 1:
                    parts_joined(totals, tops_of, plan.join_mode, total, exponents, result)
                if limit < np.inf:
                    wrong |= any_beyond(exponents, limit)
                if enter == JOIN:
                    c_joined(total, other, exponents, plan, emin, start.later_emin, result)
                else:
                    in_units(total, other, exponents, fraction, enter == TERM, result)
                if to.keeps_zeros:
                    sign_zeros(x, y, other, enter, result)
                to_results(result, to)
                if enter == LAST:
                    wrong |= add_last(result, other, products, to)
                if wrong:
                    put_right(x, y, row, enter, limit, products, result)
                for j in range(LANES):
                    row[j] = result[j]
    restore_mode(mode)
