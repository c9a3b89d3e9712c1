"""Sums over each row in one pass: magnitudes and their squares, or the squares of errors.

This text is compiled as a generated module: see `row_loops`. Element i is added to sum i % LANES, and these are added
halves to halves: the order of additions is fixed, and vectors hold them. On every machine the bits are the same.
"""

from typing import Any

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import called

LANES = 64


@called
def used(size: Any) -> Any:
    """How many lanes a row uses, rounded up to a power of two: the others would add zeros, which change no bit."""
    lanes = 1
    while lanes < min(size, LANES):
        lanes *= 2
    return lanes


@called
def added(sums: Any, lanes: Any) -> Any:
    """The sum of the first lanes, a power of two; they are changed."""
    half = lanes // 2
    while half > 0:
        for lane in range(half):
            sums[lane] += sums[lane + half]
        half //= 2
    return sums[0]


@called
def magnitude(x: Any) -> Any:
    """Of a finite number; 0 of others."""
    return np.float64(abs(x)) if abs(x) < np.inf else 0.0


@called
def squared(x: Any, y: Any) -> Any:
    """(x - y)² of a finite x; 0 of others."""
    error = np.float64(x) - np.float64(y) if abs(x) < np.inf else 0.0
    return error * error


def moments_of_rows(rows: Any, counts: Any, totals: Any, powers: Any) -> Any:
    """How many elements of each row are finite, the sum of their magnitudes, and that of their squares."""
    total, power = np.empty(LANES), np.empty(LANES)
    lanes, whole = used(rows.shape[1]), rows.shape[1] // LANES * LANES
    for index in range(rows.shape[0]):
        row, count = rows[index], np.int32(0)
        total[:lanes] = 0
        power[:lanes] = 0
        for first in range(0, whole, LANES):
            for lane in range(LANES):
                x = magnitude(row[first + lane])
                total[lane] += x
                power[lane] += x * x
        for lane in range(rows.shape[1] - whole):
            x = magnitude(row[whole + lane])
            total[lane] += x
            power[lane] += x * x
        for i in range(row.size):
            count += np.int32(abs(row[i]) < np.inf)
        counts[index], totals[index], powers[index] = count, added(total, lanes), added(power, lanes)


def errors_of_rows(rows: Any, values: Any, errors: Any) -> Any:
    """Σ(x - y)² over the finite elements x of each row."""
    total = np.empty(LANES)
    lanes, whole = used(rows.shape[1]), rows.shape[1] // LANES * LANES
    for index in range(rows.shape[0]):
        row, there = rows[index], values[index]
        total[:lanes] = 0
        for first in range(0, whole, LANES):
            for lane in range(LANES):
                total[lane] += squared(row[first + lane], there[first + lane])
        for lane in range(rows.shape[1] - whole):
            total[lane] += squared(row[whole + lane], there[whole + lane])
        errors[index] = added(total, lanes)
