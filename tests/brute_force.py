"""The best scale by brute force, and data of many shapes: shares no code with the quantizers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from activations import activations
from numpy.typing import NDArray

from bench import minilm

Floats = NDArray[np.float64]

POINTS, POLISH = 20_000, 400


class Exact:
    """Σ(x − Q(x))² of sorted data at any scale, for values that inputs round to nearest."""

    def __init__(self, x: NDArray[Any], values: Floats) -> None:
        self.x = np.sort(x.astype(np.float64), axis=None)
        self.sums = np.concatenate(([0.0], np.cumsum(self.x)))
        self.values, self.ties = values, (values[1:] + values[:-1]) / 2
        self.power = float(self.x @ self.x)

    def errors(self, scales: Floats) -> Floats:
        cuts = np.searchsorted(self.x, scales[:, None] * self.ties)
        ends = np.pad(cuts, ((0, 0), (1, 1)), constant_values=((0, 0), (0, len(self.x))))
        counts, sums = np.diff(ends), np.diff(self.sums[ends])
        return self.power - 2 * scales * (sums @ self.values) + scales**2 * (counts @ np.square(self.values))

    def least(self) -> float:
        """Over a logarithmic grid of scales, polished around its best points."""
        amax = float(np.abs(self.x).max())
        low, high = math.sqrt(self.power / len(self.x)) * 0.02, amax * 1.5
        largest, least = np.abs(self.values).max(), np.abs(self.ties[self.ties != 0]).min()
        grid = np.geomspace(low / largest, min(high / least, high / largest * 2.0**30), POINTS)
        errors = np.concatenate([self.errors(part) for part in np.array_split(grid, 40)])
        near = np.argsort(errors)[:8]
        finer = np.unique(
            np.concatenate([np.geomspace(*grid[[max(i - 1, 0), min(i + 1, POINTS - 1)]], POLISH) for i in near])
        )
        return float(min(errors.min(), self.errors(finer).min()))


def directly(x: NDArray[Any], values: Floats, scale: float) -> float:
    """Σ(x − Q(x))², each element beside its nearest value."""
    wide = x.astype(np.float64).ravel()
    ties = (values[1:] + values[:-1]) / 2
    return float(np.square(wide - scale * values[np.searchsorted(ties, wide / scale)]).sum())


def sources(count: int, seed: int = 0) -> Mapping[str, NDArray[np.float32]]:
    """Data of `count` elements each: those of `drawn`, and what a net is made of and what flows through it."""
    random = np.random.default_rng(seed)
    flowing = {name: random.permutation(values.ravel())[:count] for name, values in activations().items()}
    return {**drawn(count, seed), "minilm": _weights(count), **flowing}


def drawn(count: int, seed: int = 0) -> Mapping[str, NDArray[np.float32]]:
    """Data of `count` elements each, of many distributions."""
    random = np.random.default_rng(seed)
    normal = random.standard_normal(count)
    made = {
        "normal": normal,
        "laplace": random.laplace(size=count),
        "t3": random.standard_t(3, count),
        "relu": np.maximum(random.standard_normal(count), 0),
        "gelu": _gelu(random.standard_normal(count)),
        "lognormal": np.exp(random.standard_normal(count)),
        "outliers": np.where(random.random(count) < 1e-3, 30, 1) * random.standard_normal(count),
        "bimodal": np.where(random.random(count) < 0.5, 3, -3) + 0.3 * random.standard_normal(count),
    }
    return {name: values.astype(np.float32) for name, values in made.items()}


def _gelu(x: Floats) -> Floats:
    return x * np.array([0.5 * (1 + math.erf(each / math.sqrt(2))) for each in x.tolist()])


@cache
def _matrix() -> NDArray[Any]:
    """Of MiniLM."""
    return minilm.tensors()["encoder.layer.3.output.dense.weight"]


def _weights(count: int) -> NDArray[Any]:
    return _matrix().ravel()[:count]
