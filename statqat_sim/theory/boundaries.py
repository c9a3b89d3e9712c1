"""The boundaries between neighbouring values, at which rounding changes from one to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import Floats
from statqat_sim.reference.exact import grid_of
from statqat_sim.spec.encode import Rounding, TieDomain
from statqat_sim.spec.listed import ListedElement
from statqat_sim.spec.number import NumberFormat


def boundaries(format: NumberFormat, line: Floats) -> Floats:
    """The boundaries between neighbours on a line of values, shape `(len(line) - 1,)`.

    Args:
        format: a format with deterministic rounding.
        line: all values that the format produces, ascending; may begin and end with the successors of its extremes.
    """
    low, high = line[:-1], line[1:]
    low_is_near = low + high > 0
    match format.encode.rounding:
        case Rounding.TOWARD_NEGATIVE:
            found = high
        case Rounding.TOWARD_POSITIVE:
            found = low
        case Rounding.TOWARD_ZERO:
            found = np.where(low_is_near, high, low)
        case Rounding.TO_ODD:
            near_is_odd = np.where(low_is_near, *_odd(format, line))
            found = np.where(low_is_near == near_is_odd, high, low)
        case _:
            found = _ties(format, line)
    if not format.element.has_zero and not isinstance(format.element, ListedElement):
        found = np.where(low * high < 0, 0.0, found)  # values keep the sign of their inputs
    return found.copy()


def _odd(format: NumberFormat, line: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the lower and the upper neighbours have odd codes."""
    grid = grid_of(format.element)
    below, above = line[0] < format.min, line[-1] > format.max
    ranks = range(grid.lowest - below, grid.highest + above + 1)
    odd = np.array([grid.parity(rank) == 1 for rank in ranks if rank != grid.zero or grid.has_zero])
    return odd[:-1], odd[1:]


def _ties(format: NumberFormat, line: Floats) -> Floats:
    """Midpoints in the tie domain."""
    match format.encode.tie_domain, format.element:
        case (TieDomain.BITSTRING | TieDomain.LOG) as domain, ListedElement() as element:
            # all formats with these tie domains are symmetric, have a zero, and produce all of their values
            ties = np.array(element.tie_values(domain))
            return np.concatenate((-ties[::-1], ties))
    return line[:-1] / 2 + line[1:] / 2
