"""How two formats differ: in their codes and values of float32 inputs, in their decoded codes, and in their keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Integers
from statqat_sim.reference.exact import grid_of
from statqat_sim.reference.grid import Number
from statqat_sim.reference.ieee import FLOAT32
from statqat_sim.reference.steps import Boundary, first_pattern
from statqat_sim.reference.ties import tie_between
from statqat_sim.report.keys import differing_keys
from statqat_sim.report.pieces import REFUSED, Pair, Pieces, pieces
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.number import NumberFormat

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Range:
    """`count` consecutive inputs, from bits `first` on, with one code in each format; REFUSED if it refuses them."""

    first: int
    count: int
    codes: tuple[int, int]
    values: tuple[float, float]

    @property
    def last(self) -> int:
        """The bits of the last input."""
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True)
class Region:
    """The number of inputs of a class that differ, and the first range of them.

    The classes are NaN, Inf, zero, negative (below zero, if no format has negative values), overflow (beyond an end of
    one of the formats), ties (halfway between two values, if the adjacent inputs do not differ), subnormal (below the
    smallest normal value of one of the formats), and normal. An input belongs to the first that applies.
    """

    name: str
    inputs: int
    example: Range


@dataclass(frozen=True, slots=True)
class Decoded:
    """A code that the two formats decode to different values."""

    code: int
    values: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All differences of two formats.

    An input differs if its values differ, or, if both formats decode all codes alike, its codes; or if only one format
    refuses it: such inputs are counted in `refused` alone. All NaN are equal; 0 and -0 differ, and `zero_signs` counts
    the inputs whose values differ only in the sign of zero. `other_codes` is None for formats of different widths,
    `decoded` also for those of more than 16 bits; `ranges` are the first of `range_count`.
    """

    formats: Pair
    keys: tuple[tuple[str, Any, Any], ...]
    exact: bool
    inputs: int
    other_codes: int | None
    other_values: int
    zero_signs: int
    refused: tuple[int, int]
    regions: tuple[Region, ...]
    ranges: tuple[Range, ...]
    range_count: int
    decoded: tuple[Decoded, ...] | None


def difference(a: NumberFormat, b: NumberFormat, shown: int = 10) -> Difference:
    """Compare two formats on all float32 inputs, by the exact oracle's step functions, and on all codes.

    Formats without step functions (more than 16 bits, overflow: wrap, stochastic) are run on a sample of inputs.

    Args:
        a: a number format.
        b: another.
        shown: the most ranges of inputs to list.
    """
    formats = a, b
    found = pieces(formats, _cuts(formats))
    decoded = tuple(_decoded(formats)) if a.bits == b.bits <= MAX_TABLE_BITS else None
    taken, alone = _taken_and_alone(found)
    other_codes, other_values = taken & (found.codes[0] != found.codes[1]), taken & _other_values(found)
    differs = other_codes if a.element == b.element or decoded == () else other_values
    differs = differs | alone[0] | alone[1]
    zero_signs = other_values & (found.values[0] == found.values[1])
    places = np.flatnonzero(differs)
    return Difference(
        formats=formats,
        keys=tuple((key, one, other) for key, (one, other) in differing_keys(formats)),
        exact=found.exact,
        inputs=int(found.count.sum()),
        other_codes=_inputs(found, other_codes) if a.bits == b.bits else None,
        other_values=_inputs(found, other_values),
        zero_signs=_inputs(found, zero_signs),
        refused=(_inputs(found, alone[0]), _inputs(found, alone[1])),
        regions=tuple(_regions(formats, found, differs)),
        ranges=tuple(_range(found, int(index)) for index in places[:shown]),
        range_count=len(places),
        decoded=decoded,
    )


def _inputs(found: Pieces, chosen: Mask) -> int:
    """The number of inputs in the chosen ranges."""
    return int(found.count[chosen].sum())


def _taken_and_alone(found: Pieces) -> tuple[Mask, tuple[Mask, Mask]]:
    """The ranges that neither format refuses, and those that only one of them refuses."""
    a, b = (codes == REFUSED for codes in found.codes)
    return ~(a | b), (a & ~b, b & ~a)


