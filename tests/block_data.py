"""Arrays that tests give to the block formats of other software, each of whole blocks of 16, 32, 64, 128 and 256.

Every finite block's largest magnitude lies within 2^±100, except where a test says otherwise.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]

SHAPE = (16, 512)
GROUP = 16
"""Elements of the smallest blocks."""

FRACTIONS = np.float32([1, 1.25, 1.5, 1.75, 1.875, 1.9375, 1.984375])
"""Where the published rules for scales that are powers of two change."""


def normal(rng: np.random.Generator) -> Floats:
    return rng.standard_normal(SHAPE).astype(np.float32)


def octaves(rng: np.random.Generator) -> Floats:
    """Magnitudes from 2^-30 to 2^10."""
    return normal(rng) * np.exp2(rng.uniform(-30, 10, SHAPE)).astype(np.float32)


def outliers(rng: np.random.Generator) -> Floats:
    return normal(rng) * np.where(rng.random(SHAPE) < 0.02, np.float32(1000), np.float32(1))


def subnormals(rng: np.random.Generator) -> Floats:
    """Half of the elements are subnormal, none of the largest ones."""
    return np.where(rng.random(SHAPE) < 0.5, normal(rng) * np.float32(2.0**-127), normal(rng)).astype(np.float32)


def ties(rng: np.random.Generator) -> Floats:
    """Few bits: many quotients are exact, and many of these lie halfway."""
    return np.round(normal(rng) * np.float32(4)) / np.float32(4) * _each(rng.integers(-8, 8, SHAPE[0]))


def steps(rng: np.random.Generator) -> Floats:
    """The largest magnitudes are powers of two, `FRACTIONS` between them, and the float32 next to these."""
    largest = rng.choice(FRACTIONS, _groups()) * np.exp2(rng.integers(-10, 10, _groups())).astype(np.float32)
    largest = np.nextafter(largest, rng.choice(np.float32([0, np.inf]), _groups()), dtype=np.float32)
    return _with_largest(rng, np.where(rng.random(_groups()) < 0.3, _rounded(largest), largest))


def scales(rng: np.random.Generator) -> Floats:
    """Rows from 2^-90 to 2^90."""
    return normal(rng) * _each(np.linspace(-90, 90, SHAPE[0]))


def zeros(rng: np.random.Generator) -> Floats:
    """Rows of zeros of both signs, and some among other numbers."""
    x = np.where(rng.random(SHAPE) < 0.4, np.float32(0), normal(rng))
    x[::4] = 0
    return np.where(rng.random(SHAPE) < 0.5, x, -x).astype(np.float32)


def nan(rng: np.random.Generator) -> Floats:
    """NaN in one group of eight."""
    return _some(rng, np.float32([np.nan]))


def inf(rng: np.random.Generator) -> Floats:
    """Inf in one group of eight."""
    return _some(rng, np.float32([np.inf, -np.inf]))


def binades(rng: np.random.Generator) -> Floats:
    """The largest magnitudes of groups of 64 from 2^-149 up to 2^127, the other elements up to 2^6 times smaller."""
    shape = (SHAPE[0], SHAPE[1] // 64, 64)
    exponents = np.linspace(-149, 127, shape[0] * shape[1]).round().reshape(shape[:2])[..., None]
    signs = rng.choice([-1, 1], shape)
    x = signs * rng.uniform(1, 1.99, shape) * np.exp2(exponents - rng.integers(0, 7, shape))
    x[..., ::16] = 1.3 * np.exp2(exponents)
    return x.astype(np.float32).reshape(SHAPE)


def corners(rng: np.random.Generator) -> Floats:
    """Groups of 32 like [largest, 0.3, -0.0, 0, 0, ...], the largest magnitudes just below a power of two."""
    x = np.zeros((SHAPE[0], SHAPE[1] // 32, 32), np.float32)
    x[..., 0] = np.nextafter(_each(np.arange(-4, 12)), np.float32(0))
    x[..., 1:3] = np.float32([0.3, -0.0])
    return x.reshape(SHAPE)


FINITE = {make.__name__: make for make in (normal, octaves, outliers, subnormals, ties, steps, scales, zeros)}
DATA = {**FINITE, **{make.__name__: make for make in (nan, inf, binades, corners)}}


def drawn(name: str, seed: int = 0) -> Floats:
    """The array of this name."""
    return DATA[name](np.random.default_rng(seed))


def _each(exponents: Any) -> Floats:
    return np.exp2(np.asarray(exponents).round()).astype(np.float32)[:, None]


def _groups() -> tuple[int, int]:
    return SHAPE[0], SHAPE[1] // GROUP


def _rounded(largest: Floats) -> Floats:
    """The power of two or fraction that is next to it."""
    return (largest.view(np.uint32) + np.uint32(4) & np.uint32(0xFFFFFFF8)).view(np.float32)


def _with_largest(rng: np.random.Generator, largest: Floats) -> Floats:
    """Groups whose largest magnitudes are given."""
    x = rng.uniform(-1, 1, (*largest.shape, GROUP)) * largest[..., None]
    x[..., 3] = largest * rng.choice([-1, 1], largest.shape)
    return x.astype(np.float32).reshape(SHAPE)


def _some(rng: np.random.Generator, values: Floats) -> Floats:
    x = normal(rng).reshape(-1, GROUP)
    places = rng.random(len(x)) < 1 / 8
    x[places, 5] = rng.choice(values, int(places.sum()))
    return x.reshape(SHAPE)
