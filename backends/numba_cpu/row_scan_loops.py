"""The best scale of each row: its histogram, prefix sums, the error at every scale of a grid, and a proof.

This text is compiled as a generated module: see `row_loops`. A table has one word of 64 bits for each bin: how many
elements fell there, and the sum of their bits. The error at scale s, but for Σx², is

    Σ_sides n·(s·z)² − 2·s·z·Σ|x| − 2·s·Σ_j gap_j·excess(s·threshold_j),   excess(t) = Σ max(|x| − t, 0)
"""

import math
from typing import Any, NamedTuple

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import called, inlined

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
POWER_ERROR = 1.8  # of a power that is known by binades only


class Steps(NamedTuple):
    """A format's step function; `lengths`: how many thresholds each side has. See `plan.row_scan.RowScanPlan`."""

    zeros: Any
    lengths: Any
    thresholds: Any
    gaps: Any


class Tables(NamedTuple):
    """Counts and sums of all elements from each bin on, `(sides, bins)`: of bins from `lasts` to the largest."""

    counts: Any
    sums: Any
    lasts: Any
    edges: Any
    """The least magnitude of each bin."""


@called
def fill(row: Any, table: Any, mask: Any) -> Any:
    """Count the elements of a row, and sum their bits."""
    for i in range(row.size):
        word = row[i] & mask
        table[word >> SHIFT] += ONE + np.uint64(word)


@called
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


@inlined
def roughly(s: Any, side: Any, steps: Steps, tables: Tables, top: Any) -> Any:
    """Σ_j gap_j·excess(s·threshold_j), were all elements of a bin beyond the threshold that cuts it."""
    thresholds, gaps, counts, sums = steps.thresholds, steps.gaps, tables.counts, tables.sums
    last, result = tables.lasts[side], 0.0
    for j in range(steps.lengths[side]):
        at = s * thresholds[side, j]
        bin = np.int64(np.float32(at).view(np.uint32) >> SHIFT)
        place = max(min(bin, top + 1), last)
        result += gaps[side, j] * (sums[side, place] - counts[side, place] * at)
    return result


@inlined
def saved(s: Any, side: Any, steps: Steps, tables: Tables, top: Any) -> Any:
    """The same, but inside a bin the cubic that has the right values and slopes at both of its edges."""
    thresholds, gaps, counts, sums, edges = steps.thresholds, steps.gaps, tables.counts, tables.sums, tables.edges
    last, result = tables.lasts[side], 0.0
    for j in range(steps.lengths[side]):
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


@inlined
def error(s: Any, is_rough: Any, steps: Steps, tables: Tables, top: Any) -> Any:
    """Σ(x - Q(x))² - Σx²."""
    total: Any = 0.0
    for side in range(steps.zeros.size):
        last, moved = tables.lasts[side], s * steps.zeros[side]
        gain = roughly(s, side, steps, tables, top) if is_rough else saved(s, side, steps, tables, top)
        total += moved * (tables.counts[side, last] * moved - 2 * tables.sums[side, last]) - 2 * s * gain
    return total


@called
def excess_bounds(at: Any, side: Any, tables: Tables, top: Any, missing: Any) -> Any:
    """Between what it lies: a sum of convex functions of elements whose number and mean each bin tells."""
    counts, sums, last = tables.counts, tables.sums, tables.lasts[side]
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


@called
def edge(bin: Any) -> Any:
    """The least magnitude of a bin."""
    return np.float64(np.uint32(np.uint32(bin) << SHIFT).view(np.float32))


@called
def error_bounds(s: Any, steps: Steps, tables: Tables, top: Any, count: Any) -> Any:
    """Between what it lies, of `count` elements."""
    low = high = known = 0.0
    for side in range(steps.zeros.size):
        known += tables.counts[side, tables.lasts[side]]
    missing = count - known
    for side in range(steps.zeros.size):
        last = tables.lasts[side]
        moved = s * steps.zeros[side]
        base = moved * (tables.counts[side, last] * moved - 2 * tables.sums[side, last])
        slack = 2 * abs(moved) * missing * edge(last) + missing * moved * moved
        least, most = 0.0, 0.0
        for j in range(steps.lengths[side]):
            few, many = excess_bounds(s * steps.thresholds[side, j], side, tables, top, missing)
            least += steps.gaps[side, j] * few
            most += steps.gaps[side, j] * many
        low += base - slack - 2 * s * most
        high += base + slack - 2 * s * least
    return low, high


@called
def valley(errors: Any, size: Any) -> Any:
    """Where the least of these is."""
    place = 0
    for i in range(1, size):
        if errors[i] < errors[place]:
            place = i
    return place


