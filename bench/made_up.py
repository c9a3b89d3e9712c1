"""Formats that no library ships, as the YAML text that a user would write."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist

import numpy as np

E3M4_AWAY = """
name: e3m4_away
element: {kind: float, exponent_bits: 3, mantissa_bits: 4, nan: all_ones}
encode: {rounding: nearest_away}
source: made up
"""

E2M5_AWAY = """
name: e2m5_away
element: {kind: float, exponent_bits: 2, mantissa_bits: 5, bias: 1, nan: all_ones}
encode: {rounding: nearest_away}
source: "made up: like e3m4_away with other numbers, so that both have one plan shape"
"""

E3M1_BLOCK24 = """
name: e3m1_block24
element: {kind: float, exponent_bits: 3, mantissa_bits: 1}
scales:
  - {format: float32, block: tensor, target: 2949120}  # the largest element, 24, times the largest scale, 122880
  - {format: {element: {kind: float, signed: false, exponent_bits: 5, mantissa_bits: 3}}, block: 24}
source: made up
"""


def stochastic(random_bits: int) -> str:
    """E4M3 with stochastic rounding by `random_bits` bits."""
    policy = f"{{rounding: stochastic_a, random_bits: {random_bits}}}"
    return f"name: e4m3_stochastic_{random_bits}\nextends: float8_e4m3fn\nencode: {policy}\nsource: made up\n"


LEVELS = 256


def normal_quantiles() -> str:
    """A codebook of the 256 mid-quantiles of a standard normal."""
    return _codebook("normal_quantiles", (NormalDist().inv_cdf((i + 0.5) / LEVELS) for i in range(LEVELS)))


def sorted_normals() -> str:
    """A codebook of 256 random draws: irregular levels."""
    return _codebook("sorted_normals", np.sort(np.random.default_rng(256).standard_normal(LEVELS)).tolist())


def _codebook(name: str, values: Iterable[float]) -> str:
    listed = ", ".join(map(repr, values))
    return f"name: {name}\nelement: {{kind: codebook, bits: 8, values: [{listed}]}}\nsource: made up\n"
