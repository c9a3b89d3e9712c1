"""Sums with a rounding after each addition: chains of fused multiply-adds, and pairwise sums.

A product is exact in float64; a sum is rounded to odd in float64, then to the result's precision, so only once in all.
This text is compiled as a generated module: see `mma`.
"""

from typing import Any

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import called, kernel
from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_numbers import LANES, LAST, NO_C, Result, Span, Start, Steps
from statqat_sim.backends.numba_cpu.mma_rounding_loops import odd, to_results, zero_like


@called
def add(x: Any, y: Any, to: Result, saturated: Any) -> Any:
    """Replace x by the rounded sum x + y; `saturated` is a work array.

    A sum of Inf or NaN stays so even where overflow saturates.
    """
    for j in range(LANES):
        saturated[j] = x[j] + y[j]
        x[j] = odd(x[j], y[j])
    finish(x, to, saturated)


@called
def finish(x: Any, to: Result, before: Any) -> Any:
    """Round lanes in place; where `before` is Inf or NaN, the result is `before`."""
    to_results(x, to)
    for j in range(LANES):
        x[j] = x[j] if abs(before[j]) < np.inf else before[j]


@called
def chain(
    av: Any, bv: Any, places: Any, first: Any, stride: Any, lanes: Any, product: Any, to: Result, before: Any
) -> Any:
    """Add the products at `places[first::stride]` to the lanes one by one."""
    for at in range(first, places.size, stride):
        x, row = av[places[at]], bv[places[at]]
        for j in range(LANES):
            product[j] = x * row[j]
        add(lanes, product, to, before)


@called
def pairwise(av: Any, bv: Any, places: Any, lanes: Any, to: Result, before: Any) -> Any:
    """Round the products and sum them pairwise; the result is `lanes[0]`."""
    for at in range(places.size):
        x, row = av[places[at]], bv[places[at]]
        for j in range(LANES):
            lanes[at, j] = x * row[j]
            before[j] = lanes[at, j]
        finish(lanes[at], to, before)
    count = places.size
    while count > 1:
        for at in range(count // 2):
            add(lanes[2 * at], lanes[2 * at + 1], to, before)
            lanes[at] = lanes[2 * at]
        if count % 2:
            lanes[count // 2] = lanes[count - 1]
        count = (count + 1) // 2


@kernel()
def run(a: Any, b: Any, c: Any, places: Any, plan: Steps, to: Result, start: Start, span: Span) -> Any:
    """Replace C by D, for the panels and rows of `span`.

    a: values `(rows, K)`; b: `(panels, K, LANES)`; c: `(panels, rows, LANES)`. places: the order of a step's products.
    """
    (av,), (bv,) = a, b
    parts, is_pairwise, enter = plan.parts, plan.is_pairwise, plan.enter
    step = places.size
    many = step if is_pairwise else parts
    lanes, other, product = np.empty((many, LANES)), np.empty(LANES), np.empty(LANES)
    before = np.empty(LANES)
    mode = set_default_mode()
    for p in range(span.first_panel, span.end_panel):
        for i in range(span.first_row, span.end_row):
            row = c[p, i]
            for k0 in range(0, av.shape[1], step):
                x, y = av[i, k0 : k0 + step], bv[p, k0 : k0 + step]
                least = start.least if k0 == 0 else start.later_least
                for j in range(LANES):
                    other[j] = (
                        row[j] if abs(row[j]) >= least or row[j] != row[j] else zero_like(row[j], start.is_positive)
                    )
                if is_pairwise:
                    pairwise(x, y, places, lanes, to, before)
                elif enter in (LAST, NO_C):
                    for g in range(parts):
                        lanes[g] = 0.0
                        chain(x, y, places, g, parts, lanes[g], product, to, before)
                    for g in range(1, parts):
                        add(lanes[0], lanes[g], to, before)
                else:
                    lanes[0] = other
                    chain(x, y, places, 0, 1, lanes[0], product, to, before)
                if enter == LAST or (is_pairwise and enter != NO_C):
                    add(lanes[0], other, to, before)
                for j in range(LANES):
                    row[j] = lanes[0, j]
    restore_mode(mode)
