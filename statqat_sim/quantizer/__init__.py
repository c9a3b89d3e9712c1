"""Choose scales; never encode. One file for each quantizer, and its line in `QUANTIZERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from statqat_sim.errors import none_of, shown
from statqat_sim.quantizer.analytic import Analytic
from statqat_sim.quantizer.base import Quantizer, StateQuantizer
from statqat_sim.quantizer.baselines import ACIQ, OCTAV, SAWB, AbsMean, LSQInit, PaperAnalytic, PaperIterative
from statqat_sim.quantizer.iterative import Iterative
from statqat_sim.quantizer.minmax import MinMax
from statqat_sim.quantizer.percentile import Percentile
from statqat_sim.quantizer.search import Search
from statqat_sim.quantizer.stream import Stream
from statqat_sim.quantizer.unscaled import Unscaled
from statqat_sim.scale import Scale

__all__ = [
    "ACIQ",
    "BASELINES",
    "OCTAV",
    "QUANTIZERS",
    "SAWB",
    "AbsMean",
    "Analytic",
    "Iterative",
    "LSQInit",
    "MinMax",
    "PaperAnalytic",
    "PaperIterative",
    "Percentile",
    "Quantizer",
    "Scale",
    "Search",
    "StateQuantizer",
    "Stream",
    "Unscaled",
    "quantizer_named",
]

QUANTIZERS: Mapping[str, Callable[[], StateQuantizer]] = {
    "minmax": MinMax,
    "percentile": Percentile,
    "analytic": Analytic,
    "iterative": Iterative,
    "search": Search,
    "octav": OCTAV,
    "aciq": ACIQ,
    "sawb": SAWB,
    "lsq_init": LSQInit,
    "absmean": AbsMean,
    "paper_analytic": PaperAnalytic,
    "paper_iterative": PaperIterative,
    "none": Unscaled,
}
"""Quantizers by name, each with its defaults."""

BASELINES = frozenset(("octav", "aciq", "sawb", "lsq_init", "absmean", "paper_analytic", "paper_iterative", "none"))
"""The quantizers without a guard: their error may be larger than MinMax's."""


def quantizer_named(name: str) -> StateQuantizer:
    """The quantizer of this name.

    Raises:
        LookupError: if there is none; the message suggests the nearest.
    """
    if name not in QUANTIZERS:
        raise LookupError(f"no quantizer is named {shown(name)}{none_of(name, QUANTIZERS)}")
    return QUANTIZERS[name]()
