"""The best scale of each row: its histogram, prefix sums, the error at every scale of a grid, and a proof.

This text is compiled as a generated module: see `row_loops`. A table has one word of 64 bits for each bin: how many
elements fell there, and the sum of their bits. The error at scale s, but for Σx², is

    Σ_sides n·(s·z)² − 2·s·z·Σ|x| − 2·s·Σ_j gap_j·excess(s·threshold_j),   excess(t) = Σ max(|x| − t, 0)
"""

import math
from typing import Any

import numpy as np
from numba import njit

MANTISSA_BITS = 5
SHIFT = np.uint32(23 - MANTISSA_BITS)
REST = np.uint32((1 << (23 - MANTISSA_BITS)) - 1)
SIDE_BINS = 1 << (8 + MANTISSA_BITS)
COUNT_ABOVE, SUM_BELOW = np.uint64(48), np.uint64((1 << 48) - 1)
ONE = np.uint64(1 << 48)
PART = 1.0 / (1 << (23 - MANTISSA_BITS))  # of a bin, for each unit of a word
MAGNITUDE, INFINITY = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
BINADES = 16  # below the largest; what lies further down is taken for zero
GRID = 512  # scales, at most
VALLEYS = 2  # that are looked into
ROUNDINGS = 2.0**-22  # of float32, relative to an element
POWER_ERROR = 1.8  # of a power that is known by binades only


@njit(nogil=True)
def fill(row: Any, table: Any, mask: Any) -> Any:
    """Count the elements of a row, and sum their bits."""
    for i in range(row.size):
        word = row[i] & mask
        table[word >> SHIFT] += ONE + np.uint64(word)


@njit(nogil=True)
def drained(table: Any, sign: Any, top: Any, factor: Any, counts: Any, sums: Any) -> Any:
    """Counts and sums of all elements from each bin on; the last bin that they reach, and the sum of squares.

    They reach down to a bin below `factor` times the root of that sum. The table, which counted words with this sign
    bit, is emptied as far.
    """
    power, count, total = 0.0, 0.0, 0.0
    counts[top + 1 : top + 3] = 0
    sums[top + 1 : top + 3] = 0
    binade, first, last = top >> MANTISSA_BITS, 0, top
    for _ in range(BINADES):
        first = binade << MANTISSA_BITS
        entries, here, there = table[first : last + 1], counts[first : last + 1], sums[first : last + 1]
        quantum = math.ldexp(1.0, binade - 150)
        # from bits to significands: without sign and exponent, with the hidden bit
        lift = np.uint64(((binade - 1) << 23) + sign)
        for i in range(entries.size):
            many = entries[i] >> COUNT_ABOVE
            here[i] = np.float64(np.int64(many))
            there[i] = np.float64(np.int64((entries[i] & SUM_BELOW) - many * lift)) * quantum
        entries[:] = 0
        before = count
        for i in range(entries.size - 1, -1, -1):
            count += here[i]
            total += there[i]
            here[i], there[i] = count, total
        power += (count - before) * (1.5 * 8388608 * quantum) ** 2
        if 8388608 * quantum <= factor * math.sqrt(power) or binade == 0:
            break
        binade, last = binade - 1, first - 1
    return first, power


# no array is sliced from here on: that counts references, which takes longer than a look-up


@njit(nogil=True, inline="always")
def roughly(
    s: Any, side: Any, lengths: Any, thresholds: Any, gaps: Any, top: Any, last: Any, counts: Any, sums: Any
) -> Any:
    """Σ_j gap_j·excess(s·threshold_j), were all elements of a bin beyond the threshold that cuts it."""
    result: Any = 0.0
    for j in range(lengths[side]):
        at = s * thresholds[side, j]
        bin = np.int64(np.float32(at).view(np.uint32) >> SHIFT)
        place = max(min(bin, top + 1), last)
        result += gaps[side, j] * (sums[side, place] - counts[side, place] * at)
    return result


