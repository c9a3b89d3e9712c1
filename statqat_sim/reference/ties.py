"""The midpoint between two neighbours (15)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.bitstring_grid import BitstringGrid
from statqat_sim.reference.grid import Grid
from statqat_sim.reference.magnitude_grid import MagnitudeGrid
from statqat_sim.spec.encode import TieDomain


@dataclass(frozen=True, slots=True)
class Tie:
    """The midpoint: `value`, or if it `is_square`, √|value| with the sign of `value`."""

    value: Fraction
    is_square: bool = False

    def side(self, x: Fraction) -> int:
        """-1, 0 or 1 for x below, at or above the midpoint."""
        y = x * abs(x) if self.is_square else x
        return (y > self.value) - (y < self.value)


def tie_between(target: Grid, domain: TieDomain, low: int, high: int) -> Tie:
    """The midpoint between two neighbouring ranks.

    Raises:
        UnsupportedError: for a domain that the format does not support; a validated spec has none.
    """
    match domain, target:
        case TieDomain.ARITHMETIC, _:
            return Tie((target.value(low) + target.value(high)) / 2)
        case TieDomain.BITSTRING, BitstringGrid():
            return Tie(target.longer(low) if low >= 0 else -target.longer(-high))
        case TieDomain.LOG, MagnitudeGrid(below=Fraction()):
            return Tie(_signed_product(target, low, high), is_square=True)
    raise UnsupportedError(f"the format has no midpoints in the {domain.value} domain")


def _signed_product(target: MagnitudeGrid, low: int, high: int) -> Fraction:
    """lo·hi with the sign of both; zero counts as the value that its code would have by its neighbours' rule."""
    below = target.below or Fraction(0)
    first, second = (target.value(rank) if rank else below for rank in (low, high))
    product = abs(first) * abs(second)
    return product if high > 0 else -product
