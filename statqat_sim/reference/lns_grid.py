"""The meaning of the codes of logarithmic number systems (5)."""

from __future__ import annotations

from fractions import Fraction

from statqat_sim.reference.magnitude_grid import MagnitudeGrid
from statqat_sim.reference.powers import power_of_two
from statqat_sim.spec.lns import LnsElement


def lns_grid(element: LnsElement) -> MagnitudeGrid:
    """The magnitude code is n in two's complement; its value is the float64 nearest to 2^(n / 2^fraction_bits) (6).

    The most negative n is zero, and with the sign set NaN.
    """
    least = 1 << element.bits - 2
    values = {n % (2 * least): power_of_two(n, element.fraction_bits) for n in range(1 - least, least)}
    return MagnitudeGrid(
        bits=element.bits,
        values=values | {least: Fraction(0)},
        nan=2 * least | least,
        below=power_of_two(-least, element.fraction_bits),
    )