@njit(nogil=True, inline="always")
def saved(
    s: Any, side: Any, lengths: Any, thresholds: Any, gaps: Any, top: Any, last: Any, counts: Any, sums: Any, edges: Any
) -> Any:
    """The same, but inside a bin the cubic that has the right values and slopes at both of its edges."""
    result: Any = 0.0
    for j in range(lengths[side]):
        at = s * thresholds[side, j]
        bits = np.float32(at).view(np.uint32)
        bin = np.int64(bits >> SHIFT)
        place = max(min(bin, top + 1), last)
        lower, outer = edges[place], counts[side, place + 1]
        inner = counts[side, place] - outer
        steep = inner * (edges[place + 1] - lower)
        whole = sums[side, place] - sums[side, place + 1] - inner * lower
        share: Any = 1.0 - np.float64(np.int32(bits & REST)) * PART
        if bin < last:
            # all that is known lies beyond
            share, outer, whole, steep = 1.0, counts[side, place], sums[side, place] - sums[side, place + 1], 0.0
        rest = share * share * (3 * whole - steep + share * (steep - 2 * whole))
        result += gaps[side, j] * (sums[side, place + 1] - outer * at + rest)
    return result


@njit(nogil=True, inline="always")
def error(
    s: Any,
    is_rough: Any,
    zeros: Any,
    lengths: Any,
    thresholds: Any,
    gaps: Any,
    top: Any,
    lasts: Any,
    counts: Any,
    sums: Any,
    edges: Any,
) -> Any:
    """Σ(x - Q(x))² - Σx²."""
    total: Any = 0.0
    for side in range(zeros.size):
        last, moved = lasts[side], s * zeros[side]
        if is_rough:
            gain = roughly(s, side, lengths, thresholds, gaps, top, last, counts, sums)
        else:
            gain = saved(s, side, lengths, thresholds, gaps, top, last, counts, sums, edges)
        total += moved * (counts[side, last] * moved - 2 * sums[side, last]) - 2 * s * gain
    return total


@njit(nogil=True)
def excess_bounds(at: Any, side: Any, top: Any, last: Any, counts: Any, sums: Any, missing: Any) -> Any:
    """Between what it lies: a sum of convex functions of elements whose number and mean each bin tells."""
    bin = np.int64(np.float32(at).view(np.uint32) >> SHIFT)
    if bin > top:
        return 0.0, 0.0
    if bin < last:
        whole = sums[side, last] - counts[side, last] * at
        return whole, whole + missing * max(edge(last) - at, 0.0)
    outer = sums[side, bin + 1] - counts[side, bin + 1] * at
    count = counts[side, bin] - counts[side, bin + 1]
    if count == 0:
        return outer, outer
    lower, upper = edge(bin), edge(bin + 1)
    mean = min(max((sums[side, bin] - sums[side, bin + 1]) / count, lower), upper)
    least = count * max(mean - at, 0.0)
    if count == 1:
        return outer + least, outer + least
    most = count * (mean - lower) / (upper - lower) * max(upper - at, 0.0)
    return outer + least, outer + max(most, least)


@njit(nogil=True)
def edge(bin: Any) -> Any:
    """The least magnitude of a bin."""
    return np.float64(np.uint32(np.uint32(bin) << SHIFT).view(np.float32))


@njit(nogil=True)
def error_bounds(
    s: Any,
    zeros: Any,
    lengths: Any,
    thresholds: Any,
    gaps: Any,
    top: Any,
    lasts: Any,
    counts: Any,
    sums: Any,
    size: Any,
) -> Any:
    """Between what it lies."""
    low = high = known = 0.0
    for side in range(zeros.size):
        known += counts[side, lasts[side]]
    missing = size - known
    for side in range(zeros.size):
        last = lasts[side]
        moved = s * zeros[side]
        base = moved * (counts[side, last] * moved - 2 * sums[side, last])
        slack = 2 * abs(moved) * missing * edge(last) + missing * moved * moved
        least, most = 0.0, 0.0
        for j in range(lengths[side]):
            few, many = excess_bounds(s * thresholds[side, j], side, top, last, counts, sums, missing)
            least += gaps[side, j] * few
            most += gaps[side, j] * many
        low += base - slack - 2 * s * most
        high += base + slack - 2 * s * least
    return low, high


@njit(nogil=True)
def valley(errors: Any, size: Any) -> Any:
    """Where the least of these is."""
    place = 0
    for i in range(1, size):
        if errors[i] < errors[place]:
            place = i
    return place


