"""Number formats, which have no scales of their own: each is tried with the usual ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from statqat_sim.codec import Codec
from statqat_sim.identification.given import SAMPLE, SAMPLER, Given, Values
from statqat_sim.identification.result import Candidate
from statqat_sim.quantizer import MinMax
from statqat_sim.spec.number import NumberFormat

MAX_BITS = 8
"""Of the formats that are tried: those of more bits take seconds."""

LARGEST = float(np.finfo(np.float32).max)


def number_candidates(given: Given, values: Values, format: NumberFormat, extremes: Extremes) -> Iterator[Candidate]:
    """A number format under each scale with which it has the first values, and gives enough of them."""
    if format.bits > MAX_BITS or format.encode.rounding.is_stochastic:
        return
    with np.errstate(over="ignore"):
        grid = format.grid().astype(np.float32)
    sample = given.sample
    for name, scale in extremes.scales_for(format):
        of_sample = scale if scale is None or len(scale) == 1 else scale[: len(sample)]
        if not _are_among(grid, values, scale):
            continue
        try:
            if values.begin_like(Codec(format, SAMPLER).fake_quantize(sample, scale=of_sample)):
                yield Candidate(format, name, (values.beside(Codec(format).fake_quantize(given.x, scale=scale)),))
        except ValueError:  # it refuses NaN
            continue


def _are_among(grid: NDArray[np.float32], values: Values, scale: NDArray[np.float32] | None) -> bool:
    """Whether the first values are on a grid times the scale; of many scales, those of the first."""
    length = values.array[0].size if scale is not None and scale.size > 1 else values.array.size
    sample = np.unique(values.array.reshape(-1)[: min(length, SAMPLE)])
    with np.errstate(over="ignore", under="ignore"):
        scaled = grid if scale is None else grid * scale.reshape(-1)[0]
    return bool(np.isin(sample[np.isfinite(sample)], values.rounded(scaled)).all())


@dataclass(frozen=True, slots=True)
class Extremes:
    """The least and the greatest finite value of the original, which scales are chosen from."""

    rank: int
    tensor: NDArray[np.float32]
    """Of all of it: (1, 2)."""

    channels: NDArray[np.float32] | None
    """Of each index of axis 0, if there are more axes: (n, 2)."""

    @classmethod
    def of(cls, x: NDArray[np.float32]) -> Extremes:
        rows = x.reshape(1, -1) if x.ndim < 2 else x.reshape(len(x), -1)
        finite = np.isfinite(rows)
        ends = [reduce(axis=1, initial=0, where=finite) for reduce in (rows.min, rows.max)]
        each = np.stack(ends, axis=1).astype(np.float32)
        whole = np.array([[each[:, 0].min(initial=0), each[:, 1].max(initial=0)]], np.float32)
        return cls(x.ndim, whole, each if x.ndim > 1 else None)

    def scales_for(self, format: NumberFormat) -> Iterator[tuple[str, NDArray[np.float32] | None]]:
        """The scales that are tried, with their names: of shapes that broadcast against x."""
        yield "1", None
        for extent, ends in (("tensor", self.tensor), ("channel", self.channels)):
            if ends is None:
                continue
            shape = (len(ends), *(1,) * (self.rank - 1))
            yield f"minmax, {extent}", MinMax().fit(ends, format, channel_axis=0).value.reshape(shape)
            if 0 < format.max <= LARGEST:
                amax = np.abs(ends).max(axis=1)
                absmax = np.where(amax > 0, amax / np.float32(format.max), np.float32(1))
                yield f"absmax, {extent}", absmax.reshape(shape)