@inlined
def tabled(row: Any, top: Any, factor: Any, table: Any, dirty: Any, tables: Tables) -> Any:
    """Write a row's tables, and return about its Σx²; see `drained`.

    Of each side of `table`, what lies below bin `dirty` is left from rows before.
    """
    lasts, counts, sums = tables.lasts, tables.counts, tables.sums
    deepest: Any = max(((top >> MANTISSA_BITS) - BINADES) << MANTISSA_BITS, 0)
    for side in range(lasts.size):
        if deepest < dirty[side]:
            table[side * SIDE_BINS + deepest : side * SIDE_BINS + dirty[side]] = 0
    fill(row, table, MAGNITUDE if lasts.size == 1 else np.uint32(0xFFFFFFFF))
    power = 0.0
    for side in range(lasts.size):
        part = table[side * SIDE_BINS : (side + 1) * SIDE_BINS]
        lasts[side], of_side = drained(part, side << 31, top, factor, counts[side], sums[side])
        dirty[side] = lasts[side]
        power += of_side
    return power


@inlined
def scanned(
    minmax: Any,
    largest: Any,
    reach: Any,
    ratio: Any,
    shrink: Any,
    power: Any,
    count: Any,
    steps: Steps,
    tables: Tables,
    top: Any,
    grid: Any,
    errors: Any,
) -> Any:
    """Write scales, from `reach` times MinMax's down, and their rough errors. Returns how many."""
    rms = math.sqrt(power / count)
    s, size, low, least = minmax * reach, 0, min(ratio * rms / largest, minmax), np.inf
    while size < GRID and (s >= low or size < 3):
        grid[size] = s
        errors[size] = error(s, True, steps, tables, top)
        if errors[size] < least:
            # what is clipped alone would be more below
            least = errors[size]
            low = max(low, min(minmax, (0.9 * rms - math.sqrt(max(least + power, 0.0) / count)) / largest))
        size += 1
        s *= shrink
    return size


@inlined
def refined(
    minmax: Any, shrink: Any, finer: Any, grid: Any, errors: Any, size: Any, steps: Steps, tables: Tables, top: Any
) -> Any:
    """The best scale around the valleys of the grid, on ever finer grids."""
    best, least, growth = minmax, np.inf, 1.0 / shrink
    for level in range(finer.size):
        step = growth ** (1.0 / finer[level])
        for _ in range(VALLEYS if level == 0 else 1):
            place = valley(errors, size)
            errors[max(place - 1, 0) : place + 2] = np.inf
            s = (grid[place] if level == 0 else best) * growth / step
            for _ in range(2 * finer[level] - 1):
                here = error(s, False, steps, tables, top)
                if here < least:
                    best, least = s, here
                s /= step
        growth = step
    return best


@inlined
def is_no_worse(
    best: Any, minmax: Any, roundings: Any, power: Any, count: Any, steps: Steps, tables: Tables, top: Any
) -> Any:
    """Whether the error at `best` is proven to be no larger than at MinMax's scale, whatever float32 rounds."""
    _, high = error_bounds(best, steps, tables, top, count)
    low, above = error_bounds(minmax, steps, tables, top, count)
    whole = POWER_ERROR * power
    roots = math.sqrt(max(high + whole, 0.0)) + math.sqrt(max(above + whole, 0.0))
    return low - high > 2 * roundings * math.sqrt(whole) * roots + 1e-12 * whole


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
    roundings: Any,
    scales: Any,
    proven: Any,
) -> Any:
    """For each row the best scale found, and whether it is proven to be no worse than MinMax's."""
    sides = zeros.size
    table = np.zeros(2 * SIDE_BINS, np.uint64)
    counts, sums = np.zeros((sides, SIDE_BINS + 2)), np.zeros((sides, SIDE_BINS + 2))
    edges = np.empty(SIDE_BINS + 2)
    for bin in range(edges.size):
        edges[bin] = edge(bin)
    grid, errors = np.empty(GRID), np.empty(GRID)
    lasts, dirty = np.zeros(sides, np.int64), np.zeros(sides, np.int64)
    steps, tables = Steps(zeros, lengths, thresholds, gaps), Tables(counts, sums, lasts, edges)
    first, shrink = min(thresholds[0, 0], thresholds[sides - 1, 0]), 2.0 ** (-1.0 / per_octave)
    for index in range(rows.shape[0]):
        row, top = rows[index], np.int64(tops[index] >> SHIFT)
        factor = 0.5 * ratio * first / largest / math.sqrt(row.size)
        power = tabled(row, top, factor, table, dirty, tables)
        size = scanned(minmax[index], largest, reach, ratio, shrink, power, row.size, steps, tables, top, grid, errors)
        best = refined(minmax[index], shrink, finer, grid, errors, size, steps, tables, top)
        scales[index] = np.float32(best)
        scale = np.float64(scales[index])
        proven[index] = is_no_worse(scale, minmax[index], roundings, power, row.size, steps, tables, top)