def largest_of_rows(rows: Any, tops: Any) -> Any:
    """The largest finite magnitude of each row, as bits."""
    for index in range(rows.shape[0]):
        row, largest = rows[index], np.uint32(0)
        for i in range(row.size):
            magnitude = row[i] & MAGNITUDE
            largest = max(largest, magnitude if magnitude < INFINITY else np.uint32(0))
        tops[index] = largest


def scan_rows(
    rows: Any,
    minmax: Any,
    tops: Any,
    zeros: Any,
    lengths: Any,
    thresholds: Any,
    gaps: Any,
    largest: Any,
    reach: Any,
    ratio: Any,
    per_octave: Any,
    finer: Any,
    scales: Any,
    proven: Any,
) -> Any:
    """For each row the best scale found, and whether it is proven to be no worse than MinMax's."""
    sides = zeros.size
    mask = MAGNITUDE if sides == 1 else np.uint32(0xFFFFFFFF)
    table = np.zeros(2 * SIDE_BINS, np.uint64)
    counts, sums = np.zeros((sides, SIDE_BINS + 2)), np.zeros((sides, SIDE_BINS + 2))
    edges = np.empty(SIDE_BINS + 2)
    for bin in range(edges.size):
        edges[bin] = edge(bin)
    grid, errors = np.empty(GRID), np.empty(GRID)
    lasts, dirty = np.zeros(sides, np.int64), np.zeros(sides, np.int64)
    first = min(thresholds[0, 0], thresholds[sides - 1, 0])
    for index in range(rows.shape[0]):
        row, top = rows[index], np.int64(tops[index] >> SHIFT)
        deepest: Any = max(((top >> MANTISSA_BITS) - BINADES) << MANTISSA_BITS, 0)
        for side in range(sides):
            if deepest < dirty[side]:
                table[side * SIDE_BINS + deepest : side * SIDE_BINS + dirty[side]] = 0
        fill(row, table, mask)
        power = 0.0
        factor = 0.5 * ratio * first / largest / math.sqrt(row.size)
        for side in range(sides):
            part = table[side * SIDE_BINS : (side + 1) * SIDE_BINS]
            lasts[side], here = drained(part, side << 31, top, factor, counts[side], sums[side])
            dirty[side] = lasts[side]
            power += here
        rms = math.sqrt(power / row.size)
        shrink = 2.0 ** (-1.0 / per_octave)
        s, size, low, least = minmax[index] * reach, 0, min(ratio * rms / largest, minmax[index]), np.inf
        while size < GRID and (s >= low or size < 3):
            grid[size] = s
            errors[size] = error(s, True, zeros, lengths, thresholds, gaps, top, lasts, counts, sums, edges)
            if errors[size] < least:
                # what is clipped alone would be more below
                least = errors[size]
                low = max(
                    low, min(minmax[index], (0.9 * rms - math.sqrt(max(least + power, 0.0) / row.size)) / largest)
                )
            size += 1
            s *= shrink
        best, least, growth = minmax[index], np.inf, 1.0 / shrink
        for level in range(finer.size):
            step = growth ** (1.0 / finer[level])
            for _ in range(VALLEYS if level == 0 else 1):
                place = valley(errors, size)
                errors[max(place - 1, 0) : place + 2] = np.inf
                s = (grid[place] if level == 0 else best) * growth / step
                for _ in range(2 * finer[level] - 1):
                    here = error(s, False, zeros, lengths, thresholds, gaps, top, lasts, counts, sums, edges)
                    if here < least:
                        best, least = s, here
                    s /= step
            growth = step
        scales[index] = np.float32(best)
        best = np.float64(scales[index])
        _, high = error_bounds(best, zeros, lengths, thresholds, gaps, top, lasts, counts, sums, row.size)
        low, above = error_bounds(minmax[index], zeros, lengths, thresholds, gaps, top, lasts, counts, sums, row.size)
        whole = POWER_ERROR * power
        roots = math.sqrt(max(high + whole, 0.0)) + math.sqrt(max(above + whole, 0.0))
        proven[index] = low - high > 2 * ROUNDINGS * math.sqrt(whole) * roots + 1e-12 * whole
