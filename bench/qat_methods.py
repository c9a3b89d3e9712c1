"""The rows of the QAT study: formats, and methods that choose their scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.qat_baselines import GaussianClip
from statqat_sim.quantizer import (
    OCTAV,
    Analytic,
    Iterative,
    LSQInit,
    MinMax,
    PaperAnalytic,
    PaperIterative,
    Percentile,
    Search,
    StateQuantizer,
)

PAPER_STEPS: Final = 20
"""Iterations of the alternating method, each time from MinMax's scale; one per training step would lag behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How scales are chosen; a block format has no quantizer, as its scale rule is part of the format."""

    name: str
    quantizer: StateQuantizer | None = None
    is_rotated: bool = False
    """Whether inputs and weights are first rotated by Hadamard matrices."""
    is_learned: bool = False
    """Whether scales are trained by gradient descent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the study."""

    family: str
    """The group of rows that are compared with each other."""
    format: str
    """A catalog name."""
    method: Method
    is_first: bool = False
    """Whether this is the baseline of its family: MinMax, or the plain block format."""
    is_trained: bool = False
    """Whether the model is also trained with quantizers, not only converted."""

    @property
    def name(self) -> str:
        """The name in tables, and the key of results."""
        return f"{self.family} {self.method.name}"


BASELINES: Final = (
    Method(name="percentile 99.9", quantizer=Percentile()),
    Method(name="OCTAV", quantizer=OCTAV()),
    Method(name="LSQ", quantizer=LSQInit(), is_learned=True),
    Method(name="QuEST clip", quantizer=GaussianClip()),
    Method(name="QuEST clip, Hadamard", quantizer=GaussianClip(), is_rotated=True),
    Method(name="paper, analytic", quantizer=PaperAnalytic()),
    Method(name="paper, iterative", quantizer=PaperIterative(steps=PAPER_STEPS)),
)

OURS: Final = (
    Method(name="analytic", quantizer=Analytic()),
    Method(name="iterative", quantizer=Iterative()),
    Method(name="search", quantizer=Search()),
    Method(name="analytic, Hadamard", quantizer=Analytic(), is_rotated=True),
    Method(name="iterative, learned", quantizer=Iterative(), is_learned=True),
)

MAIN: Final = ("LSQ", "QuEST clip", "analytic", "iterative")
"""The methods that are trained in formats where scales matter less."""

BLOCKS: Final = {
    "MXFP4": {"floor": "mxfp4", "even": "mxfp4.even", "mse": "mxfp4.mse"},
    "NVFP4": {"absmax": "nvfp4", "four over six": "nvfp4.four_over_six", "mse": "nvfp4.mse"},
}
"""Variants of block formats by scale rule, the plain one first."""


def cells() -> tuple[Cell, ...]:
    """All rows, family by family. INT4 is symmetric, ±7, as published rules assume."""
    return (
        *_of_numbers("INT4", "int4_narrow"),
        *_of_numbers("E2M1", "float4_e2m1fn"),
        *_of_numbers("E4M3", "float8_e4m3fn", trained=MAIN),
        *(cell for family in BLOCKS for cell in _of_blocks(family)),
    )


def _of_numbers(family: str, format: str, trained: tuple[str, ...] | None = None) -> Iterator[Cell]:
    yield Cell(
        family=family, format=format, method=Method(name="MinMax", quantizer=MinMax()), is_first=True, is_trained=True
    )
    for method in (*BASELINES, *OURS):
        is_trained = trained is None or method.name in trained
        yield Cell(family=family, format=format, method=method, is_trained=is_trained)


def _of_blocks(family: str) -> Iterator[Cell]:
    for rule, format in BLOCKS[family].items():
        is_first = format == family.lower()
        yield Cell(family=family, format=format, method=Method(name=rule), is_first=is_first, is_trained=True)
    turned = Method(name="mse, Hadamard", is_rotated=True)
    yield Cell(family=family, format=BLOCKS[family]["mse"], method=turned, is_trained=True)
