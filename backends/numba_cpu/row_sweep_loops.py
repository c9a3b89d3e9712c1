"""The best scale of each short row: all values that rounding to nearest gives at any scale are compared.

This text is compiled as a generated module: see `row_loops`. An element x takes the next value where 1/scale passes
threshold/|x|: an event. With values c, Σ(x − s·c)² is least at s = A/B, where it is Σx² − A²/B, with A = Σ x·c and
B = Σ c². Rounding to nearest at that scale is no worse. So the values with the largest A²/B, of all that are passed in
the order of events, have the best scale.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import called

LEVEL, ELEMENT = np.uint64((1 << 16) - 1), np.uint64((1 << 8) - 1)
LEVEL_BITS, PAYLOAD_BITS = np.uint64(16), np.uint64(24)  # of an event, below the bits that order it
LARGEST_KEY = 1 << 40
SLACK = 1e-9  # covers what is rounded in an error


class Steps(NamedTuple):
    """A format's step function; `lengths`: how many thresholds each side has. See `plan.row_scan.RowScanPlan`."""

    lengths: Any
    thresholds: Any
    gaps: Any
    values: Any
    """One more than thresholds."""
    rises: Any
    """How much the squared value grows at each threshold."""


class Elements(NamedTuple):
    """A row's elements: their magnitudes, and on which side of zero they lie."""

    magnitudes: Any
    sides: Any


@called
def split(row: Any, steps: Steps, elements: Elements) -> Any:
    """Write the finite elements of a row, but for those whose value is 0 at any scale; returns how many."""
    size: Any = 0
    for i in range(row.size):
        side = 1 if row[i] < 0 and steps.lengths.size > 1 else 0
        if abs(row[i]) < np.inf and (steps.lengths[side] > 0 or steps.values[side, 0] != 0):
            elements.magnitudes[size], elements.sides[size] = abs(row[i]), side
            size += 1
    return size


@called
def passed(at: Any, side: Any, steps: Steps) -> Any:
    """How many thresholds are at or below a point."""
    low: Any = 0
    high = steps.lengths[side]
    while low < high:
        middle = (low + high) // 2
        if steps.thresholds[side, middle] <= at:
            low = middle + 1
        else:
            high = middle
    return low


@called
def onward(level: Any, at: Any, side: Any, steps: Steps) -> Any:
    """The same, of a point beyond as many thresholds as `level`, and not many more."""
    while level < steps.lengths[side] and steps.thresholds[side, level] <= at:
        level += 1
    return level


@called
def started(inverse: Any, steps: Steps, elements: Elements, size: Any, levels: Any) -> Any:
    """Write each element's level at the scale with this inverse; returns A and B there."""
    a, b = 0.0, 0.0
    for i in range(size):
        x, side = elements.magnitudes[i], elements.sides[i]
        levels[i, 0] = passed(x * inverse, side, steps)
        value = steps.values[side, levels[i, 0]]
        a += x * value
        b += value * value
    return a, b


@called
def last_inverse(minmax: Any, steps: Steps, elements: Elements, size: Any, levels: Any) -> Any:
    """Beyond it, some element alone is clipped by more than the whole error near MinMax's scale."""
    a, b, power, least = 0.0, 0.0, 0.0, 0.0
    for i in range(size):
        x, side = elements.magnitudes[i], elements.sides[i]
        value = steps.values[side, onward(levels[i, 0], x / minmax, side, steps)]
        a += x * value
        b += value * value
        power += x * x
    error = math.sqrt(max(power - (a * a / b if b > 0 else 0.0), 0.0) + SLACK * power)
    for i in range(size):
        largest = steps.values[elements.sides[i], steps.lengths[elements.sides[i]]]
        if largest > 0:
            least = max(least, (elements.magnitudes[i] - error) / largest)
    return 1 / least if least > 0 else np.inf


@called
def bits_of(x: Any) -> Any:
    """Of a float64; ordered as numbers above zero are."""
    return np.float64(x).view(np.uint64)


