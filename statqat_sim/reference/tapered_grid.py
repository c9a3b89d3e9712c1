"""The meaning of the codes of tapered formats (5).

Source: Luo et al., "Ascend HiFloat8 Format for Deep Learning", arXiv 2409.16626, whose "dot" field is the prefix.
"""

from __future__ import annotations

from fractions import Fraction

from statqat_sim.reference.grid import scaled
from statqat_sim.reference.magnitude_grid import MagnitudeGrid
from statqat_sim.spec.tapered import Regime, TaperedElement, TaperedInf, TaperedNan


def tapered_grid(element: TaperedElement) -> MagnitudeGrid:
    """The grid; `inf: max_code` is the magnitude with the largest value, `nan: negative_zero` only the sign bit."""
    width = element.bits - 1
    values = {code: tapered_value(f"{code:0{width}b}", element.regimes) for code in range(1 << width)}
    return MagnitudeGrid(
        bits=element.bits,
        values=values,
        nan=1 << width if element.nan is TaperedNan.NEGATIVE_ZERO else None,
        inf=max(values, key=values.__getitem__) if element.inf is TaperedInf.MAX_CODE else None,
    )


def tapered_value(magnitude: str, regimes: tuple[Regime, ...]) -> Fraction:
    """Value of a magnitude's bits: the prefix, then exponent and mantissa, or the exponent of a power of two."""
    regime = next(regime for regime in regimes if magnitude.startswith(regime.prefix))
    rest = magnitude[len(regime.prefix) :]
    if regime.exponent_bits is None:
        return _subnormal(integer(rest), regime.subnormal_exponent or 0)
    exponent, mantissa = rest[: regime.exponent_bits], rest[regime.exponent_bits :]
    return scaled((1 << len(mantissa)) + integer(mantissa), tapered_exponent(exponent) - len(mantissa))


def tapered_exponent(field: str) -> int:
    """The exponent from a sign and a magnitude with implicit leading one; 0 for an empty field."""
    if not field:
        return 0
    magnitude = integer("1" + field[1:])
    return -magnitude if field[0] == "1" else magnitude


def _subnormal(mantissa: int, exponent: int) -> Fraction:
    """2^(exponent + M), and 0 for M = 0."""
    return scaled(1, exponent + mantissa) if mantissa else Fraction(0)


def integer(bits: str) -> int:
    """The integer with these binary digits; 0 without digits."""
    return int("0" + bits, 2)
