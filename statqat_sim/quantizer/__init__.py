"""Choose scales; never encode. One file for each quantizer, and its line in `QUANTIZERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from statqat_sim.errors import did_you_mean, shown
from statqat_sim.quantizer.base import Quantizer, Scale
from statqat_sim.quantizer.minmax import MinMax

__all__ = ["QUANTIZERS", "MinMax", "Quantizer", "Scale", "quantizer_named"]

QUANTIZERS: Mapping[str, Callable[[], Quantizer]] = {
    "minmax": MinMax,
}
"""The quantizers that a name alone describes, each with its defaults."""


def quantizer_named(name: str) -> Quantizer:
    """The quantizer of this name.

    Raises:
        LookupError: if there is none; the message suggests the nearest.
    """
    if name not in QUANTIZERS:
        hint = did_you_mean(name, QUANTIZERS)
        raise LookupError(f"no quantizer is named {shown(name)}{hint} (allowed: {', '.join(QUANTIZERS)})")
    return QUANTIZERS[name]()
