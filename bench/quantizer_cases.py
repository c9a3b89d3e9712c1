"""Cases of the bench of quantizers: beside copies, beside MinMax, and beside a search as it is usually written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch

import statqat_sim as sqs
from bench.cases import Case
from bench.loops import Array, Threads, copy
from bench.report import Section
from statqat_sim.histogram import Histogram
from statqat_sim.quantizer import Analytic, Iterative, MinMax

COLUMNS: Final = 4096
E2M1: Final = "float4_e2m1fn"
OTHERS: Final = ("int4_narrow", "int8_narrow", "nf4")

COPY_TARGET, MOMENTS_TARGET, NAIVE_TARGET = 1 / 4, 1 / 1.2, 400.0
CANDIDATES: Final = 100
NAIVE_PART: Final = 32
"""The naive search, which takes minutes for all rows, gets one row in 32; so does ours beside it."""

CHECKED_ROWS, CHECKED_SCALES, EXCESS = 32, 4000, 1e-3


@dataclass(frozen=True)
class Weights:
    """Rows of seeded normal numbers, one channel each."""

    elements: int

    @cached_property
    def x(self) -> Array:
        """Shape `(rows, 4096)`, or one row of fewer elements."""
        columns = min(COLUMNS, self.elements // 2)
        return np.random.default_rng(0).standard_normal((self.elements // columns, columns), dtype=np.float32)

    @cached_property
    def target(self) -> Array:
        """The output of copies."""
        return np.zeros(self.x.size, np.float32)


def quantizer_cases(data: Weights, pool: Threads) -> Iterator[Case]:
    """All cases."""
    x, flat = data.x, data.x.reshape(-1)
    moved = pool.over(copy, flat, data.target)
    for name, target in ((E2M1, COPY_TARGET), *((name, None) for name in OTHERS)):
        fmt = sqs.load_format(name)
        yield Case(
            section=Section.LIMITS,
            name=f"Iterative, a scale per channel, {name}",
            peer_name="numpy copy",
            ours=lambda fmt=fmt: Iterative().fit(x, fmt, channel_axis=0),  # type: ignore[misc]
            peer=moved,
            target=target,
        )
    e2m1 = sqs.load_format(E2M1)
    yield Case(
        section=Section.LIMITS,
        name=f"Analytic, a scale per channel, {E2M1}",
        peer_name="numpy copy",
        ours=lambda: Analytic().fit(x, e2m1, channel_axis=0),
        peer=moved,
    )
    yield Case(
        section=Section.LIMITS,
        name="Histogram of a tensor",
        peer_name="numpy copy",
        ours=lambda: Histogram.of(flat),
        peer=moved,
    )
    yield _analytic(flat)
    yield naive(x[: max(len(x) // NAIVE_PART, 2)])


def _analytic(x: Array) -> Case:
    fmt = sqs.load_format(E2M1)

    def minmax_and_moment() -> None:
        MinMax().fit(x, fmt)
        np.mean(np.square(x), dtype=np.float64)

    return Case(
        section=Section.OURSELVES,
        name=f"Analytic, a scale for all, {E2M1}",
        peer_name="MinMax, then numpy's mean of x²",
        ours=lambda: Analytic("normal").fit(x, fmt),
        peer=minmax_and_moment,
        target=MOMENTS_TARGET,
    )


def naive(x: Array) -> Case:
    """Ours beside a search in torch that quantizes all rows at each candidate and keeps the better scale."""
    fmt, tensor = sqs.load_format(E2M1), torch.from_numpy(np.ascontiguousarray(x))
    rows = np.ascontiguousarray(x)
    return Case(
        section=Section.LIBRARIES,
        name=f"Iterative, a scale per channel, {E2M1}",
        peer_name=f"torch, {CANDIDATES} candidates, both on 1/{NAIVE_PART} of the rows",
        ours=lambda: Iterative().fit(rows, fmt, channel_axis=0),
        peer=lambda: searched(tensor, torch.from_numpy(fmt.grid()).float()),
        target=NAIVE_TARGET,
    )


def searched(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """For each row the best of 100 shares of its absmax, as in a usual calibration loop."""
    amax, largest = x.abs().amax(dim=1, keepdim=True), values.max()
    ties = (values[1:] + values[:-1]) / 2
    best = torch.full_like(amax, torch.inf)
    scales = amax / largest
    for candidate in range(1, CANDIDATES + 1):
        scale = amax * (candidate / CANDIDATES) / largest
        error = ((values[torch.bucketize(x / scale, ties)] * scale - x) ** 2).mean(dim=1, keepdim=True)
        scales = torch.where(error < best, scale, scales)
        best = torch.minimum(error, best)
    return scales


def check_quality(x: Array) -> float:
    """The relative excess of our scales' mean error over that of brute force, on some rows.

    Raises:
        RuntimeError: if it is more than a thousandth.
    """
    fmt = sqs.load_format(E2M1)
    some = np.ascontiguousarray(x[:CHECKED_ROWS])
    scales = Iterative().fit(some, fmt, channel_axis=0).value.astype(np.float64)
    grid = np.abs(some).max(axis=1, keepdims=True) / fmt.max * np.geomspace(0.3, 2.2, CHECKED_SCALES)
    ours = [_errors(row, fmt.grid(), scale)[0] for row, scale in zip(some, scales, strict=True)]
    least = [_errors(row, fmt.grid(), each).min() for row, each in zip(some, grid, strict=True)]
    excess = float(np.sum(ours) / np.sum(least) - 1)
    if excess > EXCESS:
        raise RuntimeError(f"the scales of {E2M1} have an error {excess:.2%} above brute force; allowed: {EXCESS:.2%}")
    return excess


def _errors(row: Array, values: Array, scales: Array) -> Array:
    """Σ(x − Q(x))² of a row at each scale."""
    x = np.sort(row.astype(np.float64))
    sums = np.concatenate(([0.0], np.cumsum(x)))
    ties = (values[1:] + values[:-1]) / 2
    cuts = np.pad(np.searchsorted(x, scales[:, None] * ties), ((0, 0), (1, 1)), constant_values=((0, 0), (0, len(x))))
    products, squares = np.diff(sums[cuts]) @ values, np.diff(cuts) @ np.square(values)
    return np.asarray(x @ x - 2 * scales * products + scales**2 * squares)
