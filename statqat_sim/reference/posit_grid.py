"""The meaning of the codes of posits.

Source: Standard for Posit Arithmetic (2022), section 3, where `es` is 2; here it is a parameter.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from statqat_sim.reference.bitstring_grid import BitstringGrid, linear_value
from statqat_sim.spec.posit import PositElement


def posit_grid(element: PositElement) -> BitstringGrid:
    """The values of a posit by rank."""
    return BitstringGrid(element.bits, partial(posit_value, es=element.es))


def posit_value(code: int, width: int, es: int) -> Fraction:
    """Value of a posit that is not NaR: sign, regime, exponent and fraction, read without negating negative codes.

    The regime is a run of equal bits, up to the first other bit or the end: of k ones, r = k - 1; of k zeros, r = -k.
    Exponent bits beyond the end are zeros.
    """
    if code == 0:
        return Fraction(0)
    text = f"{code:0{width}b}"
    sign, first, rest = int(text[0]), text[1], text[1:]
    run = len(rest) - len(rest.lstrip(first))
    regime = run - 1 if first == "1" else -run
    rest = rest[run + 1 :]
    exponent = int("0" + rest[:es].ljust(es, "0"), 2)
    fraction = rest[es:]
    return linear_value(sign, (regime << es) + exponent, int("0" + fraction, 2), len(fraction))
