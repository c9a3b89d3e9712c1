"""Sums with a rounding after each addition: chains of fused multiply-adds, and pairwise sums.

A product is exact in float64; a sum is rounded to odd in float64, then to the result's precision, so only once in all.
This text is compiled as a generated module: see `mma`.
"""

from typing import Any

import numpy as np
from numba import njit

from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_rounding_loops import W, odd, to_results, zero_like

LAST, NO_C = 2, 3


@njit
def add(x: Any, y: Any, how: Any, bounds: Any, saturated: Any) -> Any:
    """Replace x by the rounded sum x + y; `saturated` is a work array.

    A sum of Inf or NaN stays so even where overflow saturates.
    """
    for j in range(W):
        saturated[j] = x[j] + y[j]
        x[j] = odd(x[j], y[j])
    finish(x, how, bounds, saturated)


@njit
def finish(x: Any, how: Any, bounds: Any, before: Any) -> Any:
    """Round lanes in place; where `before` is Inf or NaN, the result is `before`."""
    to_results(x, how, bounds)
    for j in range(W):
        x[j] = x[j] if abs(before[j]) < np.inf else before[j]


@njit
def chain(av: Any, bv: Any, places: Any, first: Any, stride: Any, lanes: Any, product: Any, how: Any,
          bounds: Any, before: Any) -> Any:  # fmt: skip
    """Add the products at `places[first::stride]` to the lanes one by one."""
    for at in range(first, places.size, stride):
        x, row = av[places[at]], bv[places[at]]
        for j in range(W):
            product[j] = x * row[j]
        add(lanes, product, how, bounds, before)


@njit
def pairwise(av: Any, bv: Any, places: Any, lanes: Any, how: Any, bounds: Any, before: Any) -> Any:
    """Round the products and sum them pairwise; the result is `lanes[0]`."""
    for at in range(places.size):
        x, row = av[places[at]], bv[places[at]]
        for j in range(W):
            lanes[at, j] = x * row[j]
            before[j] = lanes[at, j]
        finish(lanes[at], how, bounds, before)
    count = places.size
    while count > 1:
        for at in range(count // 2):
            add(lanes[2 * at], lanes[2 * at + 1], how, bounds, before)
            lanes[at] = lanes[2 * at]
        if count % 2:
            lanes[count // 2] = lanes[count - 1]
        count = (count + 1) // 2


@njit(nogil=True)
def run(a: Any, b: Any, c: Any, places: Any, plan: Any, how: Any, bounds: Any, span: Any) -> Any:
    """Replace C by D, for panels `span[0]` to `span[1]` and rows `span[2]` to `span[3]`, ends excluded.

    a: values `(rows, K)`; b: `(panels, K, W)`; c: `(panels, rows, W)`. places: the order of a step's products.
    plan: number of chains, whether sums are pairwise, how C enters. how: see `to_results`. bounds: see
    `mma_lanes_loops.run`.
    """
    mode = set_default_mode()
    (av,), (bv,) = a, b
    parts, is_pairwise, enter = plan[0], plan[1], plan[2]
    step = places.size
    many = step if is_pairwise else parts
    lanes, other, product = np.empty((many, W)), np.empty(W), np.empty(W)
    before = np.empty(W)
    for p in range(span[0], span[1]):
        for i in range(span[2], span[3]):
            row = c[p, i]
            for k0 in range(0, av.shape[1], step):
                x, y = av[i, k0 : k0 + step], bv[p, k0 : k0 + step]
                least = bounds[2] if k0 == 0 else bounds[4]
                for j in range(W):
                    other[j] = row[j] if abs(row[j]) >= least or row[j] != row[j] else zero_like(row[j], how[6])
                if is_pairwise:
                    pairwise(x, y, places, lanes, how, bounds, before)
                elif enter in (LAST, NO_C):
                    for g in range(parts):
                        lanes[g] = 0.0
                        chain(x, y, places, g, parts, lanes[g], product, how, bounds, before)
                    for g in range(1, parts):
                        add(lanes[0], lanes[g], how, bounds, before)
                else:
                    lanes[0] = other
                    chain(x, y, places, 0, 1, lanes[0], product, how, bounds, before)
                if enter == LAST or (is_pairwise and enter != NO_C):
                    add(lanes[0], other, how, bounds, before)
                for j in range(W):
                    row[j] = lanes[0, j]
    restore_mode(mode)
