"""Ranges of float32 inputs that have one code in each of two formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats, Integers
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.ieee import FLOAT32
from statqat_sim.reference.steps import Steps, thresholds
from statqat_sim.spec.encode import NanInput
from statqat_sim.spec.number import NumberFormat

Pair: TypeAlias = tuple[NumberFormat, NumberFormat]

REFUSED = -1
"""The code of inputs that a format refuses."""

RANDOM_INPUTS = 1 << 20
SEED = 0
END = 1 << 32


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Ranges of float32 inputs, ascending in their bits; every array has one entry per range.

    Args:
        first: the bits of the first input.
        count: the number of inputs.
        codes: the code in either format, or REFUSED.
        values: the value in either format, float64; NaN for refused inputs.
        exact: whether the ranges cover all inputs; if not, each is one input of a sample.
    """

    first: Integers
    count: Integers
    codes: tuple[Integers, Integers]
    values: tuple[Floats, Floats]
    exact: bool


def pieces(formats: Pair, cuts: Integers) -> Pieces:
    """Ranges of all float32 inputs if both formats have exact step functions; otherwise a sample.

    Args:
        formats: two number formats.
        cuts: bits of inputs at which a range must begin.
    """
    try:
        steps = thresholds(formats[0]), thresholds(formats[1])
    except UnsupportedError:
        return _sample(formats)
    functions = _step_function(steps[0]), _step_function(steps[1])
    first = np.unique(np.concatenate((functions[0][0], functions[1][0], cuts)))
    a, b = (codes[places.searchsorted(first, side="right") - 1] for places, codes in functions)
    values = _looked_up(formats[0], a), _looked_up(formats[1], b)
    return Pieces(first, np.diff(first, append=END), (a, b), values, exact=True)


def _step_function(steps: Steps) -> tuple[Integers, Integers]:
    """The bits at which the code changes, ascending, and the code from there on."""
    nan = (REFUSED if code is None else code for code in (steps.nan, steps.negative_nan))
    positive, negative = (
        [*((step.first, step.code) for step in side), (sign + FLOAT32.inf + 1, code)]
        for side, sign, code in zip((steps.positive, steps.negative), (0, FLOAT32.sign), nan, strict=True)
    )
    places, codes = np.array(positive + negative, np.int64).T
    return places, codes


def _looked_up(fmt: NumberFormat, codes: Integers) -> Floats:
    return np.append(fmt.table(), np.nan)[codes]  # index -1, REFUSED, is NaN


# --- a sample --------------------------------------------------------------------------------------------------


def _sample(formats: Pair) -> Pieces:
    """Every float16, random inputs from a fixed seed, and inputs around the formats' limits."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    random = np.random.default_rng(SEED).integers(0, END, RANDOM_INPUTS, np.uint32).view(np.float32)
    x = np.concatenate((halves, random, _edges(formats)))
    first = np.unique(x.view(np.uint32))
    (a, value_a), (b, value_b) = (_converted(fmt, first.view(np.float32)) for fmt in formats)
    bits = first.astype(np.int64)
    return Pieces(bits, np.ones_like(bits), (a, b), (value_a, value_b), exact=False)


def _edges(formats: Pair) -> NDArray[np.float32]:
    """Powers of two, the formats' limits times 0.5, 1, 1.5 and 2, and the adjacent inputs of each; of either sign."""
    ends = [end for fmt in formats for end in (fmt.max, fmt.min, fmt.smallest, fmt.min_normal)]
    powers = np.ldexp(1.0, np.arange(-150, 129))
    with np.errstate(over="ignore", under="ignore"):
        points = np.concatenate((np.outer([0.5, 1, 1.5, 2], np.abs(ends)).ravel(), powers)).astype(np.float32)
        around = np.concatenate([points, *(np.nextafter(points, np.float32(to)) for to in (0, np.inf))])
    return np.concatenate((around, -around))


def _converted(fmt: NumberFormat, x: NDArray[np.float32]) -> tuple[Integers, Any]:
    codec = Codec(fmt)
    refused = np.isnan(x) if fmt.encode.nan_input is NanInput.ERROR else np.zeros(x.shape, bool)
    codes = codec.encode(np.where(refused, np.float32(0), x), seed=SEED)
    values = np.where(refused, np.nan, codec.decode(codes, dtype="float64"))
    return np.where(refused, REFUSED, codes.astype(np.int64)), values
