"""The standard sources: the data of `measure` and `rank` without `--data`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from statqat_sim.cli.tensors import Tensor

COUNT = 1 << 20
SEED = 2605
OUTLIERS = 0.001
OUTLIER_FACTOR = 30

Draw: TypeAlias = Callable[[np.random.Generator], NDArray[np.float64]]


def _outliers(random: np.random.Generator) -> NDArray[np.float64]:
    """Normal values, each multiplied by 30 with probability 1/1000."""
    values = random.standard_normal(COUNT)
    values[random.random(COUNT) < OUTLIERS] *= OUTLIER_FACTOR
    return values


SOURCES: Mapping[str, Draw] = {
    "normal": lambda random: random.standard_normal(COUNT),
    "laplace": lambda random: random.laplace(0, 0.5**0.5, COUNT),
    "student_t5": lambda random: random.standard_t(5, COUNT) * 0.6**0.5,
    "lognormal": lambda random: random.lognormal(0, 1, COUNT),
    "outliers": _outliers,
}
"""Distributions with mean 0 and variance 1, except `lognormal`, exp of a normal, and `outliers`."""


def standard_sources() -> list[Tensor]:
    """2^20 float32 values of each source, drawn from fixed seeds: equal in every run with the same numpy."""
    return [Tensor(name, partial(_draw, name, index)) for index, name in enumerate(SOURCES)]


def _draw(name: str, index: int) -> NDArray[np.float32]:
    return SOURCES[name](np.random.default_rng((SEED, index))).astype(np.float32)