@called
def counted(first: Any, last: Any, steps: Steps, elements: Elements, size: Any, levels: Any) -> Any:
    """How many events lie between two inverses of scales, and where the last is; writes the levels that end them."""
    count: Any = 0
    furthest = first
    for i in range(size):
        x, side, level = elements.magnitudes[i], elements.sides[i], levels[i, 0]
        if x > 0:
            level = onward(level, x * last, side, steps)
        if level > levels[i, 0]:
            count += level - levels[i, 0]
            furthest = max(furthest, steps.thresholds[side, level - 1] / x)
        levels[i, 1] = level
    return count, furthest


@called
def shift_below(number: Any, limit: Any) -> Any:
    """The least shift that brings a number below a limit."""
    shift: Any = np.uint64(0)
    while number >> shift >= np.uint64(limit):
        shift += np.uint64(1)
    return shift


@called
def ordered(
    first: Any, furthest: Any, steps: Steps, elements: Elements, size: Any, levels: Any, some: Any, events: Any
) -> Any:
    """Write the events in order: sorted by buckets, which hold about one each, and within them by insertion."""
    base = bits_of(first)
    span = bits_of(furthest) - base + np.uint64(1)
    coarse = shift_below(span, LARGEST_KEY)
    ends = np.zeros(max(events.size, 2), np.int64)  # two at least, so that no word is shifted by all its bits
    fine = shift_below(span >> coarse, ends.size) + PAYLOAD_BITS
    count: Any = 0
    for i in range(size):
        inverse, side = 1 / elements.magnitudes[i] if elements.magnitudes[i] > 0 else 0.0, elements.sides[i]
        for j in range(levels[i, 0], levels[i, 1]):
            key = max(bits_of(steps.thresholds[side, j] * inverse), base) - base
            some[count] = (min(key, span) >> coarse) << PAYLOAD_BITS | np.uint64(i) << LEVEL_BITS | np.uint64(j)
            ends[some[count] >> fine] += 1
            count += 1
    before: Any = 0
    for bucket in range(ends.size):
        before, ends[bucket] = before + ends[bucket], before
    for i in range(events.size):
        bucket = some[i] >> fine
        events[ends[bucket]] = some[i]
        ends[bucket] += 1
    for i in range(1, events.size):
        event, place = events[i], i
        while place > 0 and events[place - 1] > event:
            events[place] = events[place - 1]
            place -= 1
        events[place] = event


@called
def swept(a: Any, b: Any, steps: Steps, elements: Elements, events: Any) -> Any:
    """The best scale of the values with these A and B, and of all that follow; 0 if none is above zero."""
    best_a, best_b = (a, b) if a > 0 else (0.0, 1.0)
    for event in events:
        i, j = (event >> LEVEL_BITS) & ELEMENT, event & LEVEL
        side = elements.sides[i]
        a += elements.magnitudes[i] * steps.gaps[side, j]
        b += steps.rises[side, j]
        if a > 0 and a * a * best_b > best_a * best_a * b:
            best_a, best_b = a, b
    return best_a / best_b


def sweep_rows(
    rows: Any,
    minmax: Any,
    lengths: Any,
    thresholds: Any,
    gaps: Any,
    values: Any,
    rises: Any,
    reach: Any,
    scales: Any,
) -> Any:
    """The best scale of each row up to `reach` times MinMax's."""
    steps = Steps(lengths, thresholds, gaps, values, rises)
    elements = Elements(np.zeros(rows.shape[1]), np.zeros(rows.shape[1], np.int64))
    levels = np.zeros((rows.shape[1], 2), np.int64)
    some, events = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    for index in range(rows.shape[0]):
        size = split(rows[index], steps, elements)
        first = 1 / (reach * minmax[index])
        a, b = started(first, steps, elements, size, levels)
        last = last_inverse(minmax[index], steps, elements, size, levels)
        count, furthest = counted(first, last, steps, elements, size, levels)
        if count > some.size:
            some, events = np.zeros(2 * count, np.uint64), np.zeros(2 * count, np.uint64)
        ordered(first, furthest, steps, elements, size, levels, some, events[:count])
        scale = swept(a, b, steps, elements, events[:count])
        scales[index] = scale if scale > 0 else minmax[index]