def _other_values(found: Pieces) -> Mask:
    a, b = found.values
    return np.asarray((a.view(np.int64) != b.view(np.int64)) & ~(np.isnan(a) & np.isnan(b)))


def _range(found: Pieces, index: int) -> Range:
    (a, b), (value_a, value_b) = found.codes, found.values
    codes, values = (int(a[index]), int(b[index])), (float(value_a[index]), float(value_b[index]))
    return Range(int(found.first[index]), int(found.count[index]), codes, values)


# --- regions ---------------------------------------------------------------------------------------------------


def _limits(formats: Pair) -> tuple[float, float]:
    """The range of values common to both formats."""
    return max(fmt.min for fmt in formats), min(fmt.max for fmt in formats)


def _cuts(formats: Pair) -> Integers:
    """The bits at which a region may begin, for either sign."""
    low, high = _limits(formats)
    normal = Boundary(Fraction(max(fmt.min_normal for fmt in formats)), inclusive=True)
    magnitudes = [0, 1, first_pattern(normal), FLOAT32.inf, FLOAT32.inf + 1]
    beyond = [first_pattern(Boundary(Fraction(max(end, 0)), inclusive=False)) for end in (high, -low)]
    return np.array(
        [sign + cut for sign, end in zip((0, FLOAT32.sign), beyond, strict=True) for cut in (*magnitudes, end)]
    )


def _regions(formats: Pair, found: Pieces, differs: Mask) -> Iterator[Region]:
    left = differs.copy()
    for name, inside in _masks(formats, found, differs):
        chosen = np.flatnonzero(left & inside)
        left[chosen] = False
        if len(chosen):
            yield Region(name, int(found.count[chosen].sum()), _range(found, int(chosen[0])))


def _masks(formats: Pair, found: Pieces, differs: Mask) -> Iterator[tuple[str, Mask]]:
    """Each region's ranges; they may include ranges of earlier regions."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        x = found.first.astype(np.uint32).view(np.float32).astype(np.float64)
    low, high = _limits(formats)
    is_positive = not all(fmt.element.has_negative for fmt in formats)
    yield "NaN", np.isnan(x)
    yield "Inf", np.isinf(x)
    yield "zero", x == 0
    yield "negative", (x < 0) & is_positive
    yield "overflow", (x < low) | (x > high)
    yield "ties", _ties(formats, found, differs)
    yield "subnormal", np.abs(x) < max(fmt.min_normal for fmt in formats)
    yield "normal", np.ones(x.shape, bool)


def _ties(formats: Pair, found: Pieces, differs: Mask) -> Mask:
    """The differing ranges that are ties; none in a sample, which lacks the inputs beside a tie."""
    ties = np.zeros(differs.shape, bool)
    beside = np.append(differs[1:], False) | np.insert(differs[:-1], 0, False)
    for index in np.flatnonzero(differs & ~beside & (found.count == 1)) if found.exact else ():
        number = FLOAT32.number(int(found.first[index]))
        ties[index] = any(_is_tie(fmt, number) for fmt in formats)
    return ties


def _is_tie(fmt: NumberFormat, number: Number) -> bool:
    target = grid_of(fmt.element)
    if not isinstance(number, Fraction):
        return False
    low, high = target.neighbours(number)
    if low == high or (target.zero in (low, high) and not target.has_zero):
        return False
    return tie_between(target, fmt.encode.tie_domain, low, high).side(number) == 0


# --- codes -----------------------------------------------------------------------------------------------------


def _decoded(formats: Pair) -> Iterator[Decoded]:
    """The codes that decode to different values."""
    for code, values in enumerate(zip(*(fmt.table().tolist() for fmt in formats), strict=True)):
        a, b = values
        is_same = a == b and math.copysign(1, a) == math.copysign(1, b)
        if not (is_same or (math.isnan(a) and math.isnan(b))):
            yield Decoded(code, (a, b))
